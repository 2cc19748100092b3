/**
 * Namespaces, credentials and processes by system call. What changes the calling thread changes Node's main thread only, as the
 * kernel keeps credentials and namespaces for each thread: use it in a process that is about to exec. Every function: @throws SyscallError.
 */
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { monotonicMs } from './clock.ts';
import { bind, check, cstring, printable, refuse } from './ffi.ts';
import { pause } from './pause.ts';

const P = 'const void *';
const EPERM = 1;

export interface SpawnOptions {
  path: string;
  /** With the program's own name in front. */
  args: readonly string[];
  env: readonly string[];
  /** `[ours, theirs]`: our descriptor becomes theirs. All others stay behind, the standard streams among them: Node marks every
   *  descriptor close-on-exec. `[2, 2]` hands on standard error. */
  descriptors: readonly (readonly [number, number])[];
}

const spawnInit = bind('int', 'posix_spawn_file_actions_init', ['void *']);
const spawnDup = bind('int', 'posix_spawn_file_actions_adddup2', ['void *', 'int', 'int']);
const spawnDestroy = bind('int', 'posix_spawn_file_actions_destroy', ['void *']);
const posixSpawn = bind('int', 'posix_spawn', ['void *', P, 'void *', 'void *', 'const char **', 'const char **']);

/** Starts a program and does not wait. posix_spawn(3) instead of node:child_process: 1.5 ms against 5 ms.
 *  The caller reaps it with {@link waitPid}. @returns its pid */
export function spawnProcess(options: SpawnOptions): number {
  const actions = Buffer.alloc(128);
  const pid = Buffer.alloc(4);
  spawnInit(actions);
  try {
    for (const [ours, theirs] of options.descriptors) spawnDup(actions, ours, theirs);
    const argv = [...options.args, null];
    const envp = [...options.env, null];
    const errno = posixSpawn(pid, cstring(options.path), actions, null, argv, envp);
    if (errno !== 0)
      throw new SyscallError('posix_spawn', `start ${printable(options.args[0] ?? options.path)}`, errnoOf(errno));
  } finally {
    spawnDestroy(actions);
  }
  return pid.readInt32LE(0);
}

const waitpid = bind('int', 'waitpid', ['int', 'void *', 'int']);

/** Reaps a child. @returns its status as wait(2) has it; undefined with `block` false while it runs, or when it is not our child */
export function waitPid(pid: number, block: boolean): number | undefined {
  const status = Buffer.alloc(4);
  const WNOHANG = 1;
  return waitpid(pid, status, block ? 0 : WNOHANG) === pid ? status.readInt32LE(0) : undefined;
}

const memfdCreate = bind('int', 'memfd_create', ['const void *', 'unsigned int']);
const MFD_CLOEXEC = 1;

/** Runs a program of the host to its end; by its name as a shell would find it.
 *  @throws SyscallError ENOENT when it is not there, EPERM when it does not end with 0, with the first line that it has printed, and its hint
 *  where the next one is that */
export function runProgram(args: readonly string[]): void {
  const [name = ''] = args;
  const places = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const path = name.includes('/') ? name : places.map((place) => `${place}/${name}`).find((one) => existsSync(one));
  if (path === undefined) throw refuse('run', `run ${printable(name)}`, 'ENOENT');
  const env = [`PATH=${places.join(':')}`];
  // A file and no pipe: what the program leaves in the background may keep it open.
  const said = check(memfdCreate(cstring('said'), MFD_CLOEXEC), 'memfd_create', () => 'make a file in memory');
  try {
    const descriptors = [
      [said, 1],
      [said, 2],
    ] as const;
    if (waitPid(spawnProcess({ path, args, env, descriptors }), true) === 0) return;
    const [detail = '', next = ''] = readFileSync(`/proc/self/fd/${said}`, 'utf8').split('\n');
    const what = `run ${printable(args.join(' '))}${detail === '' ? '' : `: ${printable(detail)}`}`;
    const hint = /^hint: (.*)/.exec(next)?.[1];
    throw new SyscallError('run', what, errnoOf(EPERM), hint === undefined ? {} : { hint });
  } finally {
    closeSync(said);
  }
}

const socketpairCall = bind('int', 'socketpair', ['int', 'int', 'int', 'void *']);

/** Two connected Unix stream sockets, close-on-exec. */
export function socketPair(): [number, number] {
  const [AF_UNIX, SOCK_STREAM, SOCK_CLOEXEC] = [1, 1, 0o2000000];
  const pair = Buffer.alloc(8);
  check(socketpairCall(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 'socketpair', () => 'make a socket pair');
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

const fcntlCall = bind('int', 'fcntl', ['int', 'int', 'int']);

/** The same open file under a number that no child's descriptor has (10 or more), close-on-exec; the old one is closed.
 *  So the dup2 calls of {@link spawnProcess} cannot overwrite each other's sources. */
export function highDescriptor(fd: number): number {
  const F_DUPFD_CLOEXEC = 1030;
  if (fd >= 10) return fd;
  const high = check(fcntlCall(fd, F_DUPFD_CLOEXEC, 10), 'fcntl', () => 'duplicate a descriptor');
  closeSync(fd);
  return high;
}

const unshareCall = bind('int', 'unshare', ['int']);
/** unshare(2) */
export function unshare(flags: number): void {
  check(unshareCall(flags), 'unshare', () => 'unshare namespaces');
}

const setnsCall = bind('int', 'setns', ['int', 'int']);
/** setns(2) on a file such as /proc/PID/ns/net. */
export function setns(path: string, type: number): void {
  const fd = openSync(path, 'r');
  try {
    check(setnsCall(fd, type), 'setns', () => `join the namespace ${path}`);
  } finally {
    closeSync(fd);
  }
}

const sethostnameCall = bind('int', 'sethostname', [P, 'size_t']);
/** sethostname(2) */
export function setHostname(name: string): void {
  const bytes = Buffer.from(name);
  check(sethostnameCall(bytes, bytes.length), 'sethostname', () => `set the host name ${name}`);
}

const setdomainnameCall = bind('int', 'setdomainname', [P, 'size_t']);
/** setdomainname(2) */
export function setDomainname(name: string): void {
  const bytes = Buffer.from(name);
  check(setdomainnameCall(bytes, bytes.length), 'setdomainname', () => `set the domain name ${name}`);
}

const setsidCall = bind('int', 'setsid', []);
/** setsid(2) */
export function setsid(): void {
  check(setsidCall(), 'setsid', () => 'begin a session');
}

const prctlCall = bind('int', 'prctl', ['int', 'unsigned long', 'unsigned long', 'unsigned long', 'unsigned long']);
/** prctl(2) with one value. @returns what the option returns */
export function prctl(option: number, value: number, second = 0): number {
  return check(prctlCall(option, value, second, 0, 0), 'prctl', () => `prctl ${option}`);
}

const capsetCall = bind('int', 'capset', [P, P]);
/** capset(2), version 3. */
export function capset(effective: bigint, permitted: bigint, inheritable: bigint): void {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x20080522, 0);
  const data = Buffer.alloc(24);
  for (const [index, mask] of [effective, permitted, inheritable].entries()) {
    data.writeUInt32LE(Number(mask & 0xffffffffn), index * 4);
    data.writeUInt32LE(Number(mask >> 32n), 12 + index * 4);
  }
  check(capsetCall(header, data), 'capset', () => 'set capabilities');
}

const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_CAP_AMBIENT = 47;
const [AMBIENT_RAISE, AMBIENT_CLEAR_ALL] = [2, 4];
const CAPABILITY_LIMIT = 64;

/** Drops every capability that is not in `keep` from the bounding set. @see capabilities(7) */
export function dropBoundingSet(keep: bigint): void {
  for (let number = 0; number < CAPABILITY_LIMIT; number++) {
    const held = prctlCall(PR_CAPBSET_READ, number, 0, 0, 0);
    if (held === -1) return;
    if (held === 1 && (keep & (1n << BigInt(number))) === 0n) prctl(PR_CAPBSET_DROP, number);
  }
}

/** Makes `raise` the ambient set. */
export function raiseAmbient(raise: bigint): void {
  prctl(PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL);
  for (let number = 0; number < CAPABILITY_LIMIT; number++) {
    if ((raise & (1n << BigInt(number))) !== 0n) prctl(PR_CAP_AMBIENT, AMBIENT_RAISE, number);
  }
}

const umaskCall = bind('int', 'umask', ['unsigned int']);
/** umask(2), of the whole process */
export function umask(mask: number): void {
  umaskCall(mask);
}

const syscallWords = bind('long', 'syscall', ['long', 'long', 'long', 'long']);
const syscallList = bind('long', 'syscall', ['long', 'size_t', P]);
const NR =
  process.arch === 'arm64'
    ? {
        setresgid: 149,
        setresuid: 147,
        setgroups: 159,
        setfsuid: 151,
        setfsgid: 152,
        closeRange: 436,
        keyctl: 219,
        seccomp: 277,
      }
    : {
        setresgid: 119,
        setresuid: 117,
        setgroups: 116,
        setfsuid: 122,
        setfsgid: 123,
        closeRange: 436,
        keyctl: 250,
        seccomp: 317,
      };

/** setresgid(2), of this thread */
export function setGid(gid: number): void {
  check(syscallWords(NR.setresgid, gid, gid, gid), 'setresgid', () => `become group ${gid}`);
}

/** setresuid(2), of this thread */
export function setUid(uid: number): void {
  check(syscallWords(NR.setresuid, uid, uid, uid), 'setresuid', () => `become user ${uid}`);
}

/** setfsgid(2) and setfsuid(2), of this thread. They tell of no error; asked with an id that cannot be they tell which it is. */
export function setFsIds(uid: number, gid: number): void {
  const none = -1;
  syscallWords(NR.setfsgid, gid, 0, 0);
  syscallWords(NR.setfsuid, uid, 0, 0);
  const now = [syscallWords(NR.setfsuid, none, 0, 0), syscallWords(NR.setfsgid, none, 0, 0)];
  if (now[0] !== uid || now[1] !== gid) throw refuse('setfsuid', `use files as ${uid}:${gid}`, 'EPERM');
}

/** setgroups(2), of this thread */
export function setGroups(groups: readonly number[]): void {
  const list = Buffer.from(Uint32Array.from(groups).buffer);
  check(syscallList(NR.setgroups, groups.length, list), 'setgroups', () => 'set supplementary groups');
}

/** close_range(2), CLOSE_RANGE_CLOEXEC: everything from `from` on stays behind at exec. */
export function closeOnExecFrom(from: number): void {
  check(syscallWords(NR.closeRange, from, 0xffffffff, 4), 'close_range', () => 'mark descriptors close-on-exec');
}

const exitNow = bind('void', '_exit', ['int']);

/** Ends this process with 0, its files first: Node takes some milliseconds to clear its memory away, and the kernel closes nothing before
 *  that is done. Whoever waits for a file system to be free need not wait for it. */
export function endAtOnce(): never {
  syscallWords(NR.closeRange, 0, 0xffffffff, 0);
  exitNow(0);
  throw new Error('_exit returned');
}

/** keyctl(2): a session keyring of its own */
export function joinSessionKeyring(name: string): void {
  const join = bind('long', 'syscall', ['long', 'int', P]);
  check(join(NR.keyctl, 1, cstring(name)), 'keyctl', () => `join the session keyring ${name}`);
}

const setrlimitCall = bind('int', 'setrlimit', ['int', P]);
/** setrlimit(2); -1 is unlimited */
export function setRlimit(resource: number, soft: number, hard: number): void {
  const limit = Buffer.alloc(16);
  limit.writeBigUInt64LE(BigInt.asUintN(64, BigInt(soft)), 0);
  limit.writeBigUInt64LE(BigInt.asUintN(64, BigInt(hard)), 8);
  check(setrlimitCall(resource, limit), 'setrlimit', () => `set the limit ${resource}`);
}

/** seccomp(2), SECCOMP_SET_MODE_FILTER */
export function seccompFilter(filter: Uint8Array, flags: number): void {
  const program = Buffer.alloc(16);
  const copy = Buffer.from(filter);
  program.writeUInt16LE(filter.length / 8, 0);
  program.writeBigUInt64LE(addressOf(copy), 8);
  const call = bind('long', 'syscall', ['long', 'int', 'unsigned int', P]);
  check(call(NR.seccomp, 1, flags, program), 'seccomp', () => 'load the system call filter');
}

const memcpy = bind('int64_t', 'memcpy', ['void *', 'const void **', 'size_t']);

/** Where the bytes are, for structures that hold pointers; they must be kept until the call is over. */
export function addressOf(bytes: Buffer): bigint {
  const scratch = Buffer.alloc(8);
  memcpy(scratch, [bytes], 8);
  return scratch.readBigUInt64LE(0);
}

const ioctlRequest = bind('int', 'ioctl', ['int', 'unsigned long', 'void *']);
const socketCall = bind('int', 'socket', ['int', 'int', 'int']);

/** Sets IFF_UP on a network interface. @see netdevice(7) */
export function linkUp(name: string): void {
  const [AF_INET, SOCK_DGRAM, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP] = [2, 2 | 0o2000000, 0x8913, 0x8914, 1];
  const what = () => `bring ${name} up`;
  const fd = check(socketCall(AF_INET, SOCK_DGRAM, 0), 'socket', what);
  try {
    const request = Buffer.alloc(40);
    request.write(name.slice(0, 15));
    check(ioctlRequest(fd, SIOCGIFFLAGS, request), 'ioctl', what);
    request.writeInt16LE(request.readInt16LE(16) | IFF_UP, 16);
    check(ioctlRequest(fd, SIOCSIFFLAGS, request), 'ioctl', what);
  } finally {
    closeSync(fd);
  }
}

const execveCall = bind('int', 'execve', [P, 'const char **', 'const char **']);
const signalCall = bind('void *', 'signal', ['int', 'void *']);

/** execve(2): does not come back unless the kernel refuses. Node ignores SIGPIPE and marks the standard streams close-on-exec: both
 *  are put back first, as a program expects to find them.
 *  @param kept descriptors that the program gets as well */
export function execve(
  path: string,
  args: readonly string[],
  env: readonly string[],
  kept: readonly number[] = [],
): void {
  const [F_SETFD, SIGPIPE] = [2, 13];
  for (const fd of [0, 1, 2, ...kept]) fcntlCall(fd, F_SETFD, 0);
  signalCall(SIGPIPE, null);
  check(execveCall(cstring(path), [...args, null], [...env, null]), 'execve', () => `exec ${printable(path)}`);
}

/** Ends all processes of a cgroup, given its `cgroup.procs`, whatever they start meanwhile; none is left when it returns.
 *  @throws SyscallError EBUSY when there are some after two seconds */
export function killCgroup(list: string): void {
  const SIGKILL = 9;
  for (const end = monotonicMs() + 2000; monotonicMs() < end; ) {
    const pids = readFileSync(list, 'utf8')
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0);
    if (pids.length === 0) return;
    for (const pid of pids) killCall(pid, SIGKILL);
    pause(1);
  }
  throw refuse('kill', `end the processes of ${list}`, 'EBUSY');
}

const killCall = bind('int', 'kill', ['int', 'int']);
/** kill(2); unlike process.kill it takes every number that Linux has. */
export function kill(pid: number, signal: number): void {
  check(killCall(pid, signal), 'kill', () => `send signal ${signal} to process ${pid}`);
}
