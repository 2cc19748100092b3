/** The storage driver vfs: what has changed in a container's tree, which is a copy of its layers. */
import { existsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { type Compared, compareTree } from '../layer/compare.ts';
import type { Part } from '../layer/diff.ts';
import { bytesOf } from '../layer/entry.ts';
import { ownersOutside } from '../layer/owners.ts';
import type { UnionForm } from '../layer/whiteout.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { AT_FDCWD } from '../sys/file.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { type FileStatus, isDirectory, isRegular, isSymlink, statAt } from '../sys/stat.ts';

/** How layers say that something is gone, on disk: without root by attributes that root of a user namespace may set. */
export const unionForm = (): UnionForm => (isHostRoot() ? 'overlay' : 'overlay-user');

export const directoryOf = ({ upper }: RwLayer): string => upper.slice(0, upper.lastIndexOf('/'));
/** Is made when the copy is complete. What changes in the tree changes after it. */
export const stampOf = (layer: RwLayer): string => `${directoryOf(layer)}/copied`;

/** Where all of a container's files are. @throws ERR_TSBOX_CONFLICT when they are not all there yet */
export function wholeTree({ upper }: RwLayer): string {
  if (existsSync(upper)) return upper;
  throw new TsboxError('ERR_TSBOX_CONFLICT', "the container's files are not all copied yet", {
    hint: 'If nobody is making it any more, "tsbox start" copies them, and "tsbox rm" removes it.',
  });
}

/** Everything in a container's tree, beside what it was made of. @throws as {@link wholeTree} */
export function treeChanges(layer: RwLayer): Generator<Compared> {
  const owners = layer.owners && ownersOutside(layer.owners);
  return compareTree(wholeTree(layer), layer.below, { form: unionForm(), owners });
}

/** Bytes of the files that a container has added or changed, as Docker counts them for this driver; none while they are copied. */
export function changedBytes(layer: RwLayer): number {
  if (!existsSync(layer.upper)) return 0;
  const seen = new Set<string>();
  let bytes = 0;
  for (const { kind, status } of treeChanges(layer)) {
    if (kind === '=' || status === undefined || !hasBytes(status) || seen.has(status.identity)) continue;
    if (status.links > 1) seen.add(status.identity);
    bytes += status.size;
  }
  return bytes;
}

const hasBytes = (status: FileStatus) => isRegular(status) || isSymlink(status);
const parentOf = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf('/')));

/** What a commit takes: what differs, and what was touched since the copy was made and looks as before, as an overlay has it. Of a file with
 *  several names all or none. @param exclude what was made for mounts only */
export function partToCommit(layer: RwLayer, exclude: (path: string) => boolean): Part {
  wholeTree(layer);
  const only = new Set<string>();
  const gone: string[] = [];
  const names = new Map<string, string[]>();
  const touched = new Set<string>();
  const mountParents = new Set<string>();
  const since = statAt(AT_FDCWD, stampOf(layer));
  for (const { path, kind, status } of treeChanges(layer)) {
    if (status === undefined) gone.push(path);
    else if (exclude(bytesOf(path).toString())) mountParents.add(parentOf(path));
    else {
      const isTree = isDirectory(status);
      if (!isTree && status.links > 1) names.set(status.identity, [...(names.get(status.identity) ?? []), path]);
      if (kind !== '=') only.add(path);
      else if (isLater(status, since)) (isTree ? touched : only).add(path);
    }
  }
  for (const group of names.values())
    if (group.some((path) => only.has(path))) for (const path of group) only.add(path);
  // A directory in which nothing has happened but that a mount point was made is as before.
  for (const path of touched) if (!mountParents.has(path)) only.add(path);
  for (const path of [...only, ...gone]) for (let at = parentOf(path); at !== ''; at = parentOf(at)) only.add(at);
  return { only, gone };
}

function isLater(status: FileStatus, since: FileStatus): boolean {
  return status.ctime > since.ctime || (status.ctime === since.ctime && status.ctimeNsec > since.ctimeNsec);
}
