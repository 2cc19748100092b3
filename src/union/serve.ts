/** The loop: a request from /dev/fuse, its answer to it. */
import { isHostRoot } from '../sys/own-ids.ts';
import { quickly } from '../sys/quick.ts';
import { getattr, readlink, setattr, statfs } from './attributes.ts';
import { createFile, link, mkdir, mknod, symlink, tmpfile } from './create.ts';
import { opendir, readdir, refuseOpendir } from './directory.ts';
import { E } from './errno.ts';
import {
  answer,
  answerWaiting,
  input,
  NO_ANSWER,
  nameAt,
  nameHash,
  nameLength,
  putEntry,
  putNothing,
  putU32,
  requestNode,
  requestOp,
  u32,
  u64,
} from './exchange.ts';
import { tellFailure } from './failures.ts';
import { copyFileRange, fallocate, fsync, fsyncDirectory, ioctl, lseek, open, read, release, write } from './files.ts';
import { closeIdle } from './handles.ts';
import { forgetListing } from './listing.ts';
import { isNowhere, lookup } from './lookup.ts';
import { forgetMappable } from './mappable.ts';
import { forgetImpure } from './marks.ts';
import { usePassthrough } from './passthrough.ts';
import { CAN, CAN_ALSO, IN_HEADER, MAJOR, MINOR, OP } from './protocol.ts';
import { rmdir, unlink } from './remove.ts';
import { rename, rename2 } from './rename.ts';
import { forget, isWritable, type Union } from './union.ts';
import { useWriteback } from './writeback.ts';
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.ts';

type Handler = (union: Union) => number;

function lookupName(union: Union): number {
  if (isNowhere(union, requestNode(), nameHash(), nameLength())) return putNothing();
  const node = lookup(union, requestNode(), nameAt(0));
  if (node === E.NOENT) return putNothing();
  return node < 0 ? node : putEntry(union, node);
}

function forgetNode(union: Union, node: number, times: number): void {
  if (!forget(union, node, times)) return;
  closeIdle(node);
  forgetListing(node);
  forgetImpure(node);
  forgetMappable(node);
}

function forgetOne(union: Union): number {
  forgetNode(union, requestNode(), u64(0));
  return NO_ANSWER;
}

/** `struct fuse_batch_forget_in`: count; then node and times of each. */
function batchForget(union: Union): number {
  const count = u32(0);
  const words = new DataView(input.bytes.buffer);
  for (let index = 0; index < count; index++) {
    const at = IN_HEADER + 8 + index * 16;
    forgetNode(union, words.getUint32(at, true), words.getUint32(at + 8, true));
  }
  return NO_ANSWER;
}

const WANTED =
  CAN.ASYNC_READ |
  CAN.ATOMIC_O_TRUNC |
  CAN.BIG_WRITES |
  CAN.DONT_MASK |
  CAN.DO_READDIRPLUS |
  CAN.READDIRPLUS_AUTO |
  CAN.ASYNC_DIO |
  CAN.PARALLEL_DIROPS |
  CAN.POSIX_ACL |
  CAN.MAX_PAGES |
  CAN.CACHE_SYMLINKS |
  CAN.HANDLE_KILLPRIV_V2 |
  CAN.SETXATTR_EXT |
  CAN.INIT_EXT;

const MOST_PAGES = 256;
const INIT_OUT = 64;

/** `struct fuse_init_in`: major, minor, max_readahead, flags, flags2. */
function init(union: Union): number {
  const [major, minor, readahead, flags] = [u32(0), u32(4), u32(8), u32(12)];
  for (let at = 0; at < INIT_OUT; at += 4) putU32(at, 0);
  putU32(0, MAJOR);
  putU32(4, Math.min(minor, MINOR));
  if (major > MAJOR) return INIT_OUT; // it asks again with ours
  putU32(8, readahead);
  putU32(16, 64 | (48 << 16)); // max_background, congestion_threshold
  putU32(20, MOST_PAGES * 0x1000);
  putU32(24, 1); // nanoseconds
  putU32(28, MOST_PAGES);
  if (flags & CAN.NO_OPENDIR_SUPPORT) refuseOpendir();
  const way = wayOfWrites(union, flags, flags & CAN.INIT_EXT ? u32(16) : 0);
  putU32(12, (flags & (way === 'writeback' ? WANTED | CAN.WRITEBACK_CACHE : WANTED)) >>> 0);
  if (way === 'passthrough') {
    putU32(32, CAN_ALSO.PASSTHROUGH);
    putU32(36, 1); // layers are on no stacked file system: so one overlay can be mounted over this
    usePassthrough(union.device);
  } else if (way === 'writeback') useWriteback();
  return INIT_OUT;
}

/** The kernel takes a file for passthrough from real root only, and none of an overlay; and never does both. */
function wayOfWrites(union: Union, flags: number, flags2: number): 'passthrough' | 'writeback' | 'at once' {
  const { whiteouts, writeback } = union;
  const isOnOverlay = whiteouts === 'file';
  if (!writeback && flags2 & CAN_ALSO.PASSTHROUGH && isHostRoot() && !isOnOverlay) return 'passthrough';
  return flags & CAN.WRITEBACK_CACHE && isWritable(union) ? 'writeback' : 'at once';
}

const HANDLERS: Readonly<Record<number, Handler>> = {
  [OP.LOOKUP]: lookupName,
  [OP.FORGET]: forgetOne,
  [OP.BATCH_FORGET]: batchForget,
  [OP.GETATTR]: getattr,
  [OP.SETATTR]: setattr,
  [OP.READLINK]: readlink,
  [OP.SYMLINK]: symlink,
  [OP.MKNOD]: mknod,
  [OP.MKDIR]: mkdir,
  [OP.UNLINK]: unlink,
  [OP.RMDIR]: rmdir,
  [OP.RENAME]: rename,
  [OP.RENAME2]: rename2,
  [OP.LINK]: link,
  [OP.OPEN]: open,
  [OP.READ]: read,
  [OP.WRITE]: write,
  [OP.STATFS]: statfs,
  [OP.RELEASE]: release,
  [OP.FSYNC]: fsync,
  [OP.SETXATTR]: setxattr,
  [OP.GETXATTR]: getxattr,
  [OP.LISTXATTR]: listxattr,
  [OP.REMOVEXATTR]: removexattr,
  [OP.INIT]: init,
  [OP.OPENDIR]: opendir,
  [OP.READDIR]: (union) => readdir(union, false),
  [OP.READDIRPLUS]: (union) => readdir(union, true),
  [OP.RELEASEDIR]: () => 0,
  [OP.FSYNCDIR]: fsyncDirectory,
  [OP.CREATE]: createFile,
  [OP.TMPFILE]: tmpfile,
  [OP.INTERRUPT]: () => NO_ANSWER, // what it is about has been answered by now
  [OP.DESTROY]: () => 0,
  [OP.IOCTL]: ioctl,
  [OP.FALLOCATE]: fallocate,
  [OP.LSEEK]: lseek,
  [OP.COPY_FILE_RANGE]: copyFileRange,
};

const handlers: (Handler | undefined)[] = [];
for (const [op, handler] of Object.entries(HANDLERS)) handlers[Number(op)] = handler;

/** Nothing can be served any more. */
class DeviceError extends Error {}

/** Answers one request. @returns false when the file system is unmounted @throws DeviceError; else what a handler throws, unanswered */
export function serveOne(union: Union): boolean {
  const { device } = union;
  answerWaiting(device);
  const length = quickly.read(device, input.address, input.bytes.length);
  if (length < 0) {
    if (length === E.NODEV) return false;
    // A request that was taken back meanwhile, or a signal.
    if (length === E.NOENT || length === E.INTR || length === E.AGAIN) return true;
    throw new DeviceError(`read /dev/fuse: errno ${-length}`);
  }
  union.directories.trim();
  const handler = handlers[requestOp()];
  const result = handler === undefined ? E.NOSYS : handler(union);
  if (result !== NO_ANSWER) answer(device, result);
  return true;
}

/** Answers requests until the file system is unmounted. What nobody expected of one ends that one, with EIO, and not the files of all.
 *  @throws DeviceError */
export function serve(union: Union): void {
  for (;;) {
    try {
      while (serveOne(union));
      return;
    } catch (error) {
      if (error instanceof DeviceError) throw error;
      answer(union.device, E.IO);
      tellFailure(union, requestOp(), error);
    }
  }
}
