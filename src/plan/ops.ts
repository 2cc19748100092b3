/**
 * Every operation that a step can be: number on the wire, arguments, and the system call that a reader knows it by.
 * One table serves the types (`step.ts`), the encoding (`wire.ts`), the printing (`explain.ts`) and the interpreter in TypeScript;
 * the executor's own table (`native-bindings/ops.c`) is held against it by a test. Numbers are never used twice; a change of
 * meaning raises PLAN_VERSION.
 *
 * mkdir, write, chdir, pty and move_mount's target follow symlinks, which lead within the root, and no magic link of /proc, which may
 * lead out of it (/proc/self/fd/7, /proc/1/root): ELOOP. After chdir the working directory lies below the root, or the step fails.
 *
 * write_proc: `path` is below /proc, which must be a procfs with nothing mounted on the way: EXDEV.
 * open_device: as open_tree with OPEN_TREE_CLONE; what stands at `path` is that character device and no symlink, or the step fails: ENODEV.
 * tree_setattr: mount_setattr(2) on what is in the slot, before it can be reached by a path.
 * write_counted: as write, where a line of the small file `from` is `count`, a blank and a number above 0; else nothing.
 * become: as rename; then the rest of the list is left out, and once its clients know the end the monitor becomes the program, which has its
 * lock as descriptor 3. ENOENT when `from` is not there: then nothing of that.
 * repeat: `every` milliseconds, from the end of the last one on, the program is started, while the container runs; with `early` above 0 it is
 * so many until the program has once ended with 0, for at most `until` milliseconds.
 * log: `format` is json-file or local; with `compress` 1 gzip(1) makes .gz of the files that are rotated; with `buffer` above 0 the container does
 * not wait for the disk: so many bytes may wait, and what comes then is thrown away.
 * link_add: `type` is bridge, veth or dummy. The other end of a veth is `peer`, in the network namespace whose file is `netns` ('' = this one).
 * `mac` ('' = the kernel's choice) is the peer's where there is one; `mtu` (0 = the kernel's) is that of both.
 * link_set: the link becomes a port of the bridge `master`, or of none ('').
 * port_set: of a bridge; with `hairpin` 1 what came in by it may go out by it again, with `isolated` 1 it reaches no other isolated port.
 * address_add: `172.17.0.2/16`, with its broadcast address; one of IPv6 is usable at once (IFA_F_NODAD).
 * route_add: `to` is `default` or a subnet, `via` the gateway ('' = what is on the link).
 * nft: lines in nft(8)'s language, all of them or none. What it refuses is EEXIST, ENOENT, EBUSY or EOPNOTSUPP where the kernel said so, else
 * EPERM. Without it: ENOSYS from the executor, which starts nft(8), and ERR_TSBOX_UNSUPPORTED here, where it is libnftables.
 * nft_delete: in a table of the family inet, the element with this key of this set or map; with '' for `set` the whole table. ENOENT when it is
 * not there. `nft-key.ts` makes keys.
 * last: holding the lock, which is waited for, every symlink in `directory` that leads nowhere is unlinked; if the directory can then be removed,
 * the list is run up to its first error. A directory that is not there or has something left is no error.
 * together: the list up to its first error.
 * bind_port: the monitor's until `cleanup` is through. EADDRINUSE when somebody has it.
 * join: all of `flags` at once, of the process `pid` if it is a child of `parent`: ESRCH when the number is another process's by now.
 */
import { AT, CLONE, type FlagSet, MNT, MOUNT_ATTR, MOVE_MOUNT, MS, O, PR, RLIMIT, STDIN } from '../spec/linux.ts';

/** text: bytes, may have holes. int: 64 bits. mode: shown in octal. mask: 64 bits, given as bigint. list: a nested list of steps. */
export type Kind = 'text' | 'texts' | 'int' | 'ints' | 'mode' | 'mask' | 'bytes' | 'list' | FlagKind;
export type FlagKind = keyof typeof FLAGS;

/** Arguments that are names of constants: `flags` kinds are or-ed together, `choice` kinds hold one. */
export const FLAGS = {
  ms: { set: MS },
  mnt: { set: MNT },
  clone: { set: CLONE },
  open: { set: O },
  at: { set: AT },
  mountAttr: { set: MOUNT_ATTR },
  moveMount: { set: MOVE_MOUNT },
  propagation: {
    set: {
      MS_PRIVATE: MS.MS_PRIVATE,
      MS_SLAVE: MS.MS_SLAVE,
      MS_SHARED: MS.MS_SHARED,
      MS_UNBINDABLE: MS.MS_UNBINDABLE,
    },
  },
  prctl: { set: PR },
  rlimit: { set: RLIMIT },
  stdin: { set: STDIN },
} as const satisfies Record<string, { set: FlagSet }>;

export interface OpSpec {
  readonly number: number;
  readonly args: Readonly<Record<string, Kind>>;
  /** The manual page or kernel document behind it. */
  readonly see: string;
}

export const PLAN_VERSION = 4;

export const OPS = {
  // files
  mkdir: { number: 1, args: { path: 'text', mode: 'mode' }, see: 'mkdir(2)' },
  write: { number: 2, args: { path: 'text', data: 'text', flags: 'open', mode: 'mode' }, see: 'write(2)' },
  symlink: { number: 3, args: { target: 'text', path: 'text' }, see: 'symlink(2)' },
  mknod: { number: 4, args: { path: 'text', mode: 'mode', major: 'int', minor: 'int' }, see: 'mknod(2)' },
  chmod: { number: 5, args: { path: 'text', mode: 'mode' }, see: 'chmod(2)' },
  chown: { number: 6, args: { path: 'text', uid: 'int', gid: 'int' }, see: 'chown(2)' },
  unlink: { number: 7, args: { path: 'text' }, see: 'unlink(2)' },
  rmdir: { number: 8, args: { path: 'text' }, see: 'rmdir(2)' },
  remove_tree: { number: 9, args: { path: 'text' }, see: 'unlinkat(2)' },
  rename: { number: 10, args: { from: 'text', to: 'text' }, see: 'rename(2)' },
  // mounts
  mount: {
    number: 11,
    args: { source: 'text', target: 'text', type: 'text', flags: 'ms', data: 'text' },
    see: 'mount(2)',
  },
  umount: { number: 12, args: { target: 'text', flags: 'mnt' }, see: 'umount2(2)' },
  mount_setattr: {
    number: 13,
    args: { target: 'text', at: 'at', set: 'mountAttr', clear: 'mountAttr', propagation: 'propagation' },
    see: 'mount_setattr(2)',
  },
  open_tree: { number: 14, args: { slot: 'int', path: 'text', flags: 'at' }, see: 'open_tree(2)' },
  move_mount: { number: 15, args: { slot: 'int', target: 'text', flags: 'moveMount' }, see: 'move_mount(2)' },
  pivot_root: { number: 16, args: { root: 'text', old: 'text' }, see: 'pivot_root(2)' },
  chdir: { number: 17, args: { path: 'text' }, see: 'chdir(2)' },
  // namespaces and processes
  unshare: { number: 18, args: { flags: 'clone' }, see: 'unshare(2)' },
  setns: { number: 19, args: { path: 'text', type: 'clone' }, see: 'setns(2)' },
  fork: { number: 20, args: {}, see: 'clone(2), CLONE_PARENT' },
  spawn: { number: 21, args: { list: 'list' }, see: 'fork(2)' },
  outside: { number: 22, args: { list: 'list' }, see: 'user_namespaces(7)' },
  wait: { number: 23, args: { name: 'text' }, see: 'runtime-spec, runtime.md, start' },
  setsid: { number: 24, args: {}, see: 'setsid(2)' },
  // names and links
  sethostname: { number: 25, args: { name: 'text' }, see: 'sethostname(2)' },
  setdomainname: { number: 26, args: { name: 'text' }, see: 'setdomainname(2)' },
  link_up: { number: 27, args: { name: 'text' }, see: 'netdevice(7), SIOCSIFFLAGS' },
  // standard streams
  stdio: { number: 28, args: { stdin: 'stdin' }, see: 'pipe(2)' },
  pty: { number: 29, args: { path: 'text', rows: 'int', columns: 'int' }, see: 'pty(7), ioctl_tty(2)' },
  chown_stdio: { number: 30, args: { uid: 'int' }, see: 'fchown(2)' },
  close_fds: { number: 31, args: { from: 'int' }, see: 'close_range(2), CLOSE_RANGE_CLOEXEC' },
  // credentials and limits
  umask: { number: 32, args: { mask: 'mode' }, see: 'umask(2)' },
  rlimit: { number: 33, args: { resource: 'rlimit', soft: 'int', hard: 'int' }, see: 'setrlimit(2)' },
  capbset: { number: 34, args: { keep: 'mask' }, see: 'capabilities(7), PR_CAPBSET_DROP' },
  capset: { number: 35, args: { effective: 'mask', permitted: 'mask', inheritable: 'mask' }, see: 'capset(2)' },
  capambient: { number: 36, args: { raise: 'mask' }, see: 'capabilities(7), PR_CAP_AMBIENT' },
  setgroups: { number: 37, args: { groups: 'ints' }, see: 'setgroups(2)' },
  setgid: { number: 38, args: { gid: 'int' }, see: 'setresgid(2)' },
  setuid: { number: 39, args: { uid: 'int' }, see: 'setresuid(2)' },
  prctl: { number: 40, args: { option: 'prctl', value: 'int' }, see: 'prctl(2)' },
  seccomp: { number: 41, args: { filter: 'bytes', flags: 'int' }, see: 'seccomp(2)' },
  keyctl_join: { number: 42, args: { name: 'text' }, see: 'keyctl(2), KEYCTL_JOIN_SESSION_KEYRING' },
  exec: { number: 43, args: { args: 'texts', env: 'texts' }, see: 'execve(2)' },
  // the monitor
  flock: { number: 44, args: { path: 'text' }, see: 'flock(2)' },
  listen: { number: 45, args: { path: 'text' }, see: 'unix(7)' },
  log: {
    number: 46,
    args: {
      path: 'text',
      maxSize: 'int',
      maxFiles: 'int',
      attrs: 'text',
      format: 'text',
      compress: 'int',
      buffer: 'int',
    },
    see: 'docs/monitor.md',
  },
  birth_cgroup: { number: 47, args: { path: 'text' }, see: 'clone(2), CLONE_INTO_CGROUP' },
  // user namespaces
  idmap: { number: 48, args: { slot: 'int', userns: 'text' }, see: 'mount_setattr(2), ID-mapped mounts' },
  setfsid: { number: 49, args: { uid: 'int', gid: 'int' }, see: 'setfsuid(2)' },
  // cgroups
  kill_cgroup: { number: 50, args: { path: 'text' }, see: 'cgroups(7), cgroup.procs' },
  bpf_device: { number: 51, args: { cgroup: 'text', program: 'bytes' }, see: 'bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE' },
  copy: { number: 52, args: { from: 'text', to: 'text' }, see: 'read(2), write(2)' },
  // beside others, safe from them
  write_proc: { number: 53, args: { path: 'text', data: 'text' }, see: 'openat2(2), RESOLVE_NO_XDEV' },
  open_device: { number: 54, args: { slot: 'int', path: 'text', major: 'int', minor: 'int' }, see: 'open_tree(2)' },
  tree_setattr: {
    number: 55,
    args: { slot: 'int', at: 'at', set: 'mountAttr', clear: 'mountAttr', propagation: 'propagation' },
    see: 'mount_setattr(2)',
  },
  join: { number: 56, args: { pid: 'int', parent: 'int', flags: 'clone' }, see: 'setns(2), pidfd_open(2)' },
  // programs of the host
  run: { number: 57, args: { args: 'texts' }, see: 'posix_spawn(3), waitpid(2)' },
  become: { number: 58, args: { from: 'text', to: 'text', args: 'texts' }, see: 'docs/monitor.md' },
  repeat: { number: 59, args: { every: 'int', early: 'int', until: 'int', args: 'texts' }, see: 'docs/monitor.md' },
  // networks
  link_add: {
    number: 60,
    args: { name: 'text', type: 'text', peer: 'text', netns: 'text', mac: 'text', mtu: 'int' },
    see: 'rtnetlink(7), RTM_NEWLINK',
  },
  link_set: { number: 61, args: { name: 'text', master: 'text' }, see: 'rtnetlink(7), RTM_SETLINK' },
  link_delete: { number: 62, args: { name: 'text' }, see: 'rtnetlink(7), RTM_DELLINK' },
  address_add: { number: 63, args: { link: 'text', address: 'text' }, see: 'rtnetlink(7), RTM_NEWADDR' },
  route_add: { number: 64, args: { to: 'text', via: 'text', link: 'text' }, see: 'rtnetlink(7), RTM_NEWROUTE' },
  // what was counted
  write_counted: {
    number: 65,
    args: { from: 'text', count: 'text', path: 'text', data: 'text', flags: 'open', mode: 'mode' },
    see: 'read(2), write(2)',
  },
  // rules and ports
  nft: { number: 66, args: { commands: 'text' }, see: 'nft(8), libnftables(3)' },
  nft_delete: { number: 67, args: { table: 'text', set: 'text', key: 'bytes' }, see: 'nft(8), delete' },
  last: { number: 68, args: { lock: 'text', directory: 'text', list: 'list' }, see: 'docs/network.md, leases' },
  bind_port: { number: 69, args: { protocol: 'text', address: 'text', port: 'int' }, see: 'bind(2)' },
  // ports of a bridge
  port_set: {
    number: 70,
    args: { name: 'text', hairpin: 'int', isolated: 'int' },
    see: 'rtnetlink(7), IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED',
  },
  // steps of which each needs the one before, in a list that goes on
  together: { number: 71, args: { list: 'list' }, see: 'docs/monitor.md' },
} as const satisfies Record<string, OpSpec>;

export type OpName = keyof typeof OPS;

/** One letter an argument, as the executor's table spells its kinds: t text, s texts, i int, n ints, b bytes, l list. */
export function argLetters(op: OpName): string {
  return Object.values(OPS[op].args as Readonly<Record<string, Kind>>)
    .map((kind) => LETTERS[kind] ?? 'i')
    .join('');
}

const LETTERS: Partial<Record<Kind, string>> = { text: 't', texts: 's', ints: 'n', bytes: 'b', list: 'l' };
