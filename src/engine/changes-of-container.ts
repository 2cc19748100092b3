/** `diff`: what a container has changed in the files of its image, as Docker compares them. Read from its own layer; nothing is mounted. */
import { readdirSync } from 'node:fs';
import { capabilityOf, statusDiffers } from '../layer/compare.ts';
import { bytesOf } from '../layer/entry.ts';
import { ownersOutside } from '../layer/owners.ts';
import { walkTree } from '../layer/walk.ts';
import { isWhiteout } from '../layer/whiteout.ts';
import { checkThere, requireContainer } from '../store/containers.ts';
import { type Child, childOf, type Piece, rootPieces, type Stack } from '../store/lookup.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import type { Store } from '../store/store.ts';
import { AT_FDCWD } from '../sys/file.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { type FileStatus, isDirectory, statAt } from '../sys/stat.ts';
import { lgetxattr } from '../sys/xattr.ts';
import type { Engine } from './open.ts';
import { treeChanges, unionForm } from './whole-tree.ts';

export interface Change {
  /** Added, changed, deleted. */
  kind: 'A' | 'C' | 'D';
  /** Absolute, in the container; bytes. */
  path: Buffer;
}

type Kinds = Map<string, Change['kind']>;

/** All changes in the order of their paths, a directory before what is in it. A directory of the image is changed when something in it is;
 *  what is in a directory that is gone is not told. @throws ERR_TSBOX_NOT_FOUND, SyscallError */
export function containerChanges({ store }: Engine, name: string): Change[] {
  const { ID: id } = requireContainer(store, name);
  const found = changesWhileThere(store, id, name);
  for (const path of [...found.keys()]) {
    for (let at = parent(path); at !== '' && !found.has(at); at = parent(at)) found.set(at, 'C');
  }
  return [...found]
    .map(([path, kind]) => ({ kind, path, order: path.replaceAll('/', '\0') }))
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .map(({ kind, path }) => ({ kind, path: bytesOf(`/${path}`) }));
}

function changesWhileThere(store: Store, id: string, name: string): Kinds {
  try {
    return changesOf(rwLayer(store, id));
  } finally {
    checkThere(store, id, name);
  }
}

const parent = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf('/')));
const base = (path: string) => path.slice(path.lastIndexOf('/') + 1);

function changesOf(layer: RwLayer): Kinds {
  if (layer.whole === true) {
    return new Map([...treeChanges(layer)].flatMap(({ path, kind }) => (kind === '=' ? [] : [[path, kind]])));
  }
  const { below } = layer;
  const form = unionForm();
  const found: Kinds = new Map();
  /** Of the directories that were met: what the layers below have there. */
  const pieces = new Map<string, readonly Piece[]>([['', rootPieces(below)]]);
  for (const { path, status } of walkTree(layer.upper, () => true)) {
    const child = childOf(below, pieces.get(parent(path)) ?? [], base(path));
    if (isWhiteout(status, form, (name) => lgetxattr(host(layer, path), name))) {
      if (child !== undefined) found.set(path, 'D');
      continue;
    }
    if (child === undefined) found.set(path, 'A');
    else if (differs(layer, path, status, child)) found.set(path, 'C');
    if (!isDirectory(status)) continue;
    pieces.set(path, child?.pieces ?? []);
    if (child !== undefined && isOpaque(layer, path)) hideBelow(below, child, layer, path, found);
  }
  return found;
}

const host = (layer: RwLayer, path: string) => Buffer.concat([Buffer.from(`${layer.upper}/`), bytesOf(path)]);

function isOpaque(layer: RwLayer, path: string): boolean {
  const name = `${isHostRoot() ? 'trusted' : 'user'}.overlay.opaque`;
  return lgetxattr(host(layer, path), name)?.toString() === 'y';
}

/** What the layers below have in an opaque directory is gone, unless the container has something of that name. */
function hideBelow(below: Stack, { pieces }: Child, layer: RwLayer, path: string, found: Kinds): void {
  const own = new Set(readdirSync(host(layer, path), 'latin1'));
  for (const name of new Set(pieces.flatMap((piece) => readdirSync(bytesOf(piece.host), 'latin1')))) {
    if (!own.has(name) && childOf(below, pieces, name) !== undefined) found.set(`${path}/${name}`, 'D');
  }
}

function differs(layer: RwLayer, path: string, status: FileStatus, { found }: Child): boolean {
  const owners = layer.owners && ownersOutside(layer.owners);
  const before = bytesOf(found.host);
  if (statusDiffers(status, statAt(AT_FDCWD, before), owners)) return true;
  return capabilityOf(host(layer, path)) !== capabilityOf(before, owners);
}
