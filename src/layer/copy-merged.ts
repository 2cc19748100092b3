/** Layers on disk become one tree: a copy of what a union of them would show. */
import { isErrno, SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { S } from '../spec/linux.ts';
import { copyData } from '../sys/copy-data.ts';
import {
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
import { isDirectory, isRegular, TYPE_MASK } from '../sys/stat.ts';
import { fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr } from '../sys/xattr.ts';
import { bytesOf, quoted } from './entry.ts';
import { closeAll, descriptorOf, type Folder, keepNear, openAll, openFolder, openRoot } from './folders.ts';
import { type MergedEntry, mergedEntries, nameAt, openParts } from './merged.ts';
import { type Owners, shiftXattr } from './owners.ts';
import { isOverlayXattr, type UnionForm } from './whiteout.ts';

export interface CopyOptions {
  /** The form of the whiteouts in the layers. */
  form: UnionForm;
  /** What the ids of the files become; they stay as they are when absent. */
  owners?: Owners | undefined;
}

interface Copy extends CopyOptions {
  /** The first name of each file that has several, and the directory that it is in. */
  links: Map<string, { to: Folder; name: string }>;
}

/** A directory that is being copied. */
interface Step {
  /** Of the layers; none for the root. */
  entry?: MergedEntry;
  /** Its parts, nearest first. */
  pieces: readonly Folder[];
  to: Folder;
  /** All that are open for it. */
  folders: readonly Folder[];
  entries: readonly MergedEntry[];
  next: number;
  path: string;
}

/** Copies all that the layers show together into an empty directory of the same file system: hard links, holes, attributes, devices and
 *  times too, of these what the user may set. The directory's own owner and mode are its maker's. Data is shared where the file system can, and copied by the kernel
 *  where not. No tree is too deep. Yields after each name, so that whoever runs it may stop there.
 *  @param stack directories, nearest first @throws SyscallError, ENOSPC among them; the tree is then the caller's to remove */
export function* copyMerged(stack: readonly string[], target: string, options: CopyOptions): Generator<void> {
  const copy: Copy = { ...options, links: new Map() };
  const steps: Step[] = [];
  const folders = openAll([...stack, target], openRoot);
  try {
    const [to, pieces] = [folders.at(-1)!, folders.slice(0, -1)];
    steps.push({ pieces, to, folders, entries: mergedEntries(pieces, copy.form), next: 0, path: '' });
    for (let step = steps.at(-1); step !== undefined; step = steps.at(-1)) {
      const entry = step.entries[step.next++];
      if (entry === undefined) {
        leave(copy, step);
        steps.pop();
      } else if (isDirectory(entry.status)) {
        steps.push(enter(copy, entry, step));
        keepNear(steps);
      } else copyName(copy, entry, step.to, below(step, entry));
      yield;
    }
  } finally {
    closeAll(folders);
    for (const step of steps) closeAll(step.folders);
  }
}

const below = ({ path }: Step, { name }: MergedEntry) => (path === '' ? name : `${path}/${name}`);

function enter(copy: Copy, entry: MergedEntry, above: Step): Step {
  mkdirat(descriptorOf(above.to), bytesOf(entry.name), 0o700);
  const folders = [...openParts(entry)];
  try {
    const to = openFolder(above.to, entry.name);
    const pieces = [...folders];
    folders.push(to);
    return {
      entry,
      pieces,
      to,
      folders,
      entries: mergedEntries(pieces, copy.form),
      next: 0,
      path: below(above, entry),
    };
  } catch (error) {
    closeAll(folders);
    throw error;
  }
}

/** All that is in it is there. */
function leave(copy: Copy, { entry, pieces, to, folders, path }: Step): void {
  if (entry === undefined) return;
  finish(copy, entry, descriptorOf(pieces[0]!), descriptorOf(to), path);
  closeAll(folders);
}

/** Anything but a directory. */
function copyName(copy: Copy, entry: MergedEntry, to: Folder, path: string): void {
  const { name, status } = entry;
  const first = status.links > 1 ? copy.links.get(status.identity) : undefined;
  if (first !== undefined) {
    link(first, { to, name });
    return;
  }
  if (isRegular(status)) copyFile(copy, entry, descriptorOf(to), path);
  else if (!copySpecial(copy, entry, descriptorOf(to))) return;
  if (status.links > 1) copy.links.set(status.identity, { to, name });
}

/** The directory of the first name may have been left long ago. */
function link(first: { to: Folder; name: string }, second: { to: Folder; name: string }): void {
  const isOpen = first.to.fd !== -1;
  try {
    linkat(descriptorOf(first.to), bytesOf(first.name), descriptorOf(second.to), bytesOf(second.name));
  } finally {
    if (!isOpen) closeAll([first.to]);
  }
}

/** What has no data: a symlink, a device, a fifo. @returns whether it was made */
function copySpecial(copy: Copy, entry: MergedEntry, to: number): boolean {
  const { name, status } = entry;
  const dirfd = descriptorOf(entry.folder);
  const base = bytesOf(name);
  const type = status.mode & TYPE_MASK;
  if (type === S.S_IFLNK) symlinkat(readlinkat(dirfd, base), to, base);
  else if (!permitted(() => mknodat(to, base, type, deviceNumber(status.deviceMajor, status.deviceMinor))))
    return false;
  const { uid, gid } = ownerOf(copy, entry);
  lchownat(to, base, uid, gid);
  if (type !== S.S_IFLNK) fchmodat(to, base, status.mode & 0o7777);
  const [before, after] = [nameAt(dirfd, name), nameAt(to, name)];
  for (const attribute of llistxattr(before)) {
    const value = keptValue(copy, attribute, () => lgetxattr(before, attribute));
    if (value !== undefined) permitted(() => lsetxattr(after, attribute, value));
  }
  lutimensat(to, base, status.mtime, status.mtimeNsec);
  return true;
}

function copyFile(copy: Copy, entry: MergedEntry, to: number, path: string): void {
  const base = bytesOf(entry.name);
  const from = openat(descriptorOf(entry.folder), base, OPEN.RDONLY | OPEN.NOFOLLOW);
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
