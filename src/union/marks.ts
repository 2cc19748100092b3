/**
 * What overlayfs writes beside files, and the union too, so that one can go on where the other stopped: attributes of its own.
 * @see Documentation/filesystems/overlayfs.rst
 */
import { AT_EMPTY_PATH } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { buffer, EMPTY, pathOf } from './memory.ts';
import { openToRead } from './names.ts';
import { MOST_VALUE, raw } from './raw-xattrs.ts';
import type { Union } from './union.ts';

/** As long as a mark usually is, bytes: the kernel clears as much memory as it is offered. Redirects may be longer. */
const USUAL_VALUE = 256;

/** A value of the union's own attributes, undefined without one. @param text as {@link raw} has it */
function markOf(union: Union, fd: number, text: string, name: string): Buffer | undefined {
  let length = raw.get(fd, text, union.prefix + name, buffer.address, USUAL_VALUE);
  if (length === E.RANGE) length = raw.get(fd, text, union.prefix + name, buffer.address, MOST_VALUE);
  return length < 0 ? undefined : buffer.bytes.subarray(0, length);
}

function setMark(union: Union, fd: number, text: string, name: string, value: Buffer): number {
  value.copy(buffer.bytes);
  return raw.set(fd, text, union.prefix + name, buffer.address, value.length);
}

const YES = Buffer.from('y');

/** Does the directory hide what lies below it? */
export function isOpaque(union: Union, fd: number, name: string): boolean {
  const value = markOf(union, fd, name, 'opaque');
  return value?.length === 1 && value[0] === YES[0];
}

const HAS_WHITEOUT_FILES = Buffer.from('x');

/** Has the directory empty files that hide names? Only of such a one the kernel asks each when it lists it. */
export function hasWhiteoutFiles(union: Union, fd: number, name: string): boolean {
  const value = markOf(union, fd, name, 'opaque');
  return value?.length === 1 && value[0] === HAS_WHITEOUT_FILES[0];
}

/** @returns 0 or -errno */
export const setHasWhiteoutFiles = (union: Union, fd: number): number =>
  setMark(union, fd, '', 'opaque', HAS_WHITEOUT_FILES);

/** Does the file hide its name? What it says does not matter; {@link buffer} stays as it is. */
export const isMarkedWhiteout = (union: Union, fd: number, name: string): boolean =>
  raw.get(fd, name, `${union.prefix}whiteout`, buffer.address, 0) >= 0;

/** @returns 0 or -errno */
export const setMarkedWhiteout = (union: Union, fd: number, name: string): number =>
  setMark(union, fd, name, 'whiteout', YES);

/** @returns 0 or -errno */
export const setOpaque = (union: Union, fd: number, name: string): number => setMark(union, fd, name, 'opaque', YES);

/** By node: is the upper directory impure? Asked once, for each of its files is concerned. */
const impure = new Map<number, boolean>();

/** Has the upper directory, or had it, files that may have their inode numbers from below? Of one that has none no file need be asked. */
export function isImpure(union: Union, node: number, fd: number): boolean {
  const known = impure.get(node);
  if (known !== undefined) return known;
  const found = markOf(union, fd, '', 'impure') !== undefined;
  impure.set(node, found);
  return found;
}

/** Before a file comes into the upper directory that may have its inode number from below. */
export function setImpure(union: Union, node: number, fd: number): void {
  if (isImpure(union, node, fd)) return;
  if (setMark(union, fd, '', 'impure', YES) === 0) impure.set(node, true);
}

/** The kernel has forgotten the directory. */
export function forgetImpure(node: number): void {
  impure.delete(node);
}

/** Where a directory lies in the layers below: a path from their roots, or another name in the same directory. */
export const redirectOf = (union: Union, fd: number, name: string): string | undefined =>
  markOf(union, fd, name, 'redirect')?.toString('latin1');

/** Has the file its data in a layer below? Mounts with `metacopy=on` make such ones. */
export const isMetacopy = (union: Union, fd: number, name: string): boolean =>
  markOf(union, fd, name, 'metacopy') !== undefined;

/** `struct ovl_fb`: version, magic, length, flags, type, the file system's UUID, the file handle. */
const ORIGIN = { VERSION: 0, MAGIC: 1, LENGTH: 2, FLAGS: 3, TYPE: 4, UUID: 5, HANDLE: 21 } as const;
const OVL_FH_MAGIC = 0xfb;
/** `struct file_handle`: the room for the handle, its type, the handle. */
const HANDLE_HEADER = 8;
const MOST_HANDLE = 128;

const handle = allocate(HANDLE_HEADER + MOST_HANDLE);
const mountId = allocate(8);

const FS_IOC_GETFSUUID = 0x80111500;
/** btrfs does not answer the other one. */
const BTRFS_IOC_FS_INFO = 0x8400941f;

/** The UUID of the file system of a layer; zeros where the kernel does not say it (before 6.9, of btrfs it always does): then overlayfs takes no
 *  origin for its own, and shows the numbers of the copies. @param directory a descriptor, O_PATH */
export function uuidOf(directory: number): Buffer {
  const uuid = Buffer.alloc(ORIGIN.HANDLE - ORIGIN.UUID);
  const fd = openToRead(directory);
  // `struct fsuuid2`: length, UUID.
  if (fd >= 0 && quickly.ioctl(fd, FS_IOC_GETFSUUID, buffer.address) === 0 && buffer.bytes[0] === uuid.length) {
    buffer.bytes.copy(uuid, 0, 1, 1 + uuid.length);
  } else if (fd >= 0 && quickly.ioctl(fd, BTRFS_IOC_FS_INFO, buffer.address) === 0) {
    // `struct btrfs_ioctl_fs_info_args`: two numbers of 64 bits, UUID.
    buffer.bytes.copy(uuid, 0, 16, 16 + uuid.length);
  }
  if (fd >= 0) quickly.close(fd);
  return uuid;
}

/** What the upper file is told about the lower one that it is a copy of. @param uuid of the lower one's file system
 *  @returns undefined where the file system has no handles */
export function originOf(fd: number, name: number, uuid: Buffer): Buffer | undefined {
  handle.bytes.writeUInt32LE(MOST_HANDLE, 0);
  const flags = name === EMPTY ? AT_EMPTY_PATH : 0;
  if (quickly.nameToHandle(fd, name, handle.address, mountId.address, flags) < 0) return undefined;
  const length = handle.bytes.readUInt32LE(0);
  const origin = Buffer.alloc(ORIGIN.HANDLE + length);
  origin[ORIGIN.MAGIC] = OVL_FH_MAGIC;
  origin[ORIGIN.LENGTH] = origin.length;
  origin[ORIGIN.TYPE] = handle.bytes.readInt32LE(4);
  uuid.copy(origin, ORIGIN.UUID);
  handle.bytes.copy(origin, ORIGIN.HANDLE, HANDLE_HEADER, HANDLE_HEADER + length);
  return origin;
}

export const setOrigin = (union: Union, fd: number, name: string, origin: Buffer): number =>
  setMark(union, fd, name, 'origin', origin);

const FILEID = { INO32_GEN: 1, BTRFS: 0x4d, INO64_GEN: 0x81 } as const;

export interface Origin {
  /** Of the file system. */
  uuid: Buffer;
  low: number;
  high: number;
  /** It is one only if the file system is XFS: FUSE and EROFS have other numbers in handles of the same type. */
  onXfs: boolean;
}

/** The inode number that an upper file was copied from, in two halves, where its handle says that in a form that is known (that of ext4 and
 *  its like, of tmpfs, XFS and btrfs), and which file system it is from. */
export function originInode(union: Union, fd: number, name: string): Origin | undefined {
  const origin = markOf(union, fd, name, 'origin');
  if (origin === undefined || origin.length < ORIGIN.HANDLE + 8 || origin[ORIGIN.MAGIC] !== OVL_FH_MAGIC)
    return undefined;
  const type = origin[ORIGIN.TYPE]!;
  const at = numberIn(type, origin.length - ORIGIN.HANDLE);
  if (at === undefined) return undefined;
  return {
    uuid: origin.subarray(ORIGIN.UUID, ORIGIN.HANDLE),
    low: origin.readUInt32LE(ORIGIN.HANDLE + at.low),
    high: at.high === undefined ? 0 : origin.readUInt32LE(ORIGIN.HANDLE + at.high),
    onXfs: type === FILEID.INO64_GEN,
  };
}

/** Where in a handle the halves of the inode number are; undefined for a form that is not known. */
function numberIn(type: number, length: number): { low: number; high: number | undefined } | undefined {
  if (type === FILEID.INO32_GEN && length === 8) return { low: 0, high: undefined };
  if (type === FILEID.INO32_GEN && length === 12) return { low: 4, high: 8 };
  if (type === FILEID.INO64_GEN && length === 12) return { low: 0, high: 4 };
  if (type === FILEID.BTRFS && length === 20) return { low: 0, high: 4 };
  return undefined;
}

const XFS_SUPER_MAGIC = 0x58465342;

/** @param directory a descriptor */
export const isXfs = (directory: number): boolean =>
  quickly.statfs(pathOf(directory), buffer.address) === 0 && buffer.bytes.readUInt32LE(0) === XFS_SUPER_MAGIC;
