/**
 * Copy-up: before something of a lower layer is changed, the upper layer gets a copy of it, with its directories. The copy is made in the
 * work directory and comes into its place with one rename, so that nobody ever sees a half of it.
 */
import { S } from '../spec/linux.ts';
import { copyData } from '../sys/copy-data.ts';
import { AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, deviceNumber, OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { TYPE_MASK } from '../sys/stat.ts';
import { copyAttributes, type File } from './copy-attributes.ts';
import { E } from './errno.ts';
import { switchToUpper } from './handles.ts';
import { noteName } from './known-names.ts';
import { originOf, setImpure, setOrigin } from './marks.ts';
import { buffer, cstring, EMPTY, nameOf, pathOf } from './memory.ts';
import { attributesChanged, entriesChanged } from './notify.ts';
import { setPermissions } from './permissions.ts';
import { ROOT } from './protocol.ts';
import { look, seen, type Time } from './status.ts';
import { seenTimes, setTimes } from './times.ts';
import {
  directoryFd,
  HELD,
  isDirectory,
  isUpper,
  isWritable,
  layersOf,
  letGo,
  realOf,
  removeName,
  topOf,
  type Union,
  UPPER,
} from './union.ts';

let number = 0;

/** A name in the work directory that nothing has. */
export function workName(): string {
  return `#${(number++).toString(16)}`;
}

/** The upper layer's part of a directory in which something is made: copied up if need be. @returns -errno */
export function upperDirectory(union: Union, node: number): number {
  const error = copyUp(union, node);
  return error < 0 ? error : directoryFd(union, node, UPPER);
}

/** Makes sure that a node, and the directories on the way to it, are in the upper layer.
 *  @param truncate the data is not wanted, since it goes away next @returns 0 or -errno */
export function copyUp(union: Union, node: number, truncate = false): number {
  if (isUpper(union, node)) return 0;
  if (!isWritable(union)) return E.ROFS;
  const { nodes } = union;
  if (!nodes.isNamed(node)) return copyNameless(union, node, truncate);
  const way = [node];
  for (let at = nodes.parent(node); at !== ROOT && !isUpper(union, at); at = nodes.parent(at)) way.push(at);
  while (way.length > 0) {
    const next = way.pop()!;
    union.directories.trim(); // nobody has one in hand yet
    const error = copyOne(union, nodes.parent(next), next, truncate);
    if (error < 0) return error;
  }
  return 0;
}

function copyOne(union: Union, parent: number, node: number, truncate: boolean): number {
  const { work, nodes } = union;
  const upper = directoryFd(union, parent, UPPER);
  if (upper < 0) return upper;
  const from = { ...realOf(union, node) };
  const name = nodes.name(node);
  const temporary = workName();
  const made = makeCopy(union, from, temporary, { truncate, uuid: union.uuids[topOf(union, node)]! });
  if (made < 0) {
    discard(union, temporary, isDirectory(union, node));
    return made;
  }
  // What the parent's time says is when somebody changed it, and nobody has.
  look(upper, EMPTY);
  const [atime, mtime] = seenTimes();
  noteName(parent, UPPER, name);
  if (!isDirectory(union, node)) setImpure(union, parent, upper);
  const moved = quickly.renameat2(work, cstring(temporary), upper, cstring(name), 0);
  if (moved < 0) {
    discard(union, temporary, isDirectory(union, node));
    return moved;
  }
  setTimes(upper, EMPTY, atime, mtime);
  if (!isDirectory(union, node)) {
    nodes.setPlace(node, UPPER);
    if (made === ANOTHER_NUMBER && look(upper, cstring(name)) === 0) {
      nodes.setInode(node, seen.inodeLow(), seen.inodeHigh());
      entriesChanged(union, parent);
    }
    switchToUpper(union, node);
  } else nodes.setPlace(node, union.stacks.numberOf([UPPER, ...layersOf(union, node)]));
  // Their ctimes; and a directory that is merged now counts its links no more.
  attributesChanged(union, parent);
  attributesChanged(union, node);
  return 0;
}

/** A removed file that is open can still be changed: its copy has no name either, and is held as the original was. */
function copyNameless(union: Union, node: number, truncate: boolean): number {
  if (isDirectory(union, node)) return E.NOTDIR; // as overlayfs, which meets its whiteout
  const held = union.held.get(node);
  if (held === undefined) return E.STALE;
  const temporary = workName();
  const made = makeCopy(union, { fd: held, text: '' }, temporary, {
    truncate,
    uuid: union.uuids[topOf(union, node)]!,
  });
  const copy = made < 0 ? made : quickly.openat(union.work, cstring(temporary), HELD, 0);
  discard(union, temporary, false);
  if (copy < 0) return copy;
  letGo(union, node);
  union.held.set(node, copy);
  union.nodes.setPlace(node, UPPER);
  switchToUpper(union, node);
  attributesChanged(union, node); // the original has links
  return 0;
}

function discard({ work }: Union, temporary: string, directory: boolean): void {
  removeName(work, temporary, directory ? AT_REMOVEDIR : 0);
}

interface Copying {
  truncate: boolean;
  /** Of the original's file system. */
  uuid: Buffer;
}

/** What is returned where the copy has not the inode number of the original. */
const ANOTHER_NUMBER = 1;

/** Makes `temporary` in the work directory, as the original in everything. @returns 0, {@link ANOTHER_NUMBER}, or -errno */
function makeCopy(union: Union, from: File, temporary: string, { truncate, uuid }: Copying): number {
  const { work } = union;
  const looked = from.fd < 0 ? from.fd : look(from.fd, nameOf(from.text));
  if (looked < 0) return looked;
  const [mode, size] = [seen.mode(), seen.size()];
  // Of a file with several names every copy is a file of its own: its number cannot be theirs.
  const hasOwnNumber = seen.links() > 1 && seen.type() !== S.S_IFDIR;
  const device = deviceNumber(seen.deviceMajor(), seen.deviceMinor());
  const status = seenStatus();
  const made = make(work, from, temporary, { mode, device, size, truncate });
  if (made < 0) return made;
  const error = takeAfter(union, from, temporary, status);
  if (error < 0) return error;
  const origin = hasOwnNumber ? undefined : originOf(from.fd, nameOf(from.text), uuid);
  if (origin !== undefined) setOrigin(union, work, temporary, origin);
  const timed = setTimes(work, cstring(temporary), ...status.times);
  return timed < 0 || !hasOwnNumber ? timed : ANOTHER_NUMBER;
}

/** What a copy has of its original besides the data. */
interface Status {
  mode: number;
  uid: number;
  gid: number;
  times: readonly [atime: Time, mtime: Time];
}

/** Of the file that was looked at last. */
export const seenStatus = (): Status => ({ mode: seen.mode(), uid: seen.uid(), gid: seen.gid(), times: seenTimes() });

/** Gives what was made in the work directory the owner, the attributes and the permissions of a file; its times are for the end.
 *  @returns 0 or -errno */
export function takeAfter(union: Union, from: File, temporary: string, { mode, uid, gid }: Status): number {
  const { work } = union;
  const owned = quickly.fchownat(work, cstring(temporary), uid, gid, AT_SYMLINK_NOFOLLOW);
  if (owned < 0) return owned;
  const copied = copyAttributes(union, from, { fd: work, text: temporary });
  if (copied < 0 || (mode & TYPE_MASK) === S.S_IFLNK) return copied;
  return setPermissions(work, temporary, mode & 0o7777);
}

const NEW = OPEN.RDWR | OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW | OPEN.CLOEXEC;

interface What {
  mode: number;
  device: bigint;
  size: number;
  /** A hole as large as the data will do. */
  truncate: boolean;
}

function make(work: number, from: File, temporary: string, { mode, device, size, truncate }: What): number {
  const type = mode & TYPE_MASK;
  if (type === S.S_IFDIR) return quickly.mkdirat(work, cstring(temporary), 0o700);
  if (type === S.S_IFLNK) {
    const length = quickly.readlinkat(from.fd, nameOf(from.text), buffer.address, 4096);
    if (length < 0) return length;
    buffer.bytes[length] = 0;
    return quickly.symlinkat(buffer.address, work, cstring(temporary));
  }
  if (type !== S.S_IFREG) return quickly.mknodat(work, cstring(temporary), type | 0o600, Number(device));
  const to = quickly.openat(work, cstring(temporary), NEW, 0o600);
  if (to < 0 || size === 0) return to < 0 ? to : quickly.close(to);
  if (truncate) {
    const error = quickly.ftruncate(to, Math.min(size, Number.MAX_SAFE_INTEGER));
    quickly.close(to);
    return error;
  }
  const source = quickly.openat(AT_FDCWD, pathOf(from.fd, from.text), OPEN.RDONLY | OPEN.CLOEXEC, 0);
  const error = source < 0 ? source : copyData(source, to, size);
  if (source >= 0) quickly.close(source);
  quickly.close(to);
  return error;
}
