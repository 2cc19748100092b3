/** What a tree has changed in the layers that it is a copy of, as Docker's drivers without a union compare them. */
import { S } from '../spec/linux.ts';
import { isNamespaceRoot } from '../sys/own-ids.ts';
import { type FileStatus, isDirectory, namesIn, statAt, TYPE_MASK } from '../sys/stat.ts';
import { lgetxattr } from '../sys/xattr.ts';
import { bytesOf } from './entry.ts';
import { closeAll, descriptorOf, type Folder, keepNear, openAll, openFolder, openRoot } from './folders.ts';
import { type MergedEntry, mergedEntries, nameAt, openParts } from './merged.ts';
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

/** A directory that is being compared. */
interface Step {
  tree: Folder;
  /** What the layers have in it. */
  before: Map<string, MergedEntry>;
  /** All that are open for it. */
  folders: readonly Folder[];
  names: readonly string[];
  next: number;
  path: string;
}

/** Everything in the tree, and what is missing in it: a directory before what is in it, but not what was in one that is gone. What vanishes
 *  meanwhile counts as deleted or as not there. No tree is too deep. @param below directories of the layers, nearest first */
export function* compareTree(tree: string, below: readonly string[], options: CompareOptions): Generator<Compared> {
  const roots = openAll([tree, ...below], openRoot);
  const steps: Step[] = [];
  try {
    steps.push(stepInto(options, roots, ''));
    for (let step = steps.at(-1); step !== undefined; step = steps.at(-1)) {
      const name = step.names[step.next++];
      if (name === undefined) {
        yield* missing(step);
        closeAll(step.folders);
        steps.pop();
        continue;
      }
      const found = look(options, step, name);
      if (found === undefined) continue;
      yield found.compared;
      if (!isDirectory(found.compared.status)) continue;
      const inside = enter(options, step, name, found.old);
      if (inside !== undefined) steps.push(inside);
      keepNear(steps);
    }
  } finally {
    closeAll(roots);
    for (const { folders } of steps) closeAll(folders);
  }
}

/** @param folders the tree's, and behind it the layers' */
function stepInto({ form }: CompareOptions, folders: readonly Folder[], path: string): Step {
  const [tree, ...pieces] = folders as [Folder, ...Folder[]];
  const before = new Map(mergedEntries(pieces, form).map((entry) => [entry.name, entry]));
  return { tree, before, folders, names: namesIn(descriptorOf(tree)), next: 0, path };
}

const inside = ({ path }: Step, name: string) => (path === '' ? name : `${path}/${name}`);

/** @returns undefined for what has just vanished */
function look(options: CompareOptions, step: Step, name: string) {
  const { tree, before } = step;
  const status = orGone(() => statAt(descriptorOf(tree), bytesOf(name)));
  if (status === undefined) return undefined;
  const old = before.get(name);
  before.delete(name);
  return { compared: { path: inside(step, name), kind: difference(options, tree, status, old), status }, old };
}

function* missing(step: Step): Generator<Compared> {
  for (const [name, { status }] of step.before) {
    // No copy of root of a user namespace has one.
    if (isDevice(status) && isNamespaceRoot()) continue;
    yield { path: inside(step, name), kind: 'D' };
  }
}

/** @returns undefined when it has just vanished */
function enter(options: CompareOptions, step: Step, name: string, old: MergedEntry | undefined): Step | undefined {
  const tree = orGone(() => openFolder(step.tree, name));
  if (tree === undefined) return undefined;
  const folders = [tree];
  try {
    folders.push(...openParts({ name, parts: old?.parts ?? [] }));
    return stepInto(options, folders, inside(step, name));
  } catch (error) {
    closeAll(folders);
    throw error;
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
  tree: Folder,
  status: FileStatus,
  old: MergedEntry | undefined,
): Difference {
  if (old === undefined) return 'A';
  if (statusDiffers(status, old.status, owners)) return 'C';
  const now = orGone(() => capabilityOf(nameAt(descriptorOf(tree), old.name)));
  return now === capabilityOf(nameAt(descriptorOf(old.folder), old.name), owners) ? '=' : 'C';
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
