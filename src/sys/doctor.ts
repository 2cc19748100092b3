/** Facts for `tsbox doctor` that a file, a library or a harmless system call tells. Nothing is changed. */
import { closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { SyscallError } from '../errors.ts';
import type { DoctorFacts, Outcome } from '../spec/doctor.ts';
import { errnoOf } from '../spec/errno.ts';
import { delegatedLevels } from './delegation.ts';
import { bind, cstring, lastErrno } from './ffi.ts';
import { findProgram } from './find-program.ts';
import { hostFacts } from './probe.ts';
import { addressOf } from './process.ts';
import { lgetxattr } from './xattr.ts';

/** What `look` throws, by its errno; `ok` when it does not. */
export function outcomeOf(look: () => void): Outcome {
  try {
    look();
    return 'ok';
  } catch (error) {
    if (error instanceof SyscallError) return error.errnoName;
    return (error as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

const [ENOSYS, EPERM, EACCES] = [38, 1, 13];
const NR = process.arch === 'arm64' ? { seccomp: 277, bpf: 280 } : { seccomp: 317, bpf: 321 };
const call = bind('long', 'syscall', ['long', 'size_t', 'size_t', 'size_t', 'size_t', 'size_t']);

/** Calls whose numbers every architecture shares, with arguments that are refused before they do anything. A kernel that lacks a call,
 *  or a filter that hides it, says something else. */
const HARMLESS: Readonly<Record<string, number>> = {
  open_tree: 428,
  pidfd_open: 434,
  clone3: 435,
  close_range: 436,
  openat2: 437,
  mount_setattr: 442,
};

function callOutcome(number: number): Outcome {
  const none = 0xffffffff;
  if (call(number, none, 0, none, 0, 0) !== -1) return 'ok';
  const errno = lastErrno();
  return errno === ENOSYS || errno === EPERM || errno === EACCES ? errnoOf(errno).name : 'ok';
}

function calls(): Record<string, Outcome> {
  const found = Object.fromEntries(Object.entries(HARMLESS).map(([name, number]) => [name, callOutcome(number)]));
  const [SECCOMP_SET_MODE_FILTER, EFAULT] = [1, 14];
  call(NR.seccomp, SECCOMP_SET_MODE_FILTER, 0, 0, 0, 0);
  const errno = lastErrno();
  return { ...found, seccomp: errno === EFAULT ? 'ok' : errnoOf(errno).name };
}

/** Loads a program that allows everything, attaches it to nothing, and lets it go. @see bpf(2), BPF_PROG_LOAD */
function deviceProgram(): Outcome {
  const [BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE] = [5, 15];
  const program = Buffer.from('b7000000010000009500000000000000', 'hex'); // r0 = 1; exit
  const license = Buffer.from('Apache-2.0\0');
  const attributes = Buffer.alloc(128);
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attributes.writeUInt32LE(program.length / 8, 4);
  attributes.writeBigUInt64LE(addressOf(program), 8);
  attributes.writeBigUInt64LE(addressOf(license), 16);
  const bpf = bind('long', 'syscall', ['long', 'int', 'void *', 'unsigned int']);
  const fd = bpf(NR.bpf, BPF_PROG_LOAD, attributes, attributes.length);
  if (fd === -1) return errnoOf(lastErrno()).name;
  closeSync(fd);
  return 'ok';
}

const RTLD_LAZY = 1;
const dlopen = bind('int64_t', 'dlopen', ['const void *', 'int']);

const SYSCTLS = [
  'kernel/apparmor_restrict_unprivileged_userns',
  'kernel/unprivileged_userns_clone',
  'user/max_user_namespaces',
  'fs/inotify/max_user_instances',
];

/** How many ids a file like /etc/subuid gives to a user, by name or number. @see subuid(5) */
export function subordinateIds(text: string, user: string, uid: number): number {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter(([name, , count]) => (name === user || name === String(uid)) && /^\d+$/.test(count ?? ''))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** Where a program is in PATH or where distributions put those for root. */
function programPath(name: string): string | undefined {
  const path = (process.env['PATH'] ?? '').split(':').map((directory) => directory || '.');
  return findProgram(name, [...path, '/usr/sbin', '/sbin']);
}

function mapProgram(name: string): string {
  const path = programPath(name);
  if (path === undefined) return 'absent';
  const S_ISUID = 0o4000;
  const { mode, uid } = statSync(path);
  const raised = (uid === 0 && (mode & S_ISUID) !== 0) || lgetxattr(path, 'security.capability') !== undefined;
  return raised ? 'ok' : 'plain';
}

/** Soft and hard limit by their line in /proc/self/limits. */
export function limitsOf(text: string, line: string): readonly [number, number] {
  const [, soft = '', hard = ''] = new RegExp(`^${line}\\s+(\\S+)\\s+(\\S+)`, 'm').exec(text) ?? [];
  const number = (value: string) => (value === 'unlimited' || value === '' ? -1 : Number(value));
  return [number(soft), number(hard)];
}

function userName(uid: number): string {
  const line = (textOf('/etc/passwd') ?? '').split('\n').find((one) => one.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? String(uid);
}

const words = (text: string | undefined) =>
  (text ?? '')
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '');

function controllers(): Pick<DoctorFacts['cgroups'], 'mode' | 'controllers' | 'delegated' | 'delegatedAt'> {
  const { cgroupMode, hierarchies } = hostFacts('there');
  const all = hierarchies.flatMap((one) =>
    one.version === 1 ? [...one.controllers] : words(textOf(`${one.mount}/cgroup.controllers`)),
  );
  const own = hostFacts().hierarchies.find((one) => one.version === 2);
  const [outermost] = own?.delegated === true ? delegatedLevels(own.mount) : [own?.mount];
  const delegated = outermost === undefined ? [] : words(textOf(`${outermost}/cgroup.controllers`));
  return {
    mode: cgroupMode,
    controllers: all,
    delegated,
    ...(outermost !== undefined && { delegatedAt: outermost }),
  };
}

/** Everything but what has to be tried in a process or a directory of its own. */
export function readFacts(): Omit<
  DoctorFacts,
  'namespaces' | 'userNamespaces' | 'overlay' | 'idmappedMounts' | 'roots' | 'executor' | 'cgroups'
> & {
  cgroups: ReturnType<typeof controllers>;
} {
  const uid = process.geteuid?.() ?? 0;
  const user = userName(uid);
  const limits = textOf('/proc/self/limits') ?? '';
  const sysctls = SYSCTLS.map((name) => [name, textOf(`/proc/sys/${name}`)?.trim()] as const);
  const tools = ['xz', 'bzip2', 'pasta', 'slirp4netns'].map((name) => [name, programPath(name)] as const);
  const libraries = ['libseccomp.so.2', 'libnftables.so.1'].map(
    (name) => [name, dlopen(cstring(name), RTLD_LAZY) === 0 ? 'absent' : 'ok'] as const,
  );
  return {
    uid,
    user,
    kernel: release(),
    machine: process.arch === 'x64' ? 'x86_64' : 'aarch64',
    calls: calls(),
    fuse: outcomeOf(() => closeSync(openSync('/dev/fuse', constants.O_RDWR))),
    deviceProgram: deviceProgram(),
    sysctls: Object.fromEntries(sysctls.filter((pair): pair is [string, string] => pair[1] !== undefined)),
    cgroups: controllers(),
    ids: {
      subuid: subordinateIds(textOf('/etc/subuid') ?? '', user, uid),
      subgid: subordinateIds(textOf('/etc/subgid') ?? '', user, uid),
      newuidmap: mapProgram('newuidmap'),
      newgidmap: mapProgram('newgidmap'),
    },
    tools: Object.fromEntries(tools),
    libraries: Object.fromEntries(libraries),
    limits: { nofile: limitsOf(limits, 'Max open files'), nproc: limitsOf(limits, 'Max processes') },
  };
}

/** The version of the plan that a built executor speaks; undefined when it cannot be started. */
export function executorVersion(path: string): number | undefined {
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const { stdout, status } = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 5000 });
  const version = Number(stdout);
  return status === 0 && Number.isInteger(version) ? version : undefined;
}
