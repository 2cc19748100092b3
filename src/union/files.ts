/** OPEN to RELEASE: what is done with an open file. */
import { AT_FDCWD, OPEN } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { killPrivileges, killUnlessRoot } from './attributes.ts';
import { copyUp } from './copy-up.ts';
import { E } from './errno.ts';
import { ANSWER, addressOf, MOST_DATA, putU32, putU64, requestNode, u32, u64 } from './exchange.ts';
import { forgetLower, noteLower, switchToUpper } from './handles.ts';
import { pathOf } from './memory.ts';
import { FOPEN, FSYNC_DATA, OPEN_KILL_SUIDGID, WRITE_KILL_SUIDGID } from './protocol.ts';
import { directoryFd, isDirectory, isUpper, realOf, topOf, type Union } from './union.ts';

const ACCESS = 3;
const O_SYNC = 0o4010000;
/** What is asked of the file itself. The kernel knows where to append, and what it gives is in no shape for O_DIRECT. */
const KEPT = ACCESS | OPEN.TRUNC | O_SYNC;

/** `struct fuse_open_in`: flags, open_flags. */
export function open(union: Union): number {
  const node = requestNode();
  const flags = u32(0);
  const changes = (flags & ACCESS) !== OPEN.RDONLY || (flags & OPEN.TRUNC) !== 0;
  if (changes) {
    const error = copyUp(union, node, (copy) => switchToUpper(union, copy), (flags & OPEN.TRUNC) !== 0);
    if (error < 0) return error;
  }
  const fd = openReal(union, node, flags & KEPT);
  if (fd < 0) return fd;
  if (!isUpper(union, node)) noteLower(node, fd);
  if (flags & OPEN.TRUNC && u32(4) & OPEN_KILL_SUIDGID) killPrivileges(union, node);
  return putOpen(fd);
}

export function openReal(union: Union, node: number, flags: number): number {
  const { fd, name, text } = realOf(union, node);
  if (fd < 0) return fd;
  if (text !== '') return quickly.openat(fd, name, flags | OPEN.NOFOLLOW | OPEN.CLOEXEC, 0);
  return quickly.openat(AT_FDCWD, pathOf(fd), flags | OPEN.CLOEXEC, 0);
}

/** `struct fuse_open_out`. What the kernel has of the file stays good: only it changes files. */
export function putOpen(fd: number, at = 0): number {
  putU64(at, fd);
  putU32(at + 8, FOPEN.KEEP_CACHE);
  putU32(at + 12, 0);
  return at + 16;
}

/** `struct fuse_read_in`: fh, offset, size. */
export function read(): number {
  return quickly.pread(u32(0), ANSWER, Math.min(u32(16), MOST_DATA), u64(8));
}

/** `struct fuse_write_in`: fh, offset, size, write_flags; the data behind it. */
const WRITE_BYTES = 40;

export function write(union: Union): number {
  if (u32(20) & WRITE_KILL_SUIDGID) {
    const error = killPrivileges(union, requestNode());
    if (error < 0) return error;
  }
  const written = quickly.pwrite(u32(0), addressOf(WRITE_BYTES), u32(16), u64(8));
  if (written < 0) return written;
  putU32(0, written);
  putU32(4, 0);
  return 8;
}

export function release(): number {
  const fd = u32(0);
  forgetLower(requestNode(), fd);
  return Math.min(quickly.close(fd), 0);
}

export function fsync(): number {
  return u32(8) & FSYNC_DATA ? quickly.fdatasync(u32(0)) : quickly.fsync(u32(0));
}

/** `struct fuse_fallocate_in`: fh, offset, length, mode. */
export function fallocate(union: Union): number {
  const error = killUnlessRoot(union, requestNode());
  if (error < 0) return error;
  return quickly.fallocate(u32(0), u32(24), u64(8), u64(16));
}

/** `struct fuse_lseek_in`: fh, offset, whence. */
export function lseek(): number {
  const offset = quickly.lseek(u32(0), u64(8), u32(16));
  if (offset < 0) return offset;
  putU64(0, offset);
  return 8;
}

const offsets = allocate(16);

/** `struct fuse_copy_file_range_in`: fh_in, off_in, nodeid_out, fh_out, off_out, len, flags. */
export function copyFileRange(union: Union): number {
  const error = killUnlessRoot(union, u64(16));
  if (error < 0) return error;
  offsets.bytes.writeBigInt64LE(BigInt(u64(8)), 0);
  offsets.bytes.writeBigInt64LE(BigInt(u64(32)), 8);
  const length = Math.min(u64(40), 0x7ffff000);
  const { address } = offsets;
  const copied = quickly.copyFileRange(u32(0), address, u32(24), address + 8, length, 0);
  if (copied < 0) return copied;
  putU32(0, copied);
  putU32(4, 0);
  return 8;
}

/** File flags, as chattr(1) sets them. @see ioctl_iflags(2) */
const FS_IOC = { GETFLAGS: 0x80086601, SETFLAGS: 0x40086602, FSGETXATTR: 0x801c581f, FSSETXATTR: 0x401c5820 } as const;
/** Sizes of their arguments: flags are four bytes, whatever the number says. */
const FLAGS = 4;
const FSXATTR = 28;
/** `struct fuse_ioctl_in`, `struct fuse_ioctl_out`. */
const IOCTL = { CMD: 12, IN: 32, OUT: 16 } as const;

export function ioctl(union: Union): number {
  const cmd = u32(IOCTL.CMD);
  const node = requestNode();
  const [size, sets] =
    cmd === FS_IOC.GETFLAGS || cmd === FS_IOC.SETFLAGS
      ? [FLAGS, cmd === FS_IOC.SETFLAGS]
      : cmd === FS_IOC.FSGETXATTR || cmd === FS_IOC.FSSETXATTR
        ? [FSXATTR, cmd === FS_IOC.FSSETXATTR]
        : [0, false];
  if (size === 0) return E.NOTTY;
  if (sets) {
    const error = copyUp(union, node, (copy) => switchToUpper(union, copy));
    if (error < 0) return error;
  }
  const fd = isDirectory(union, node)
    ? openDirectoryToRead(union, node)
    : openReal(union, node, OPEN.RDONLY | OPEN.NONBLOCK);
  if (fd < 0) return fd;
  const result = quickly.ioctl(fd, cmd, sets ? addressOf(IOCTL.IN) : ANSWER + IOCTL.OUT);
  quickly.close(fd);
  if (result < 0) return result;
  for (let at = 0; at < IOCTL.OUT; at += 4) putU32(at, 0);
  return IOCTL.OUT + (sets ? 0 : size);
}

function openDirectoryToRead(union: Union, node: number): number {
  const fd = directoryFd(union, node, topOf(union, node));
  return fd < 0 ? fd : quickly.openat(AT_FDCWD, pathOf(fd), OPEN.RDONLY | OPEN.DIRECTORY | OPEN.CLOEXEC, 0);
}

/** `struct fuse_fsync_in` of a directory. */
export function fsyncDirectory(union: Union): number {
  if (!isUpper(union, requestNode())) return 0;
  const fd = openDirectoryToRead(union, requestNode());
  if (fd < 0) return fd;
  const error = u32(8) & FSYNC_DATA ? quickly.fdatasync(fd) : quickly.fsync(fd);
  quickly.close(fd);
  return error;
}
