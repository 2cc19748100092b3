/**
 * Open files. A handle's number is its descriptor here. All who only read a file share one, and it stays for a while after the last of
 * them: most files that are opened are opened again.
 *
 * Where the kernel can, it reads and writes a file by itself (passthrough.ts). All who have a file open at a time do it that way, or
 * nobody does. So it is for files that stay where they are: of a lower one there would be two when somebody writes to it.
 */
import { AT_FDCWD, OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { putU32, putU64 } from './exchange.ts';
import { forgetCapability } from './late-writes.ts';
import { noteMappable } from './mappable.ts';
import { pathOf } from './memory.ts';
import { attributesChanged } from './notify.ts';
import { isPassthroughUsed, lendFile, takeBack } from './passthrough.ts';
import { FOPEN } from './protocol.ts';
import { isUpper, isWritable, realOf, type Union } from './union.ts';
import { flagsToOpen } from './writeback.ts';

interface OpenFile {
  /** How often it is open. */
  users: number;
  /** And by others than those who only read. */
  writers: number;
  /** The descriptor of all who only read; -1 when nobody did. */
  reader: number;
  /** Its number for the kernel, who reads and writes by itself; 0 where that asks us. */
  lent: number;
}

/** By node. */
const files = new Map<number, OpenFile>();
/** Those that nobody has open, the one that is longest so first. */
const idle = new Set<number>();

/** Opens the node's file. @returns a descriptor, -errno */
export function openReal(union: Union, node: number, flags: number): number {
  const { fd, name, text } = realOf(union, node);
  if (fd < 0) return fd;
  if (text !== '') return quickly.openat(fd, name, flags | OPEN.NOFOLLOW | OPEN.CLOEXEC, 0);
  return quickly.openat(AT_FDCWD, pathOf(fd), flags | OPEN.CLOEXEC, 0);
}

/** Opens a file for a client, and writes `struct fuse_open_out`. @returns its end, or -errno */
export function openFor(union: Union, node: number, flags: number): number {
  const reader = flags === OPEN.RDONLY ? (files.get(node)?.reader ?? -1) : -1;
  if (reader >= 0) return putOpen(union, node, reader, flags);
  const fd = openReal(union, node, flagsToOpen(flags));
  if (fd >= 0) return putOpen(union, node, fd, flags);
  return fd === E.ACCES && flagsToOpen(flags) !== flags ? openUnread(union, node, flags) : fd;
}

/** A file that may be written to and not be read: what is written there the kernel keeps none of. */
function openUnread(union: Union, node: number, flags: number): number {
  const fd = openReal(union, node, flags);
  if (fd < 0) return fd;
  const end = putOpen(union, node, fd, flags);
  putU32(8, FOPEN.DIRECT_IO);
  return end;
}

/** Notes that a client has the file open, and writes `struct fuse_open_out`. @param at where it begins @returns its end */
export function putOpen(union: Union, node: number, fd: number, flags: number, at = 0): number {
  const file = files.get(node) ?? { users: 0, writers: 0, reader: -1, lent: 0 };
  files.set(node, file);
  idle.delete(node);
  if (flags === OPEN.RDONLY) file.reader = fd;
  else file.writers++;
  if (file.users++ === 0 && file.lent === 0 && staysWhereItIs(union, node)) file.lent = lendFile(fd);
  // What is made just now is answered with an entry, which says the same.
  if (file.lent > 0 && isToReadAndWrite(flags) && noteMappable(node) && at === 0) attributesChanged(union, node);
  putU64(at, fd);
  putU32(at + 8, file.lent > 0 ? FOPEN.PASSTHROUGH : cacheFlags(union, node));
  putU32(at + 12, file.lent);
  return at + 16;
}

const isToReadAndWrite = (flags: number): boolean => (flags & 3) === OPEN.RDWR;

const staysWhereItIs = (union: Union, node: number): boolean => isUpper(union, node) || !isWritable(union);

/** What the kernel has of a file stays good, for only it changes files; but for what it has written past its cache. */
function cacheFlags(union: Union, node: number): number {
  return isPassthroughUsed() && staysWhereItIs(union, node) ? 0 : FOPEN.KEEP_CACHE;
}

/** A client has closed it. @returns 0 or -errno */
export function closeFor(union: Union, node: number, fd: number): number {
  const file = files.get(node);
  const isReader = fd === file?.reader;
  const error = isReader ? 0 : quickly.close(fd);
  if (file === undefined) return error;
  if (!isReader && --file.writers === 0) forgetCapability(node);
  if (--file.users > 0) return error;
  if (file.reader < 0) end(node, file);
  else {
    idle.add(node);
    if (idle.size > union.mostIdle) closeIdle(idle.values().next().value!);
  }
  return error;
}

/** May somebody write to it, or have written what the kernel still keeps? */
export const isOpenToWrite = (node: number): boolean => (files.get(node)?.writers ?? 0) > 0;

function end(node: number, { reader, lent }: OpenFile): void {
  files.delete(node);
  idle.delete(node);
  if (lent > 0) takeBack(lent);
  if (reader >= 0) quickly.close(reader);
}

/** Keeps nothing open of a file that nobody has open. */
export function closeIdle(node: number): void {
  if (idle.has(node)) end(node, files.get(node)!);
}

/** The node has just been copied up: whoever has it open reads the copy from now on, for the kernel keeps one cache for all. */
export function switchToUpper(union: Union, node: number): void {
  closeIdle(node);
  const file = files.get(node);
  if (file === undefined || file.reader < 0) return;
  const copy = openReal(union, node, OPEN.RDONLY);
  if (copy < 0) return;
  quickly.dup3(copy, file.reader, OPEN.CLOEXEC);
  quickly.close(copy);
}
