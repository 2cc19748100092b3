/** What to do when the kernel refuses: one table by system call and errno. Used when the error has no hint of its own. */
import { isErrno, SyscallError } from '../errors.ts';
import { UNSERVED_HINT } from '../runtime/failure.ts';

interface Row {
  /** Names of the system calls; any when absent. */
  readonly calls?: readonly string[];
  /** Any when absent. */
  readonly errno?: string;
  /** What the message must look like. */
  readonly when?: RegExp;
  /** Only for a caller who is not root. */
  readonly notRoot?: true;
  /** Absent: nothing is known, and the wider rows below would be wrong. */
  readonly hint?: string;
}

const NAMESPACES = ['unshare', 'clone', 'setns', 'fork', 'spawn'];
const MOUNTS = ['mount', 'umount', 'umount2', 'mount_setattr', 'open_tree', 'move_mount', 'pivot_root'];
const EXEC = ['execve', 'exec'];
const FILES = [
  'open',
  'openat',
  'openat2',
  'stat',
  'lstat',
  'statx',
  'chdir',
  'scandir',
  'read',
  'write',
  'mkdir',
  'exec',
];

/** The first row that fits is taken: the narrow ones stand before the wide ones. */
const TABLE: readonly Row[] = [
  {
    calls: ['write'],
    errno: 'EBUSY',
    when: /\/cgroup\.subtree_control/,
    hint: 'Processes are in that cgroup itself, and version 2 hands controllers down only where none are. Name another --cgroup-parent.',
  },
  {
    calls: ['write'],
    errno: 'EBUSY',
    when: /\/memory\./,
    hint: 'Its processes use more than that already, and the kernel cannot take it back. Choose a higher limit.',
  },
  {
    calls: ['write'],
    errno: 'ENODEV',
    when: /\/(blkio|io)\./,
    hint: 'Only whole disks can be limited; see /sys/block.',
  },
  {
    calls: ['bpf', 'bpf_device'],
    errno: 'EPERM',
    hint: 'The rules of devices are a program that only root of the host may load, with CAP_BPF or CAP_SYS_ADMIN.',
  },
  { calls: FILES, errno: 'ENOTCONN', hint: UNSERVED_HINT },
  {
    calls: ['mount'],
    errno: 'ENODEV',
    when: /overlay/,
    hint: 'This kernel has no overlay file system. Load it with "modprobe overlay", or do without it: --storage-driver fuse or vfs.',
  },
  {
    calls: ['mount'],
    errno: 'ENODEV',
    hint: 'This kernel does not know that type of file system; see /proc/filesystems.',
  },
  {
    calls: ['mount'],
    errno: 'EINVAL',
    when: /overlay/,
    hint: 'The kernel log has the reason: "dmesg | tail". Often the data root is itself on an overlay; put it on ext4, xfs, btrfs or tmpfs with --data-root, or do without an overlay: --storage-driver fuse or vfs.',
  },
  {
    calls: ['mount'],
    errno: 'ELOOP',
    when: /overlay/,
    hint: 'The read-write layer must not lie in one of the lower layers. Choose another --data-root.',
  },
  {
    calls: ['idmap'],
    errno: 'EINVAL',
    hint: 'The file system of the data root cannot show files with other owners. ext4, xfs, btrfs and tmpfs can: choose another --data-root, or --userns host.',
  },
  {
    calls: MOUNTS,
    errno: 'EPERM',
    notRoot: true,
    hint: 'Root of a user namespace may not do this: run tsbox as root, for example with sudo.',
  },
  {
    calls: MOUNTS,
    errno: 'EPERM',
    hint: 'Root was refused a mount: tsbox seems to run in a container without CAP_SYS_ADMIN, or a security module forbids it.',
  },
  {
    calls: MOUNTS,
    errno: 'EACCES',
    hint: 'A directory on the way may not be searched, or a security module forbids the mount.',
  },
  {
    calls: ['umount', 'umount2'],
    errno: 'EBUSY',
    hint: 'A process still has a file or its working directory there; "fuser -vm PATH" names it.',
  },
  {
    calls: ['write'],
    errno: 'ENOSPC',
    when: /standard output/,
    hint: 'It leads to a disk or a device that is full: send it elsewhere.',
  },
  {
    calls: ['mount', 'fsmount'],
    errno: 'ENOSPC',
    hint: 'The limit of mounts is reached: see /proc/sys/fs/mount-max.',
  },
  {
    calls: NAMESPACES,
    errno: 'EPERM',
    notRoot: true,
    hint: 'User namespaces are turned off here, or for ordinary users: see "sysctl user.max_user_namespaces kernel.unprivileged_userns_clone".',
  },
  {
    calls: NAMESPACES,
    errno: 'EPERM',
    hint: 'Root was refused a namespace: tsbox seems to run in a container without CAP_SYS_ADMIN, or a seccomp filter forbids it.',
  },
  {
    calls: NAMESPACES,
    errno: 'ENOSPC',
    hint: 'A limit on namespaces is reached: see /proc/sys/user/max_*_namespaces.',
  },
  {
    calls: NAMESPACES,
    errno: 'EINVAL',
    hint: 'This kernel was built without one of the namespaces; see /proc/self/ns.',
  },
  // EAGAIN in words: a program of the host that does not get a process says it in its own.
  {
    calls: [...NAMESPACES, 'posix_spawn', 'run', 'log', 'spawnSync'],
    when: /Resource temporarily unavailable/,
    hint: 'The limit of processes is reached: see "ulimit -u" and pids.max of the cgroup.',
  },
  // Not the kernel's word: a program of the host has failed.
  { calls: ['run'], errno: 'EPERM' },
  {
    calls: EXEC,
    errno: 'ENOEXEC',
    hint: 'The file is for another architecture, or is a script without "#!" in its first line.',
  },
  {
    calls: EXEC,
    errno: 'ENOENT',
    hint: 'The image has no such file in its PATH; or the file names an interpreter or loader ("#!", ld.so) that the image does not have.',
  },
  {
    calls: EXEC,
    errno: 'EACCES',
    hint: 'The file is not executable for that user, is a directory, or lies on a noexec mount.',
  },
  { calls: EXEC, errno: 'E2BIG', hint: 'Arguments and environment together are too large; pass them in a file.' },
  {
    calls: EXEC,
    errno: 'ETXTBSY',
    hint: 'Somebody has the file open for writing; try again when it has been written.',
  },
  {
    calls: ['seccomp', 'prctl'],
    errno: 'EINVAL',
    hint: 'This kernel was built without seccomp filters. --security-opt seccomp=unconfined runs without them.',
  },
  {
    calls: ['setresuid', 'setresgid', 'setgroups', 'setuid', 'setgid'],
    errno: 'EINVAL',
    hint: 'That id is not mapped in this user namespace.',
  },
  {
    calls: ['setrlimit', 'rlimit', 'prlimit'],
    errno: 'EPERM',
    hint: 'The hard limit cannot be raised here: tsbox lacks CAP_SYS_RESOURCE.',
  },
  {
    calls: ['connect'],
    errno: 'ECONNREFUSED',
    hint: 'Nobody listens there: the container has just ended, or the registry is not running.',
  },
  {
    errno: 'ENOSPC',
    hint: 'The disk of the data root is full (or its inodes are: "df -i"). Remove images and containers with "tsbox rm" and "tsbox rmi", or choose another --data-root.',
  },
  { errno: 'EDQUOT', hint: 'The disk quota is used up. Remove images and containers, or choose another --data-root.' },
  { errno: 'EMFILE', hint: 'This process may not open more files: raise the limit with "ulimit -n".' },
  { errno: 'ENFILE', hint: 'The system has no file handles left: see /proc/sys/fs/file-max.' },
  {
    errno: 'EROFS',
    hint: 'That file system is mounted read-only. Choose another --data-root or --run-root, or write elsewhere.',
  },
  {
    calls: ['fsetxattr', 'lsetxattr'],
    errno: 'EOPNOTSUPP',
    hint: 'That file system has no extended attributes, without which an overlay forgets what was deleted. Choose another --data-root: ext4, xfs, btrfs and tmpfs have them.',
  },
  {
    errno: 'ENOMEM',
    hint: 'The kernel has no memory left for this; see "free -m" and the memory limit of the cgroup.',
  },
  { errno: 'ENOSYS', hint: 'This kernel does not have that system call, or a seccomp filter hides it.' },
  { errno: 'EPERM', notRoot: true, hint: 'This needs root: run tsbox as root, for example with sudo.' },
  {
    errno: 'EACCES',
    notRoot: true,
    hint: 'This needs root: run tsbox as root, or choose --data-root and --run-root directories of your own.',
  },
];

/** @param uid of the caller */
export function hintFor(error: Error, uid: number): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const name = refusal(at);
    if (name === undefined) continue;
    const row = TABLE.find(
      ({ calls, errno, when, notRoot }) =>
        (errno === undefined || errno === name.errno) &&
        (calls === undefined || calls.includes(name.call)) &&
        (when === undefined || when.test(error.message)) &&
        (notRoot === undefined || uid !== 0),
    );
    if (row !== undefined) return row.hint;
  }
  return undefined;
}

function refusal(error: Error): { call: string; errno: string } | undefined {
  // Node has the program's name behind it: "spawnSync ps".
  const first = (call: string) => call.split(' ', 1)[0] ?? call;
  if (error instanceof SyscallError) return { call: first(error.syscall), errno: error.errnoName };
  const { syscall, code } = error as NodeJS.ErrnoException;
  return syscall !== undefined && code !== undefined && isErrno(error, code)
    ? { call: first(syscall), errno: code }
    : undefined;
}
