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

/** Memory that stays where it is for as long as it is referred to. @param size bytes */
export function allocate(size: number): Memory {
  const bytes = Buffer.from(new ArrayBuffer(size));
  return { bytes, address: memmove(bytes, bytes, 0) };
}

const I = 'int64_t';
const call = (name: string, count: number) => bind(I, name, new Array<string>(count).fill(I));
/** These return an int, whose upper half nobody promises. */
const callInt = (name: string, count: number) => bind('int', name, new Array<string>(count).fill(I));

const native = {
  read: call('read', 3),
  write: call('write', 3),
  pread: call('pread64', 4),
  pwrite: call('pwrite64', 4),
  openat: callInt('openat', 4),
  close: callInt('close', 1),
  dup3: callInt('dup3', 3),
  statx: callInt('statx', 5),
  getdents: call('getdents64', 3),
  readlinkat: call('readlinkat', 4),
  mkdirat: callInt('mkdirat', 3),
  mknodat: callInt('mknodat', 4),
  symlinkat: callInt('symlinkat', 3),
  linkat: callInt('linkat', 5),
  unlinkat: callInt('unlinkat', 3),
  syscall: call('syscall', 6),
  fchownat: callInt('fchownat', 5),
  chmod: callInt('chmod', 2),
  fchmod: callInt('fchmod', 2),
  truncate: callInt('truncate64', 2),
  ftruncate: callInt('ftruncate64', 2),
  utimensat: callInt('utimensat', 4),
  fsync: callInt('fsync', 1),
  fdatasync: callInt('fdatasync', 1),
  fallocate: callInt('fallocate64', 4),
  lseek: call('lseek64', 3),
  copyFileRange: call('copy_file_range', 6),
  lgetxattr: call('lgetxattr', 4),
  lsetxattr: callInt('lsetxattr', 5),
  llistxattr: call('llistxattr', 3),
  lremovexattr: callInt('lremovexattr', 2),
  getxattr: call('getxattr', 4),
  setxattr: callInt('setxattr', 5),
  listxattr: call('listxattr', 3),
  removexattr: callInt('removexattr', 2),
  statfs: callInt('statfs64', 2),
  ioctl: callInt('ioctl', 3),
  umask: callInt('umask', 1),
  nameToHandle: callInt('name_to_handle_at', 5),
};

type Call = (...args: number[]) => number;

function quick(name: keyof typeof native): Call {
  const f = native[name];
  return (...args) => {
    const result = f(...args);
    return result === -1 ? -lastErrno() : result;
  };
}

/** `renameat2` has no number that all architectures share. */
const SYS_RENAMEAT2 = process.arch === 'arm64' ? 276 : 316;

/** The system calls, arguments as in the manual pages. Each returns what the call returns, or -errno. */
export const quickly = {
  read: quick('read'),
  write: quick('write'),
  pread: quick('pread'),
  pwrite: quick('pwrite'),
  openat: quick('openat'),
  close: quick('close'),
  dup3: quick('dup3'),
  statx: quick('statx'),
  getdents: quick('getdents'),
  readlinkat: quick('readlinkat'),
  mkdirat: quick('mkdirat'),
  mknodat: quick('mknodat'),
  symlinkat: quick('symlinkat'),
  linkat: quick('linkat'),
  unlinkat: quick('unlinkat'),
  fchownat: quick('fchownat'),
  chmod: quick('chmod'),
  fchmod: quick('fchmod'),
  truncate: quick('truncate'),
  ftruncate: quick('ftruncate'),
  utimensat: quick('utimensat'),
  fsync: quick('fsync'),
  fdatasync: quick('fdatasync'),
  fallocate: quick('fallocate'),
  lseek: quick('lseek'),
  copyFileRange: quick('copyFileRange'),
  lgetxattr: quick('lgetxattr'),
  lsetxattr: quick('lsetxattr'),
  llistxattr: quick('llistxattr'),
  lremovexattr: quick('lremovexattr'),
  getxattr: quick('getxattr'),
  setxattr: quick('setxattr'),
  listxattr: quick('listxattr'),
  removexattr: quick('removexattr'),
  statfs: quick('statfs'),
  ioctl: quick('ioctl'),
  umask: quick('umask'),
  nameToHandle: quick('nameToHandle'),
  /** @see renameat2(2) */
  renameat2(fromFd: number, from: number, toFd: number, to: number, flags: number): number {
    const result = native.syscall(SYS_RENAMEAT2, fromFd, from, toFd, to, flags);
    return result === -1 ? -lastErrno() : result;
  },
} as const;
