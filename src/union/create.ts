/** What makes names: MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE, LINK. */
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, deviceNumber, OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { TYPE_MASK } from '../sys/stat.ts';
import { copyUp, upperDirectory, workName } from './copy-up.ts';
import { E } from './errno.ts';
import { addressOf, callerGid, callerUid, nameAt, putEntry, requestNode, u32, u64 } from './exchange.ts';
import { O_SYNC } from './files.ts';
import { putOpen } from './handles.ts';
import { isAbsent, noteName } from './known-names.ts';
import { inUpper, lookupMade } from './lookup.ts';
import { setImpure, setOpaque } from './marks.ts';
import { buffer, cstring, EMPTY, nameOf, pathOf } from './memory.ts';
import { setPermissions } from './permissions.ts';
import { decodeDevice, ENTRY_OUT } from './protocol.ts';
import { MOST_VALUE, raw } from './raw-xattrs.ts';
import { look, seen } from './status.ts';
import { letGo, lookAt, noteLinks, realOf, removeName, type Union, UPPER } from './union.ts';
import { ACCESS, flagsToOpen } from './writeback.ts';

/** Makes something of that name in a directory. @returns 0, a descriptor, or -errno */
type Make = (directory: number, name: string) => number;

interface Making {
  /** The mask of who asks; the kernel leaves it to us because an access list of the directory takes its place. */
  umask: number;
  /** Permissions, with the type of what is made. */
  mode: number;
  make: Make;
}

let umask = -1;

function setUmask(wanted: number): void {
  if (umask === wanted) return;
  quickly.umask(wanted);
  umask = wanted;
}

/** Makes a name in the upper layer. @returns what `make` returned, or -errno: then nothing was made */
function create(union: Union, parent: number, name: string, making: Making): number {
  const upper = placeFor(union, parent);
  if (upper < 0) return upper;
  const there = whatIsThere(union, parent, upper, name);
  if (there === 'file') return E.EXIST;
  setUmask(making.umask);
  return there === 'nothing' ? inPlace(upper, name, making) : overWhiteout(union, upper, name, making);
}

/** The upper layer's directory in which a name can be made: not in one that is removed. @returns -errno */
function placeFor(union: Union, parent: number): number {
  return union.nodes.isNamed(parent) ? upperDirectory(union, parent) : E.NOENT;
}

/** What the upper directory has of a name that comes into it now. */
function whatIsThere(union: Union, parent: number, upper: number, name: string): ReturnType<typeof inUpper> {
  const there = isAbsent(parent, UPPER, name) ? 'nothing' : inUpper(union, upper, name);
  noteName(parent, UPPER, name);
  return there;
}

const isDirectoryMode = (mode: number): boolean => (mode & TYPE_MASK) === S.S_IFDIR;

function inPlace(upper: number, name: string, making: Making): number {
  const made = making.make(upper, name);
  if (made < 0) return made;
  const error = giveAway(upper, upper, name);
  return error < 0 ? undo(upper, name, making.mode, made, error) : made;
}

function undo(directory: number, name: string, mode: number, made: number, error: number): number {
  if (made > 0) quickly.close(made);
  removeName(directory, name, isDirectoryMode(mode) ? AT_REMOVEDIR : 0);
  return error;
}

/** What takes the place of a whiteout is made in the work directory: a directory that could be seen before it is opaque would show what
 *  is below. */
function overWhiteout(union: Union, upper: number, name: string, making: Making): number {
  const isDirectory = isDirectoryMode(making.mode);
  const room = openRoom(union, upper);
  if (room.fd < 0) return room.fd;
  const temporary = workName();
  const made = making.make(room.fd, temporary);
  let error = Math.min(made, 0);
  if (error === 0) error = giveAway(upper, room.fd, temporary);
  if (error === 0 && isDirectory) error = setOpaque(union, room.fd, temporary);
  if (error === 0) {
    const flags = isDirectory ? RENAME_EXCHANGE : 0;
    error = quickly.renameat2(room.fd, cstring(temporary), upper, cstring(name), flags);
    if (error === 0 && isDirectory) removeName(room.fd, temporary);
  }
  if (error < 0 && made >= 0) undo(room.fd, temporary, making.mode, made, error);
  closeRoom(union, room);
  return error < 0 ? error : made;
}

export const RENAME_EXCHANGE = 2;

interface Room {
  fd: number;
  /** In the work directory; '' when it is that itself. */
  name: string;
}

const DEFAULT_ACL = 'system.posix_acl_default';

/** A directory where new files get what they would get in `upper`: its group if that is handed down, its default access list. */
function openRoom({ work }: Union, upper: number): Room {
  const acl = raw.get(upper, '', DEFAULT_ACL, buffer.address, MOST_VALUE);
  look(upper, EMPTY);
  const inherits = (seen.mode() & 0o2000) !== 0;
  if (acl < 0 && !inherits) return { fd: work, name: '' };
  const [mode, gid] = [seen.mode() & 0o7777, seen.gid()];
  const name = workName();
  const error = quickly.mkdirat(work, cstring(name), 0o700);
  if (error < 0) return { fd: error, name: '' };
  const fd = quickly.openat(work, cstring(name), OPEN.PATH | OPEN.DIRECTORY | OPEN.NOFOLLOW | OPEN.CLOEXEC, 0);
  quickly.fchownat(work, cstring(name), -1, gid, AT_SYMLINK_NOFOLLOW);
  setPermissions(work, name, mode);
  if (acl >= 0) raw.set(work, name, DEFAULT_ACL, buffer.address, acl);
  return { fd, name };
}

function closeRoom({ work }: Union, { fd, name }: Room): void {
  if (name === '') return;
  quickly.close(fd);
  removeName(work, name, AT_REMOVEDIR);
}

const OWN = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

/** What was made belongs to who asked for it; its group is the directory's where that is handed down.
 *  @param name in a directory, or '' for what `fd` itself is @returns 0 or -errno */
function giveAway(parent: number, fd: number, name: string): number {
  const [uid, gid] = [callerUid(), callerGid()];
  if (uid === OWN.uid && gid === OWN.gid) return 0;
  if (look(fd, nameOf(name)) < 0) return E.IO;
  if (seen.uid() === uid && seen.gid() === gid) return 0;
  const [type, made] = [seen.type(), seen.mode() & 0o7777];
  look(parent, EMPTY);
  const keepsGroup = (seen.mode() & 0o2000) !== 0;
  const flags = name === '' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
  const error = quickly.fchownat(fd, nameOf(name), uid, keepsGroup ? -1 : gid, flags);
  // chown(2) has cleared these.
  const lost = made & 0o6000;
  if (error < 0 || lost === 0 || type === S.S_IFDIR || type === S.S_IFLNK) return error;
  return setPermissions(fd, name, made);
}

function entryOf(union: Union, parent: number, name: string): number {
  const node = lookupMade(union, parent, name);
  return node < 0 ? node : putEntry(union, node);
}

/** `struct fuse_mknod_in`: mode, rdev, umask. */
export function mknod(union: Union): number {
  const [mode, rdev, mask] = [u32(0), u32(4), u32(8)];
  const name = nameAt(16);
  const { major, minor } = decodeDevice(rdev);
  if ((mode & TYPE_MASK) === S.S_IFCHR && major === 0 && minor === 0) return E.PERM; // it would hide its name
  const device = Number(deviceNumber(major, minor));
  const make: Make = (directory, text) => quickly.mknodat(directory, cstring(text), mode, device);
  const error = create(union, requestNode(), name, { umask: mask, mode, make });
  return error < 0 ? error : entryOf(union, requestNode(), name);
}

/** `struct fuse_mkdir_in`: mode, umask. */
export function mkdir(union: Union): number {
  const [mode, mask] = [u32(0), u32(4)];
  const name = nameAt(8);
  const make: Make = (directory, text) => quickly.mkdirat(directory, cstring(text), mode & 0o7777);
  const error = create(union, requestNode(), name, { umask: mask, mode: S.S_IFDIR | mode, make });
  return error < 0 ? error : entryOf(union, requestNode(), name);
}

export function symlink(union: Union): number {
  const name = nameAt(0);
  const target = addressOf(name.length + 1);
  const make: Make = (directory, text) => quickly.symlinkat(target, directory, cstring(text));
  const error = create(union, requestNode(), name, { umask: 0, mode: S.S_IFLNK, make });
  return error < 0 ? error : entryOf(union, requestNode(), name);
}

const NEW = OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW | OPEN.CLOEXEC;

/** `struct fuse_create_in`: flags, mode, umask, open_flags. */
export function createFile(union: Union): number {
  const [flags, mode, mask] = [u32(0), u32(4), u32(8)];
  const name = nameAt(16);
  const kept = flagsToOpen(flags & (ACCESS | O_SYNC));
  const make: Make = (directory, text) => quickly.openat(directory, cstring(text), kept | NEW, mode & 0o7777);
  const fd = create(union, requestNode(), name, { umask: mask, mode: S.S_IFREG | mode, make });
  if (fd < 0) return fd;
  const node = lookupMade(union, requestNode(), name);
  return node < 0 ? node : putCreated(union, node, fd, kept);
}

const O_TMPFILE = 0o20000000 | OPEN.DIRECTORY;

/** As CREATE, without a name: the file is there for as long as it is open, unless it gets one by LINK. */
export function tmpfile(union: Union): number {
  const [flags, mode, mask] = [u32(0), u32(4), u32(8)];
  const parent = requestNode();
  const upper = upperDirectory(union, parent);
  if (upper < 0) return upper;
  setUmask(mask);
  const access = (flags & ACCESS) === OPEN.RDONLY ? OPEN.RDWR : flagsToOpen(flags & ACCESS);
  const fd = quickly.openat(upper, cstring('.'), access | O_TMPFILE | OPEN.CLOEXEC, mode & 0o7777);
  if (fd < 0) return fd;
  giveAway(upper, fd, '');
  const held = quickly.openat(AT_FDCWD, pathOf(fd), OPEN.PATH | OPEN.CLOEXEC, 0);
  look(fd, EMPTY);
  const node = union.nodes.add(parent, `\0${held}`, S.S_IFREG);
  union.nodes.unname(node);
  union.nodes.setPlace(node, UPPER);
  union.nodes.setInode(node, seen.inodeLow(), seen.inodeHigh());
  union.held.set(node, held);
  return putCreated(union, node, fd, access);
}

/** How long its entry is good depends on how it is open. */
function putCreated(union: Union, node: number, fd: number, flags: number): number {
  const end = putOpen(union, node, fd, flags, ENTRY_OUT);
  putEntry(union, node);
  return end;
}

const AT_SYMLINK_FOLLOW = 0x400;

/** `struct fuse_link_in`: the node that gets another name. */
export function link(union: Union): number {
  const node = u64(0);
  const parent = requestNode();
  const name = nameAt(8);
  const error = copyUp(union, node);
  if (error < 0) return error;
  const make: Make = (directory, text) => {
    const { fd, text: old } = realOf(union, node);
    if (fd < 0) return fd;
    const flags = old === '' ? AT_SYMLINK_FOLLOW : 0;
    return quickly.linkat(AT_FDCWD, pathOf(fd, old), directory, cstring(text), flags);
  };
  const made = linkIn(union, parent, name, make);
  if (made < 0) return made;
  if (!union.nodes.isNamed(node)) {
    union.nodes.rename(node, parent, name);
    letGo(union, node);
  }
  const looked = lookAt(union, node);
  if (looked < 0) return looked;
  if (seen.links() > 1) noteLinks(union, node);
  return putEntry(union, node);
}

/** As {@link create}, of something that is there and stays as it is. */
function linkIn(union: Union, parent: number, name: string, make: Make): number {
  const upper = placeFor(union, parent);
  if (upper < 0) return upper;
  const there = whatIsThere(union, parent, upper, name);
  if (there === 'file') return E.EXIST;
  setImpure(union, parent, upper);
  if (there === 'nothing') return make(upper, name);
  const temporary = workName();
  const made = make(union.work, temporary);
  if (made < 0) return made;
  const moved = quickly.renameat2(union.work, cstring(temporary), upper, cstring(name), 0);
  if (moved < 0) removeName(union.work, temporary);
  return moved;
}
