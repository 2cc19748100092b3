/** What a tree has changed in the layers that it is a copy of, as Docker's drivers without a union compare them. */
import { S } from '../spec/linux.ts';
import { AT_FDCWD, close, OPEN, openat } from '../sys/file.ts';
import { isNamespaceRoot } from '../sys/own-ids.ts';
import { type FileStatus, namesIn, statAt, TYPE_MASK } from '../sys/stat.ts';
import { lgetxattr } from '../sys/xattr.ts';
import { bytesOf } from './entry.ts';
import { isDirectory, type MergedEntry, mergedEntries, nameAt, withParts, withRoots } from './merged.ts';
import { type Owners, shiftXattr } from './owners.ts';
import { isGone } from './walk.ts';
import type { UnionForm } from './whiteout.ts';

/** Added, changed, deleted; `=`: as it was, as far as kind, mode, owner, device, size, time and file capabilities tell. */
export type Difference = 'A' | 'C' | 'D' | '=';

export interface Compared {
  /** Below the root, bytes as latin1. */
  path: string;
  kind: Difference;
  /** What it is in the tree; absent of what is deleted. */
  status?: FileStatus;
}

export interface CompareOptions {
  /** The form of the whiteouts in the layers. */
  form: UnionForm;
  /** What the ids of the layers are in the tree; they are the same when absent. */
  owners?: Owners | undefined;
}

/** Everything in the tree, and what is missing in it: a directory before what is in it, but not what was in one that is gone. What vanishes
 *  meanwhile counts as deleted or as not there. @param below directories of the layers, nearest first */
export function* compareTree(tree: string, below: readonly string[], options: CompareOptions): Generator<Compared> {
  const root = openat(AT_FDCWD, tree, OPEN.RDONLY | OPEN.DIRECTORY);
  try {
    yield* withRoots(below, (pieces) => compareIn(options, root, pieces, ''));
  } finally {
    close(root);
  }
}

function* compareIn(options: CompareOptions, tree: number, pieces: readonly number[], at: string): Generator<Compared> {
  const before = new Map(mergedEntries(pieces, options.form).map((entry) => [entry.name, entry]));
  const inside = at === '' ? '' : `${at}/`;
  for (const name of namesIn(tree)) {
    const status = orGone(() => statAt(tree, bytesOf(name)));
    if (status === undefined) continue;
    const old = before.get(name);
    before.delete(name);
    const path = inside + name;
    yield { path, kind: difference(options, tree, status, old), status };
    if (isDirectory(status)) yield* compareInside(options, tree, name, old, path);
  }
  for (const [name, { status }] of before) {
    // No copy of root of a user namespace has one.
    if (isDevice(status) && isNamespaceRoot()) continue;
    yield { path: inside + name, kind: 'D' };
  }
}

function* compareInside(
  options: CompareOptions,
  tree: number,
  name: string,
  old: MergedEntry | undefined,
  path: string,
): Generator<Compared> {
  const fd = orGone(() => openat(tree, bytesOf(name), OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW));
  if (fd === undefined) return;
  try {
    const was = { name, parts: old?.parts ?? [] };
    yield* withParts(was, (pieces) => compareIn(options, fd, pieces, path));
  } finally {
    close(fd);
  }
}

function isDevice({ mode }: FileStatus): boolean {
  return (mode & TYPE_MASK) === S.S_IFCHR || (mode & TYPE_MASK) === S.S_IFBLK;
}

function orGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function difference(
  { owners }: CompareOptions,
  tree: number,
  status: FileStatus,
  old: MergedEntry | undefined,
): Difference {
  if (old === undefined) return 'A';
  if (statusDiffers(status, old.status, owners)) return 'C';
  if ((status.mode & TYPE_MASK) !== S.S_IFREG) return '=';
  const now = orGone(() => capabilityOf(nameAt(tree, old.name)));
  return now === capabilityOf(nameAt(old.dirfd, old.name), owners) ? '=' : 'C';
}

/** A file's capabilities, to be compared. @param owners what the ids in it become */
export function capabilityOf(path: string | Buffer, owners?: Owners): string | undefined {
  const name = 'security.capability';
  const value = lgetxattr(path, name);
  return (value === undefined || owners === undefined ? value : shiftXattr(name, value, owners))?.toString('hex');
}

/** As Docker: size and time of a directory say nothing. @param owners what the ids of `before` are now */
export function statusDiffers(status: FileStatus, before: FileStatus, owners?: Owners): boolean {
  const uid = owners?.uid(before.uid) ?? before.uid;
  const gid = owners?.gid(before.gid) ?? before.gid;
  if (status.mode !== before.mode || status.uid !== uid || status.gid !== gid) return true;
  if (status.deviceMajor !== before.deviceMajor || status.deviceMinor !== before.deviceMinor) return true;
  return !isDirectory(status) && (status.size !== before.size || !isSameTime(status, before));
}

/** Where one of the two has whole seconds only, these count. */
function isSameTime(a: FileStatus, b: FileStatus): boolean {
  return a.mtime === b.mtime && (a.mtimeNsec === b.mtimeNsec || a.mtimeNsec === 0 || b.mtimeNsec === 0);
}
