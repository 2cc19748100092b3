/**
 * The kernel's FUSE protocol: numbers and where they lie in a message. All in the machine's own order, which is little-endian on what
 * tsbox runs on. @see include/uapi/linux/fuse.h, fuse(4)
 */

/** What is asked for. */
export const OP = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  IOCTL: 39,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
} as const;

export const MAJOR = 7;
/** What is written for; an older kernel says its own number and is answered with that. */
export const MINOR = 41;

/** What both sides can do, as bits of `flags` in INIT. */
export const CAN = {
  ASYNC_READ: 1 << 0,
  ATOMIC_O_TRUNC: 1 << 3,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  INIT_EXT: 1 << 30,
} as const;

/** The same in `flags2`. */
export const CAN_ALSO = { DIRECT_IO_ALLOW_MMAP: 1 << (36 - 32), PASSTHROUGH: 1 << (37 - 32) } as const;

/** `open_flags` of an answer to OPEN and CREATE. */
export const FOPEN = { DIRECT_IO: 1, KEEP_CACHE: 2, CACHE_DIR: 8, PASSTHROUGH: 128 } as const;

/** `valid` of SETATTR. */
export const FATTR = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 0x10,
  MTIME: 0x20,
  FH: 0x40,
  ATIME_NOW: 0x80,
  MTIME_NOW: 0x100,
  LOCKOWNER: 0x200,
  CTIME: 0x400,
  KILL_SUIDGID: 0x800,
} as const;

/** `write_flags` of WRITE: of what the kernel has kept; whose file it names is a guess. */
export const WRITE_CACHE = 1;
/** Clear set-user-ID and set-group-ID. */
export const WRITE_KILL_SUIDGID = 4;
/** `open_flags` of OPEN and CREATE: the same, where O_TRUNC is. */
export const OPEN_KILL_SUIDGID = 1;
/** `fsync_flags`: data only. */
export const FSYNC_DATA = 1;

/** Bytes in front of each message. */
export const IN_HEADER = 40;
export const OUT_HEADER = 16;
export const ENTRY_OUT = 128;
export const ATTR_OUT = 104;
/** Of `struct fuse_attr` in {@link ENTRY_OUT} and {@link ATTR_OUT}. */
export const ENTRY_ATTR = 40;
export const ATTR_ATTR = 16;
/** Of `struct fuse_dirent` before its name. */
export const DIRENT = 24;

/** The root's number. */
export const ROOT = 1;

/** A device number as the protocol has it. @see new_encode_dev in the kernel */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function decodeDevice(encoded: number): { major: number; minor: number } {
  return { major: (encoded & 0xfff00) >>> 8, minor: (encoded & 0xff) | ((encoded >>> 12) & 0xfff00) };
}
