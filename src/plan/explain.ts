/**
 * A step as a reader sees it: the system call with its arguments, in the way of the manual pages and of strace. Pure; the columns,
 * colours and line ends are the CLI's.
 */
import { CAPABILITIES } from '../spec/capabilities.ts';
import { beforePort } from '../spec/ip.ts';
import { S } from '../spec/linux.ts';
import { commandLines } from './commands.ts';
import { keyText } from './nft-key.ts';
import { type Kind, OPS, type OpName } from './ops.ts';
import type { Step, StepOf } from './step.ts';
import { show, type Text } from './text.ts';

export { commandLines };

/** Longer file contents are cut here: a call is one line of a list, the whole text is in the JSON. */
const DATA_SHOWN = 100;

/** The system call that the step makes: `mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, "")`. Holes that are
 *  still open stand in braces. A few operations are more than one call; they are shown by the call that matters. */
export function callText(step: Step): string {
  const special = SPECIAL[step.op] as ((step: Step) => string) | undefined;
  if (special !== undefined) return special(step);
  const kinds = OPS[step.op].args as Readonly<Record<string, Kind>>;
  const values = step as unknown as Readonly<Record<string, unknown>>;
  return call(step.op, ...Object.entries(kinds).map(([name, kind]) => argumentText(kind, values[name])));
}

/** Where to read more: the step's own reference, or else its operation's. */
export function seeText(step: Step): string {
  return step.see ?? OPS[step.op].see;
}

/** The step as plain JSON: texts with their open holes in braces, masks in hex, bytes in base64. Steps nested in it are left out. */
export function stepJson(step: Step): Record<string, unknown> {
  const kinds = OPS[step.op].args as Readonly<Record<string, Kind>>;
  const values = step as unknown as Readonly<Record<string, unknown>>;
  const args: Record<string, unknown> = {};
  for (const [name, kind] of Object.entries(kinds)) {
    if (kind !== 'list') args[name] = argumentJson(kind, values[name]);
  }
  const json: Record<string, unknown> = { op: step.op, call: callText(step), args, why: step.why, see: seeText(step) };
  const commands = commandLines(step);
  if (commands.length > 0) json['commands'] = commands;
  if (step.onError !== undefined) json['onError'] = step.onError;
  return json;
}

/** `CAP_CHOWN|CAP_KILL`; `all` for every capability that has a name, `0` for none. Bits without a name stay a number. */
export function capabilityText(mask: bigint): string {
  const all = (1n << BigInt(CAPABILITIES.length)) - 1n;
  if (mask === 0n) return '0';
  if ((mask & all) === all) return 'all';
  const names = CAPABILITIES.filter((_, number) => (mask >> BigInt(number)) & 1n);
  const rest = mask & ~all;
  return [...names, ...(rest === 0n ? [] : [`0x${rest.toString(16)}`])].join('|');
}

/** Text in double quotes, with C's escapes for what would not print. */
export function quote(text: string): string {
  const escaped = text.replace(/[\u0000-\u001f\u007f"\\]/g, (character) => {
    const short = SHORT_ESCAPES[character];
    return short ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `"${escaped}"`;
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

const call = (name: string, ...args: string[]): string => `${name}(${args.join(', ')})`;
const text = (value: Text): string => quote(show(value));
const steps = (list: readonly Step[]): string => `${list.length} ${list.length === 1 ? 'step' : 'steps'}`;
const octal = (mode: number): string => (mode === 0 ? '0' : `0${mode.toString(8)}`);
const names = (flags: readonly string[]): string => (flags.length === 0 ? '0' : flags.join('|'));
const array = (items: readonly Text[]): string => `[${items.map(text).join(', ')}]`;

function argumentText(kind: Kind, value: unknown): string {
  switch (kind) {
    case 'text':
      return text(value as Text);
    case 'texts':
      return array(value as readonly Text[]);
    case 'int':
      return String(value);
    case 'ints':
      return `[${(value as readonly number[]).join(', ')}]`;
    case 'mode':
      return octal(value as number);
    case 'mask':
      return capabilityText(value as bigint);
    case 'bytes':
      return `{${(value as Uint8Array).length} bytes}`;
    case 'list':
      return `${(value as readonly Step[]).length} steps`;
    default:
      return names(value as readonly string[]);
  }
}

function argumentJson(kind: Kind, value: unknown): unknown {
  if (kind === 'text') return show(value as Text);
  if (kind === 'texts') return (value as readonly Text[]).map(show);
  if (kind === 'mode') return octal(value as number);
  if (kind === 'mask') return `0x${(value as bigint).toString(16)}`;
  if (kind === 'bytes') return base64(value as Uint8Array);
  return value;
}

function base64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

function shortened(value: Text): string {
  const whole = show(value);
  return whole.length <= DATA_SHOWN ? quote(whole) : `${quote(whole.slice(0, DATA_SHOWN))}...`;
}

/** What a link is made with, besides its name. */
function linkDetails(step: StepOf<'link_add'>): string[] {
  const peer = show(step.peer);
  const netns = show(step.netns) === '' ? [] : [`IFLA_NET_NS_FD=${call('open', text(step.netns))}`];
  const mac = show(step.mac) === '' ? [] : [`IFLA_ADDRESS=${show(step.mac)}`];
  const mtu = step.mtu === 0 ? [] : [`IFLA_MTU=${step.mtu}`];
  const kind = `IFLA_INFO_KIND=${text(step.type)}`;
  if (peer === '') return [...mac, ...mtu, kind];
  return [...mtu, kind, `VETH_INFO_PEER={${[`IFLA_IFNAME=${text(step.peer)}`, ...mac, ...mtu, ...netns].join(', ')}}`];
}

const often = ({ every, early, until }: StepOf<'repeat'>) =>
  early > 0 ? `${every} ms (at first ${early} ms, at most for ${until} ms)` : `${every} ms`;
const netlink = (type: string, ...attributes: string[]): string => call('send', type, `{${attributes.join(', ')}}`);

/** A mode with its file type by name: `S_IFCHR|0666`. */
function typedMode(mode: number): string {
  const type = Object.entries(S).find(([, bits]) => bits === (mode & 0o170000))?.[0];
  return type === undefined ? octal(mode) : `${type}|${octal(mode & 0o7777)}`;
}

const limit = (value: number): string => (value === -1 ? 'RLIM_INFINITY' : String(value));

/** The sets of capset(2); equal ones share one list of names. */
function capsetText(step: StepOf<'capset'>): string {
  const sets = new Map<bigint, string[]>();
  for (const name of ['effective', 'permitted', 'inheritable'] as const) {
    sets.set(step[name], [...(sets.get(step[name]) ?? []), name]);
  }
  return `{${[...sets].map(([mask, of]) => `${of.join('=')}=${capabilityText(mask)}`).join(', ')}}`;
}

function mountAttributes(step: StepOf<'mount_setattr' | 'tree_setattr'>): string {
  const parts: string[] = [];
  if (step.set.length > 0) parts.push(`attr_set=${names(step.set)}`);
  if (step.clear.length > 0) parts.push(`attr_clr=${names(step.clear)}`);
  if (step.propagation.length > 0) parts.push(`propagation=${names(step.propagation)}`);
  return `{${parts.join(', ')}}`;
}

type Special = { readonly [Name in OpName]?: (step: StepOf<Name>) => string };

/** Operations whose arguments are not those of the call, or whose name is another. */
const SPECIAL: Special = {
  write: (step) => {
    const mode = step.flags.includes('O_CREAT') ? [octal(step.mode)] : [];
    return call('write', text(step.path), shortened(step.data), names(step.flags), ...mode);
  },
  mknod: (step) =>
    call('mknod', text(step.path), typedMode(step.mode), call('makedev', String(step.major), String(step.minor))),
  umount: (step) => call('umount2', text(step.target), names(step.flags)),
  mount_setattr: (step) => call('mount_setattr', text(step.target), names(step.at), mountAttributes(step)),
  open_tree: (step) => `${call('open_tree', text(step.path), names(step.flags))} -> tree ${step.slot}`,
  move_mount: (step) => call('move_mount', `tree ${step.slot}`, text(step.target), names(step.flags)),
  open_device: (step) => {
    const device = call('makedev', String(step.major), String(step.minor));
    return `${call('open_tree', `${device} at ${text(step.path)}`, 'OPEN_TREE_CLONE')} -> tree ${step.slot}`;
  },
  tree_setattr: (step) => call('mount_setattr', `tree ${step.slot}`, names(step.at), mountAttributes(step)),
  write_proc: (step) => call('write', text(`/proc/${show(step.path)}`), shortened(step.data)),
  join: (step) => call('setns', call('pidfd_open', String(step.pid)), names(step.flags)),
  setns: (step) => call('setns', call('open', text(step.path)), names(step.type)),
  fork: () => call('clone', 'CLONE_PARENT|SIGCHLD'),
  spawn: () => call('fork'),
  kill_cgroup: (step) => call('kill', `all of ${text(step.path)}`, 'SIGKILL'),
  become: (step) =>
    `${call('rename', text(step.from), text(step.to))}, at the end execve [${step.args.map(text).join(', ')}]`,
  repeat: (step) => `every ${often(step)}: execve [${step.args.map(text).join(', ')}]`,
  birth_cgroup: (step) => call('open', text(step.path), 'O_PATH'),
  outside: (step) => `outside: ${steps(step.list)} by the monitor`,
  link_up: (step) => call('ioctl', 'SIOCSIFFLAGS', text(step.name), 'IFF_UP'),
  pty: (step) => `${call('open', text(step.path))}, ${step.rows} rows, ${step.columns} columns`,
  chown_stdio: (step) => call('fchown', '0, 1, 2', String(step.uid)),
  close_fds: (step) => call('close_range', String(step.from), '~0U', 'CLOSE_RANGE_CLOEXEC'),
  rlimit: (step) => call('setrlimit', names(step.resource), `{${limit(step.soft)}, ${limit(step.hard)}}`),
  capbset: (step) => call('prctl', 'PR_CAPBSET_DROP', `all but ${capabilityText(step.keep)}`),
  capset: (step) => call('capset', capsetText(step)),
  capambient: (step) => call('prctl', 'PR_CAP_AMBIENT', 'PR_CAP_AMBIENT_RAISE', capabilityText(step.raise)),
  prctl: (step) => call('prctl', names(step.option), String(step.value)),
  setgid: (step) => call('setresgid', ...Array<string>(3).fill(String(step.gid))),
  setuid: (step) => call('setresuid', ...Array<string>(3).fill(String(step.uid))),
  seccomp: (step) =>
    call('seccomp', 'SECCOMP_SET_MODE_FILTER', String(step.flags), `{${step.filter.length / 8} instructions}`),
  keyctl_join: (step) => call('keyctl', 'KEYCTL_JOIN_SESSION_KEYRING', text(step.name)),
  exec: (step) => call('execve', text(step.args[0] ?? ''), array(step.args), `[/* ${step.env.length} variables */]`),
  idmap: (step) =>
    call('mount_setattr', `tree ${step.slot}`, `{attr_set=MOUNT_ATTR_IDMAP, userns_fd=open(${text(step.userns)})}`),
  run: (step) => `run ${array(step.args)}`,
  setfsid: (step) => `${call('setfsgid', String(step.gid))}, ${call('setfsuid', String(step.uid))}`,
  bpf_device: (step) =>
    call('bpf', 'BPF_PROG_ATTACH', `{${step.program.length / 8} instructions}`, call('open', text(step.cgroup))),
  link_add: (step) => netlink('RTM_NEWLINK', `IFLA_IFNAME=${text(step.name)}`, ...linkDetails(step)),
  link_set: (step) => netlink('RTM_SETLINK', `IFLA_IFNAME=${text(step.name)}`, `IFLA_MASTER=${text(step.master)}`),
  port_set: (step) =>
    netlink(
      'RTM_NEWLINK',
      `IFLA_IFNAME=${text(step.name)}`,
      `IFLA_BRPORT_MODE=${step.hairpin}`,
      `IFLA_BRPORT_ISOLATED=${step.isolated}`,
    ),
  link_delete: (step) => netlink('RTM_DELLINK', `IFLA_IFNAME=${text(step.name)}`),
  address_add: (step) => netlink('RTM_NEWADDR', text(step.link), `IFA_LOCAL=${show(step.address)}`),
  route_add: (step) => {
    const via = show(step.via) === '' ? [] : [`RTA_GATEWAY=${show(step.via)}`];
    return netlink('RTM_NEWROUTE', `RTA_DST=${show(step.to)}`, ...via, `RTA_OIF=${text(step.link)}`);
  },
  nft: (step) => call('nft_run_cmd_from_buffer', shortened(step.commands)),
  nft_delete: (step) => {
    const table = `NFTA_TABLE_NAME=${text(step.table)}`;
    if (show(step.set) === '') return netlink('NFT_MSG_DELTABLE', table);
    return netlink('NFT_MSG_DELSETELEM', table, `NFTA_SET_NAME=${text(step.set)}`, keyText(step.key));
  },
  together: (step) => steps(step.list),
  last: (step) =>
    `${call('flock', call('open', text(step.lock)), 'LOCK_EX')}, if ${call('rmdir', text(step.directory))}: ${steps(step.list)}`,
  bind_port: (step) => {
    const address = show(step.address);
    return call('bind', text(step.protocol), `${beforePort(address)}:${step.port}`);
  },
  flock: (step) => call('flock', call('open', text(step.path)), 'LOCK_EX'),
};
