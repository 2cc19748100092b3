/**
 * System calls for a loop that makes a hundred thousand of them in a second: paths and buffers are addresses in memory that does not
 * move, and a refusal is a negative errno, not an exception. Everything else uses file.ts, stat.ts and xattr.ts.
 */
import { bind, lastErrno } from './ffi.ts';

/** Memory outside of the heap, and where it is. */
export interface Memory {
  bytes: Buffer;
  /** Address of the first byte. */
  address: number;
}

const memmove = bind('int64_t', 'memmove', ['void *', 'const void *', 'uint64_t']);
const kept: Buffer[] = [];

/** Memory that stays where it is until the process ends: an address alone is not seen by the garbage collector. @param size bytes */
export function allocate(size: number): Memory {
  const bytes = Buffer.from(new ArrayBuffer(size));
  kept.push(bytes);
  return { bytes, address: memmove(bytes, bytes, 0) };
}

/** A number of 64 bits that is no number in JavaScript is a bigint. */
type Call = (...args: (number | bigint)[]) => number;

function quick(result: 'int' | 'int64_t', name: string, count: number): Call {
  const native = bind(result, name, new Array<string>(count).fill('int64_t'));
  return (...args) => {
    const value = native(...args);
    return value === -1 ? -lastErrno() : value;
  };
}

const long = (name: string, count: number): Call => quick('int64_t', name, count);
/** Of one that returns an int, whose upper half nobody promises. */
const int = (name: string, count: number): Call => quick('int', name, count);

/** `renameat2` has no number that all architectures share. */
const SYS_RENAMEAT2 = process.arch === 'arm64' ? 276 : 316;
/** The same on all architectures, since Linux 6.13; no C library has a function for it yet. */
const SYS_GETXATTRAT = 464;
const syscall = long('syscall', 7);

/** The system calls, arguments as in the manual pages. Each returns what the call returns, or -errno. */
export const quickly = {
  read: long('read', 3),
  write: long('write', 3),
  pread: long('pread64', 4),
  pwrite: long('pwrite64', 4),
  openat: int('openat', 4),
  close: int('close', 1),
  dup3: int('dup3', 3),
  statx: int('statx', 5),
  getdents: long('getdents64', 3),
  readlinkat: long('readlinkat', 4),
  mkdirat: int('mkdirat', 3),
  mknodat: int('mknodat', 4),
  symlinkat: int('symlinkat', 3),
  linkat: int('linkat', 5),
  unlinkat: int('unlinkat', 3),
  /** @see renameat2(2) */
  renameat2: (fromFd: number, from: number, toFd: number, to: number, flags: number): number =>
    syscall(SYS_RENAMEAT2, fromFd, from, toFd, to, flags, 0),
  /** @param args `struct xattr_args`: address and size of the value, flags; 16 bytes @see getxattrat(2) */
  getxattrat: (fd: number, path: number, flags: number, name: number, args: number): number =>
    syscall(SYS_GETXATTRAT, fd, path, flags, name, args, 16),
  fchownat: int('fchownat', 5),
  chmod: int('chmod', 2),
  fchmodat: int('fchmodat', 4),
  fchmod: int('fchmod', 2),
  truncate: int('truncate64', 2),
  ftruncate: int('ftruncate64', 2),
  utimensat: int('utimensat', 4),
  fsync: int('fsync', 1),
  fdatasync: int('fdatasync', 1),
  fallocate: int('fallocate64', 4),
  lseek: long('lseek64', 3) as (fd: number, offset: number | bigint, whence: number) => number | bigint,
  copyFileRange: long('copy_file_range', 6),
  pipe2: int('pipe2', 2),
  fcntl: int('fcntl', 3),
  splice: long('splice', 6),
  vmsplice: long('vmsplice', 4),
  lgetxattr: long('lgetxattr', 4),
  lsetxattr: int('lsetxattr', 5),
  llistxattr: long('llistxattr', 3),
  lremovexattr: int('lremovexattr', 2),
  getxattr: long('getxattr', 4),
  setxattr: int('setxattr', 5),
  listxattr: long('listxattr', 3),
  removexattr: int('removexattr', 2),
  statfs: int('statfs64', 2),
  ioctl: int('ioctl', 3),
  poll: int('poll', 3),
  umask: int('umask', 1),
  nameToHandle: int('name_to_handle_at', 5),
} as const;
