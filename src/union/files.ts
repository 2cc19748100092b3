/** OPEN to RELEASE: what is done with an open file. */
import { OPEN } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { killPrivileges, killUnlessRoot } from './attributes.ts';
import { copyUp } from './copy-up.ts';
import { E } from './errno.ts';
import {
  ANSWER,
  addressOf,
  answerWhenIdle,
  exact64,
  MOST_DATA,
  putSize,
  putU32,
  putU64,
  requestNode,
  u32,
  u64,
} from './exchange.ts';
import { isExecuted, noteOpened, noteReleased } from './executed.ts';
import { closeFor, isOpenToWrite, openFor, openReal } from './handles.ts';
import { writeLate } from './late-writes.ts';
import { openToRead } from './names.ts';
import { FSYNC_DATA, OPEN_KILL_SUIDGID, ROOT, WRITE_CACHE, WRITE_KILL_SUIDGID } from './protocol.ts';
import { spliceRead } from './splice.ts';
import { directoryFd, isDirectory, isUpper, topOf, type Union } from './union.ts';
import { ACCESS, isWritebackUsed } from './writeback.ts';

export const O_SYNC = 0o4010000;
/** What is asked of the file itself. The kernel knows where to append, and what it gives is in no shape for O_DIRECT. */
const KEPT = ACCESS | OPEN.TRUNC | O_SYNC;

/** `struct fuse_open_in`: flags, open_flags. */
export function open(union: Union): number {
  const node = requestNode();
  const flags = u32(0);
  const changes = (flags & ACCESS) !== OPEN.RDONLY || (flags & OPEN.TRUNC) !== 0;
  if (changes) {
    if ((flags & ACCESS) === OPEN.RDONLY && isExecuted(node)) return E.TXTBSY;
    const error = copyUp(union, node, (flags & OPEN.TRUNC) !== 0);
    if (error < 0) return error;
  }
  const opened = openFor(union, node, flags & KEPT);
  if (opened >= 0) noteOpened(node, flags);
  if (opened >= 0 && flags & OPEN.TRUNC && u32(4) & OPEN_KILL_SUIDGID) killPrivileges(union, node);
  return opened;
}

/** `struct fuse_read_in`: fh, offset, size. */
export function read({ device }: Union): number {
  const size = Math.min(u32(16), MOST_DATA);
  return spliceRead(device, u32(0), u32(8), u32(12), size) ?? quickly.pread(u32(0), ANSWER, size, exact64(8));
}

/** `struct fuse_write_in`: fh, offset, size, write_flags; the data behind it. */
const WRITE_BYTES = 40;

export function write(union: Union): number {
  if (u32(20) & WRITE_KILL_SUIDGID) {
    const error = killPrivileges(union, requestNode());
    if (error < 0) return error;
  }
  const isLate = (u32(20) & WRITE_CACHE) !== 0;
  const written = isLate ? writeLate(requestNode(), u32(0), writeData) : writeData();
  if (written < 0) return written;
  return putSize(written);
}

const writeData = (): number => quickly.pwrite(u32(0), addressOf(WRITE_BYTES), u32(16), exact64(8));

/** `struct fuse_release_in`: fh, flags. */
export function release(union: Union): number {
  noteReleased(requestNode(), u32(8));
  return Math.min(closeFor(union, requestNode(), u32(0)), 0);
}

export function fsync(): number {
  return u32(8) & FSYNC_DATA ? quickly.fdatasync(u32(0)) : quickly.fsync(u32(0));
}

/** `struct fuse_fallocate_in`: fh, offset, length, mode. */
export function fallocate(union: Union): number {
  const error = killUnlessRoot(union, requestNode());
  if (error < 0) return error;
  return quickly.fallocate(u32(0), u32(24), exact64(8), exact64(16));
}

/** `struct fuse_lseek_in`: fh, offset, whence. What is data and what a hole nobody knows here while the kernel may keep writes to the file: a
 *  wrong answer would be a copy without them. Programs take EINVAL for a file system that does not know holes. */
export function lseek(): number {
  if (isWritebackUsed() && isOpenToWrite(requestNode())) return E.INVAL;
  const offset = quickly.lseek(u32(0), exact64(8), u32(16));
  if (offset < 0) return Number(offset);
  putU64(0, offset);
  return 8;
}

const offsets = allocate(16);

/** `struct fuse_copy_file_range_in`: fh_in, off_in, nodeid_out, fh_out, off_out, len, flags. */
export function copyFileRange(union: Union): number {
  const error = killUnlessRoot(union, u64(16));
  if (error < 0) return error;
  for (const [index, at] of [8, 12, 32, 36].entries()) offsets.bytes.writeUInt32LE(u32(at), index * 4);
  const length = Math.min(u64(40), 0x7ffff000);
  const { address } = offsets;
  const copied = quickly.copyFileRange(u32(0), address, u32(24), address + 8, length, 0);
  if (copied < 0) return copied;
  return putSize(copied);
}

/** File flags, as chattr(1) sets them: sizes of the arguments. Flags are four bytes, whatever the number says. @see ioctl_iflags(2) */
const IOCTLS: Readonly<Record<number, { size: number; sets: boolean }>> = {
  2148034049: { size: 4, sets: false }, // FS_IOC_GETFLAGS
  1074292226: { size: 4, sets: true }, // FS_IOC_SETFLAGS
  2149341215: { size: 28, sets: false }, // FS_IOC_FSGETXATTR
  1075599392: { size: 28, sets: true }, // FS_IOC_FSSETXATTR
};
/** `struct fuse_ioctl_in`, `struct fuse_ioctl_out`. */
const IOCTL = { CMD: 12, IN: 32, OUT: 16 } as const;

export function ioctl(union: Union): number {
  const cmd = u32(IOCTL.CMD);
  const node = requestNode();
  const known = IOCTLS[cmd];
  if (known === undefined) return E.NOTTY;
  const { size, sets } = known;
  if (sets) {
    const error = copyUp(union, node);
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
  return fd < 0 ? fd : openToRead(fd);
}

/** `struct fuse_fsync_in` of a directory. That of the root is answered when all is written that the kernel has sent before: after a syncfs(2)
 *  the layers have what it has kept. */
export function fsyncDirectory(union: Union): number {
  const error = syncDirectory(union);
  return requestNode() === ROOT ? answerWhenIdle(error) : error;
}

function syncDirectory(union: Union): number {
  if (!isUpper(union, requestNode())) return 0;
  const fd = openDirectoryToRead(union, requestNode());
  if (fd < 0) return fd;
  const error = u32(8) & FSYNC_DATA ? quickly.fdatasync(fd) : quickly.fsync(fd);
  quickly.close(fd);
  return error;
}
