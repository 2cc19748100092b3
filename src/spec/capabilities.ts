/** Capabilities: names, numbers, Docker's default set. @see capabilities(7) */

import { TsboxError } from '../errors.ts';

/** Names in the order of their numbers: `CAPABILITIES[0]` is CAP_CHOWN. */
export const CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
];

/** What a container gets when nothing is asked for, as Docker gives it. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

/** `CAP_NET_ADMIN` for `net_admin`, `NET_ADMIN`, `cap_net_admin`; `ALL` stays.
 *  @throws ERR_TSBOX_USAGE when Linux has no such capability */
export function parseCapability(text: string): string {
  const upper = text.toUpperCase();
  if (upper === 'ALL' || upper === 'CAP_ALL') return 'ALL';
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!CAPABILITIES.includes(name)) throw new TsboxError('ERR_TSBOX_USAGE', `invalid capability: ${text}`);
  return name;
}

/** The set after `--cap-add` and `--cap-drop`, in the order of the numbers. `all` is what the kernel knows and the caller has.
 *  As Docker: `--cap-drop ALL` empties the set before the added ones; `--cap-add ALL` fills it before the dropped ones. */
export function tweakCapabilities(add: readonly string[], drop: readonly string[], all: readonly string[]): string[] {
  const adds = add.map(parseCapability);
  const drops = drop.map(parseCapability);
  const start = adds.includes('ALL') ? all : drops.includes('ALL') ? [] : DEFAULT_CAPABILITIES;
  const wanted = new Set(start);
  for (const name of adds) if (name !== 'ALL') wanted.add(name);
  for (const name of drops) wanted.delete(name);
  return CAPABILITIES.filter((name) => wanted.has(name));
}

/** Bit mask of a list of names. @throws Error (a bug) on an unknown name */
export function capabilityMask(names: readonly string[]): bigint {
  let mask = 0n;
  for (const name of names) {
    const number = CAPABILITIES.indexOf(name);
    if (number < 0) throw new Error(`no capability is called ${name}`);
    mask |= 1n << BigInt(number);
  }
  return mask;
}
