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
 *  @param field `CapAdd` or `CapDrop`, for the message
 *  @throws ERR_TSBOX_USAGE when Linux has no such capability, in Docker's words */
export function parseCapability(text: string, field: 'CapAdd' | 'CapDrop' = 'CapAdd'): string {
  const upper = text.toUpperCase();
  if (upper === 'ALL') return 'ALL';
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (CAPABILITIES.includes(name)) return name;
  throw new TsboxError('ERR_TSBOX_USAGE', `invalid ${field}: unknown capability: ${JSON.stringify(name)}`);
}

/** As Docker keeps them in a container's record: full names, sorted, each once; null for none. @throws as parseCapability */
export function parseCapabilities(given: readonly string[], field: 'CapAdd' | 'CapDrop'): string[] | null {
  const names = new Set(given.map((text) => parseCapability(text, field)));
  return names.size === 0 ? null : [...names].sort();
}

/** The set after `--cap-add` and `--cap-drop`, in the order of the numbers. `all` is what the kernel knows and the caller has.
 *  As Docker: with `--cap-add ALL` everything but what is dropped; with `--cap-drop ALL` nothing but what is added; else what is added
 *  stays even when it is dropped too. */
export function tweakCapabilities(add: readonly string[], drop: readonly string[], all: readonly string[]): string[] {
  const adds = new Set(add.map((name) => parseCapability(name)));
  const drops = new Set(drop.map((name) => parseCapability(name)));
  const isWanted = adds.has('ALL')
    ? (name: string) => all.includes(name) && !drops.has(name)
    : (name: string) =>
        adds.has(name) || (!drops.has('ALL') && !drops.has(name) && DEFAULT_CAPABILITIES.includes(name));
  return CAPABILITIES.filter(isWanted);
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
