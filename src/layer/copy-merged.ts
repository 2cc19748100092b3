/** Layers on disk become one tree: a copy of what a union of them would show. */
import { isErrno, SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { S } from '../spec/linux.ts';
import { copyData } from '../sys/copy-data.ts';
import {
  AT_FDCWD,
  close,
  deviceNumber,
  fchmod,
  fchmodat,
  fchown,
  futimens,
  lchownat,
  linkat,
  lutimensat,
  mkdirat,
  mknodat,
  OPEN,
  openat,
  readlinkat,
  symlinkat,
} from '../sys/file.ts';
import { isNamespaceRoot } from '../sys/own-ids.ts';
import { TYPE_MASK } from '../sys/stat.ts';
import { fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr } from '../sys/xattr.ts';
import { bytesOf, quoted } from './entry.ts';
import { isDirectory, type MergedEntry, mergedEntries, nameAt, withParts, withRoots } from './merged.ts';
import { type Owners, shiftXattr } from './owners.ts';
import { isOverlayXattr, type UnionForm } from './whiteout.ts';

export interface CopyOptions {
  /** The form of the whiteouts in the layers. */
  form: UnionForm;
  /** What the ids of the files become; they stay as they are when absent. */
  owners?: Owners | undefined;
}

interface Copy extends CopyOptions {
  /** Of the new tree. */
  root: number;
  /** The first name of each file that has several. */
  links: Map<string, string>;
}

/** Copies all that the layers show together into an empty directory of the same file system: hard links, holes, attributes, devices and
 *  times too, of these what the user may set. The directory's own owner and mode are its maker's. Data is shared where the file system can, and copied by the kernel
 *  where not. Yields after each name, so that whoever runs it may stop there.
 *  @param stack directories, nearest first @throws SyscallError, ENOSPC among them; the tree is then the caller's to remove */
export function* copyMerged(stack: readonly string[], target: string, options: CopyOptions): Generator<void> {
  const root = openat(AT_FDCWD, target, OPEN.RDONLY | OPEN.DIRECTORY);
  try {
    const copy: Copy = { ...options, root, links: new Map() };
    yield* withRoots(stack, (pieces) => copyInto(copy, pieces, root, ''));
  } finally {
    close(root);
  }
}

function* copyInto(copy: Copy, pieces: readonly number[], to: number, at: string): Generator<void> {
  for (const entry of mergedEntries(pieces, copy.form)) {
    const path = at === '' ? entry.name : `${at}/${entry.name}`;
    if (isDirectory(entry.status)) yield* copyDirectory(copy, entry, to, path);
    else copyName(copy, entry, to, path);
    yield;
  }
}

function* copyDirectory(copy: Copy, entry: MergedEntry, to: number, path: string): Generator<void> {
  const base = bytesOf(entry.name);
  mkdirat(to, base, 0o700);
  const made = openat(to, base, OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW);
  try {
    yield* withParts(entry, function* (pieces) {
      yield* copyInto(copy, pieces, made, path);
      finish(copy, entry, pieces[0]!, made, path);
    });
  } finally {
    close(made);
  }
}

/** Anything but a directory. */
function copyName(copy: Copy, entry: MergedEntry, to: number, path: string): void {
  const { name, status } = entry;
  const first = status.links > 1 ? copy.links.get(status.identity) : undefined;
  if (first !== undefined) {
    linkat(copy.root, bytesOf(first), to, bytesOf(name));
    return;
  }
  if (status.links > 1) copy.links.set(status.identity, path);
  if ((status.mode & TYPE_MASK) === S.S_IFREG) copyFile(copy, entry, to, path);
  else copySpecial(copy, entry, to);
}

/** What has no data: a symlink, a device, a fifo. */
function copySpecial(copy: Copy, entry: MergedEntry, to: number): void {
  const { name, status, dirfd } = entry;
  const base = bytesOf(name);
  const type = status.mode & TYPE_MASK;
  if (type === S.S_IFLNK) symlinkat(readlinkat(dirfd, base), to, base);
  else if (!permitted(() => mknodat(to, base, type, deviceNumber(status.deviceMajor, status.deviceMinor)))) return;
  const { uid, gid } = ownerOf(copy, entry);
  lchownat(to, base, uid, gid);
  if (type !== S.S_IFLNK) fchmodat(to, base, status.mode & 0o7777);
  const [before, after] = [nameAt(dirfd, name), nameAt(to, name)];
  for (const attribute of llistxattr(before)) {
    const value = keptValue(copy, attribute, () => lgetxattr(before, attribute));
    if (value !== undefined) permitted(() => lsetxattr(after, attribute, value));
  }
  lutimensat(to, base, status.mtime, status.mtimeNsec);
}

function copyFile(copy: Copy, entry: MergedEntry, to: number, path: string): void {
  const base = bytesOf(entry.name);
  const from = openat(entry.dirfd, base, OPEN.RDONLY | OPEN.NOFOLLOW);
  try {
    const made = openat(to, base, OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW, 0o600);
    try {
      const refused = entry.status.size === 0 ? 0 : copyData(from, made, entry.status.size);
      if (refused < 0) throw new SyscallError('copy_file_range', `copy ${quoted(path)}`, errnoOf(-refused));
      finish(copy, entry, from, made, path);
    } finally {
      close(made);
    }
  } finally {
    close(from);
  }
}

const ownerOf = ({ owners }: Copy, { status: { uid, gid } }: MergedEntry) => ({
  uid: owners?.uid(uid) ?? uid,
  gid: owners?.gid(gid) ?? gid,
});

/** Owner first: a change of it takes rights from the mode, and capabilities. The time last. */
function finish(copy: Copy, entry: MergedEntry, from: number, made: number, path: string): void {
  const { mode, mtime, mtimeNsec } = entry.status;
  const { uid, gid } = ownerOf(copy, entry);
  const name = bytesOf(path);
  fchown(made, uid, gid, name);
  fchmod(made, mode & 0o7777, name);
  for (const attribute of flistxattr(from)) {
    const value = keptValue(copy, attribute, () => fgetxattr(from, attribute));
    if (value !== undefined) permitted(() => fsetxattr(made, attribute, value));
  }
  futimens(made, mtime, mtimeNsec, name);
}

/** Root of a user namespace may make no devices, nor set attributes of other security modules than capabilities: as when layers are unpacked,
 *  they are left out. @returns whether it was done */
function permitted(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (!isErrno(error, 'EPERM') || !isNamespaceRoot()) throw error;
    return false;
  }
}

/** Marks of overlayfs mean nothing in a tree. */
function keptValue({ owners }: Copy, name: string, read: () => Buffer | undefined): Buffer | undefined {
  if (isOverlayXattr(name)) return undefined;
  const value = read();
  return value === undefined || owners === undefined ? value : shiftXattr(name, value, owners);
}
