/** GETATTR, SETATTR, READLINK, STATFS. */
import { readFileSync } from 'node:fs';
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { TYPE_MASK } from '../sys/stat.ts';
import { copyUp } from './copy-up.ts';
import { E } from './errno.ts';
import {
  ANSWER,
  callerGid,
  callerPid,
  callerUid,
  exact64,
  putAttr,
  putU32,
  putU64,
  requestNode,
  u32,
  u64,
} from './exchange.ts';
import { buffer, EMPTY, pathOf } from './memory.ts';
import { setPermissions } from './permissions.ts';
import { FATTR, ROOT } from './protocol.ts';
import { seen, type Time } from './status.ts';
import { NOW, OMIT, setTimes } from './times.ts';
import { directoryFd, isWritable, lookAt, realOf, type Union, UPPER } from './union.ts';
import { bringsTimes, isWritebackUsed } from './writeback.ts';

export function getattr(union: Union): number {
  const node = requestNode();
  const error = lookAt(union, node);
  return error < 0 ? error : putAttr(union, node);
}

/** Where fields of `struct fuse_setattr_in` are. */
const SETATTR = {
  VALID: 0,
  FH: 8,
  SIZE: 16,
  ATIME: 32,
  MTIME: 40,
  ATIME_NSEC: 56,
  MTIME_NSEC: 60,
  MODE: 68,
  UID: 76,
  GID: 80,
};

export function setattr(union: Union): number {
  const node = requestNode();
  const valid = u32(SETATTR.VALID);
  const emptied = (valid & FATTR.SIZE) !== 0 && u64(SETATTR.SIZE) === 0;
  const isNothing = (valid & CHANGES) === 0;
  if (bringsTimes(valid)) {
    const error = lookAt(union, node);
    if (error < 0) return error;
    if (isMtime(seen.mtime())) return putAttr(union, node);
  }
  const copied = copyUp(union, node, emptied);
  if (copied < 0) return copied;
  // Before a write that ends a file capability, and of chown(2) to nobody.
  const error = isNothing ? killUnlessRoot(union, node) : change(union, node, valid);
  return error < 0 ? error : getattr(union);
}

const isMtime = ([low, high, nanoseconds]: Time): boolean =>
  low === u32(SETATTR.MTIME) && high === u32(SETATTR.MTIME + 4) && nanoseconds === u32(SETATTR.MTIME_NSEC);

const TIMES = FATTR.ATIME | FATTR.MTIME | FATTR.ATIME_NOW | FATTR.MTIME_NOW;
const CHANGES = FATTR.MODE | FATTR.UID | FATTR.GID | FATTR.SIZE | TIMES;

function change(union: Union, node: number, valid: number): number {
  let error = 0;
  if (valid & FATTR.SIZE) error = setSize(union, node, valid);
  if (error === 0 && valid & (FATTR.UID | FATTR.GID)) {
    // The group that set-group-ID is about is the one before.
    if (valid & FATTR.KILL_SUIDGID) error = killUnlessRoot(union, node);
    if (error === 0) error = setOwner(union, node, valid);
  }
  if (error === 0 && valid & FATTR.MODE) error = setMode(union, node, u32(SETATTR.MODE) & 0o7777);
  if (error === 0 && valid & TIMES) {
    const atime = timeOf(valid, FATTR.ATIME, FATTR.ATIME_NOW, SETATTR.ATIME, SETATTR.ATIME_NSEC);
    const mtime = timeOf(valid, FATTR.MTIME, FATTR.MTIME_NOW, SETATTR.MTIME, SETATTR.MTIME_NSEC);
    const { fd, name } = realOf(union, node);
    error = fd < 0 ? fd : setTimes(fd, name, atime, mtime);
  }
  return error;
}

function timeOf(valid: number, given: number, now: number, at: number, nanoseconds: number): Time {
  if (valid & now) return NOW;
  return valid & given ? [u32(at), u32(at + 4), u32(nanoseconds)] : OMIT;
}

function setSize(union: Union, node: number, valid: number): number {
  const size = exact64(SETATTR.SIZE);
  if (isSizeOf(union, node, valid)) return 0;
  const { fd, text } = realOf(union, node);
  if (fd < 0) return fd;
  const error = valid & FATTR.FH ? quickly.ftruncate(u32(SETATTR.FH), size) : quickly.truncate(pathOf(fd, text), size);
  if (error < 0 || !(valid & FATTR.KILL_SUIDGID)) return error;
  return killPrivileges(union, node);
}

/** truncate(2) to the size that a file has leaves its mtime where the kernel keeps that: then it stays here too. */
function isSizeOf(union: Union, node: number, valid: number): boolean {
  if (!isWritebackUsed() || valid & (FATTR.MTIME | FATTR.KILL_SUIDGID) || lookAt(union, node) < 0) return false;
  return seen.size() === u64(SETATTR.SIZE);
}

/** As the kernel's chown does it, set-user-ID and set-group-ID go with that. */
function setOwner(union: Union, node: number, valid: number): number {
  const uid = valid & FATTR.UID ? u32(SETATTR.UID) : -1;
  const gid = valid & FATTR.GID ? u32(SETATTR.GID) : -1;
  const { fd, name } = realOf(union, node);
  const flags = AT_SYMLINK_NOFOLLOW | (name === EMPTY ? AT_EMPTY_PATH : 0);
  return fd < 0 ? fd : quickly.fchownat(fd, name, uid, gid, flags);
}

function setMode(union: Union, node: number, mode: number): number {
  if (union.nodes.type(node) === S.S_IFLNK) return E.NOTSUP;
  const { fd, text } = realOf(union, node);
  return fd < 0 ? fd : setPermissions(fd, text, mode);
}

const SET_USER_ID = 0o4000;
export const SET_GROUP_ID = 0o2000;
const GROUP_MAY_EXECUTE = 0o010;

/** Who writes to a program may not lend it somebody's rights: the kernel leaves that to us. @see inode(7), S_ISGID */
export function killPrivileges(union: Union, node: number): number {
  const error = lookAt(union, node);
  if (error < 0) return error;
  const left = withoutPrivileges(seen.mode(), seen.gid());
  return left === (seen.mode() & 0o7777) ? 0 : setMode(union, node, left);
}

/** Permissions without set-user-ID, and without set-group-ID where that means running as the group, or where who asks is not of it; those
 *  of a directory as they are. @see setattr_should_drop_suidgid in the kernel */
function withoutPrivileges(mode: number, gid: number): number {
  if ((mode & TYPE_MASK) === S.S_IFDIR) return mode & 0o7777;
  const left = mode & 0o7777 & ~SET_USER_ID;
  if ((left & SET_GROUP_ID) === 0) return left;
  return mode & GROUP_MAY_EXECUTE || !isCallerIn(gid) ? left & ~SET_GROUP_ID : left;
}

/** May who asks leave a set-group-ID bit where it is, or give one? @see in_group_or_capable in the kernel */
export const maySetGroupId = (gid: number): boolean => callerUid() === 0 || isCallerIn(gid);

/** Of the groups of who asks, the request has the first one; the others are read where the kernel shows them. */
function isCallerIn(gid: number): boolean {
  if (gid === callerGid()) return true;
  try {
    const groups = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${callerPid()}/status`, 'latin1'))?.[1] ?? '';
    return groups.trim().split(/\s+/).includes(String(gid));
  } catch {
    return false; // it has ended meanwhile
  }
}

/** Some requests do not say whether set-user-ID has to go: it stays where root asks. */
export function killUnlessRoot(union: Union, node: number): number {
  return callerUid() === 0 ? 0 : killPrivileges(union, node);
}

export function readlink(union: Union): number {
  const { fd, name } = realOf(union, requestNode());
  return fd < 0 ? fd : quickly.readlinkat(fd, name, ANSWER, 4096);
}

/** Offsets in `struct statfs` of 64-bit machines, in the order of `struct fuse_kstatfs`. */
const STATFS = { BLOCKS: 16, BFREE: 24, BAVAIL: 32, FILES: 40, FFREE: 48, BSIZE: 8, NAMELEN: 64, FRSIZE: 72 } as const;

export function statfs(union: Union): number {
  const layer = isWritable(union) ? UPPER : 1;
  const fd = directoryFd(union, ROOT, layer);
  const error = quickly.statfs(pathOf(fd), buffer.address);
  if (error < 0) return error;
  const value = (at: number): number => Number(buffer.bytes.readBigUInt64LE(at));
  [STATFS.BLOCKS, STATFS.BFREE, STATFS.BAVAIL, STATFS.FILES, STATFS.FFREE].forEach((at, index) => {
    putU64(index * 8, value(at));
  });
  putU32(40, value(STATFS.BSIZE));
  putU32(44, value(STATFS.NAMELEN));
  putU32(48, value(STATFS.FRSIZE));
  for (let at = 52; at < 80; at += 4) putU32(at, 0);
  return 80;
}
