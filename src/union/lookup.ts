/** From a name to a node: which layers have it, which of them count. */
import { S } from '../spec/linux.ts';
import { quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { isAbsent, isHashAbsent, noteEmpty, noteMiss } from './known-names.ts';
import { isImpure, isMetacopy, isOpaque, type Origin, originInode, redirectOf } from './marks.ts';
import { cstring, EMPTY } from './memory.ts';
import { ROOT } from './protocol.ts';
import { look, seen } from './status.ts';
import { directoryFd, layersOf, linkKey, noteLinks, openPath, topOf, type Union, UPPER } from './union.ts';
import { isWhiteout } from './whiteouts.ts';

/** The node of a name, looked at just now ({@link seen}). @returns -errno where there is none */
export function lookup(union: Union, parent: number, name: string): number {
  const node = union.nodes.find(parent, name);
  if (node !== 0) {
    const fd = directoryFd(union, parent, topOf(union, node));
    if (fd >= 0 && look(fd, cstring(name)) === 0) return node;
    union.nodes.unname(node); // somebody else was at the layers
  }
  return search(union, parent, name);
}

/** Is there sure to be no such name, by what is known? @param hash of the name, whose length is `length` */
export function isNowhere(union: Union, parent: number, hash: number, length: number): boolean {
  if (!union.nodes.isUnknown(parent, hash)) return false;
  const layers = layersOf(union, parent);
  for (let index = 0; index < layers.length; index++) {
    if (!isHashAbsent(parent, layers[index]!, hash, length)) return false;
  }
  return true;
}

/** The node of what has just been made in the upper layer, where nothing is below it: looked at, as {@link lookup} leaves it. */
export function lookupMade(union: Union, parent: number, name: string): number {
  const { nodes, stacks } = union;
  const error = look(directoryFd(union, parent, UPPER), cstring(name));
  if (error < 0) return error;
  const before = nodes.find(parent, name);
  if (before !== 0) nodes.unname(before);
  const node = nodes.add(parent, name, seen.type());
  nodes.setPlace(node, seen.type() === S.S_IFDIR ? stacks.numberOf([UPPER]) : UPPER);
  setInode(union, node, UPPER, seen.inodeLow(), seen.inodeHigh());
  if (seen.type() === S.S_IFDIR) noteEmpty(node, UPPER);
  return node;
}

interface Found {
  type: number;
  layers: number[];
  /** Of a directory that a redirect leads to, by layer. */
  redirects: Map<number, string> | undefined;
}

function search(union: Union, parent: number, name: string): number {
  const found = inLayers(union, parent, name, layersOf(union, parent));
  if (typeof found === 'number') return found;
  const top = found.layers[0]!;
  const fd = directoryFd(union, parent, top);
  if (found.type === S.S_IFDIR) return addDirectory(union, parent, name, found);
  // Nothing was looked at after it. Also where it has one name by now: the others may be gone, and open.
  const several = top === UPPER && seen.links() > 1;
  const same = several || (top === UPPER && union.links.size > 0) ? union.links.get(linkKey()) : undefined;
  if (same !== undefined) return same;
  if (seen.type() === S.S_IFREG && seen.size() > 0 && seen.blocks() === 0 && isMetacopy(union, fd, name)) return E.PERM;
  const node = union.nodes.add(parent, name, found.type);
  union.nodes.setPlace(node, top);
  setInode(union, node, top, seen.inodeLow(), seen.inodeHigh());
  if (several) noteLinks(union, node);
  if (top === UPPER && isImpure(union, parent, fd)) {
    const origin = originInode(union, fd, name);
    const layer = origin && layerWith(union, origin);
    if (origin !== undefined && layer !== undefined) setInode(union, node, layer, origin.low, origin.high);
  }
  return node;
}

/** One of the lower layers on the file system that an origin is from; none where two have its UUID, or where that is zeros, and there are several. */
function layerWith(union: Union, { uuid, onXfs }: Origin): number | undefined {
  const layer = union.sameFileSystem ? UPPER : layerOf(union, uuid);
  return onXfs && layer !== undefined && !union.xfs[layer] ? undefined : layer;
}

function layerOf({ uuids, marks }: Union, uuid: Buffer): number | undefined {
  if (uuid.every((byte) => byte === 0)) return undefined;
  const layers = uuids.flatMap((one, layer) => (layer !== UPPER && one.equals(uuid) ? [layer] : []));
  const [first] = layers;
  return first !== undefined && layers.every((layer) => marks[layer] === marks[first]) ? first : undefined;
}

/** Where layers are on several file systems, the upper bits say on which: the first one's numbers are as they are. */
function setInode(union: Union, node: number, layer: number, low: number, high: number): void {
  union.nodes.setInode(node, low, (high | (union.marks[layer]! << 24)) >>> 0);
}

function addDirectory(union: Union, parent: number, name: string, { layers, redirects }: Found): number {
  const { nodes, stacks } = union;
  const node = nodes.add(parent, name, S.S_IFDIR);
  nodes.setPlace(node, stacks.numberOf(layers));
  if (redirects !== undefined) union.redirects.set(node, redirects);
  // A merged directory has the number of its nearest lower one, which it keeps when the upper one comes.
  const [top, second] = layers as [number, number?];
  const numbered = top === UPPER && second !== undefined ? second : top;
  lookAtDirectory(union, node, numbered);
  setInode(union, node, numbered, seen.inodeLow(), seen.inodeHigh());
  if (numbered !== top) lookAtDirectory(union, node, top);
  return node;
}

function lookAtDirectory(union: Union, node: number, layer: number): void {
  const { nodes } = union;
  if (union.redirects.get(node)?.has(layer) !== true) {
    look(directoryFd(union, nodes.parent(node), layer), cstring(nodes.name(node)));
    return;
  }
  const fd = directoryFd(union, node, layer);
  if (fd >= 0) look(fd, EMPTY);
}

/** @returns what a name is in a directory, or -errno. {@link seen} is of the layer that was looked at last. */
function inLayers(union: Union, parent: number, name: string, layers: readonly number[]): Found | number {
  const found: Found = { type: 0, layers: [], redirects: undefined };
  let moved: string | undefined;
  for (let index = 0; index < layers.length; index++) {
    const layer = layers[index]!;
    const error = moved === undefined ? lookIn(union, parent, layer, name) : lookMoved(union, layer, moved);
    if (error === E.NOENT || error === E.NOTDIR) continue;
    if (error < 0) return error;
    if (moved === undefined && isWhiteout(union, directoryFd(union, parent, layer), name)) break;
    const type = seen.type();
    if (found.type === 0) found.type = type;
    else if (type !== S.S_IFDIR) break;
    found.layers.push(layer);
    if (moved !== undefined) {
      found.redirects ??= new Map();
      found.redirects.set(layer, moved);
    }
    // Also where nothing is below its parent: it may have come from elsewhere.
    if (type !== S.S_IFDIR || layer === union.layers.length - 1) break;
    const [fd, path] = moved === undefined ? [directoryFd(union, parent, layer), name] : [union.layers[layer]!, moved];
    if (isOpaque(union, fd, path)) break;
    const redirect = redirectOf(union, fd, path);
    if (redirect === undefined) continue;
    if (redirect.startsWith('/')) {
      const rest = layersOf(union, ROOT).filter((other) => other > layer);
      return goOn(union, found, rest, redirect);
    }
    const next = layers[index + 1];
    if (next !== undefined) moved = beside(union, parent, next, redirect);
  }
  return found.layers.length === 0 ? E.NOENT : found;
}

/** The rest of a directory that was moved elsewhere: by its path, in all layers below. */
function goOn(union: Union, found: Found, layers: readonly number[], path: string): Found {
  for (const layer of layers) {
    if (lookMoved(union, layer, path) < 0) continue;
    if (seen.type() !== S.S_IFDIR) break;
    found.layers.push(layer);
    found.redirects ??= new Map();
    found.redirects.set(layer, path);
    if (isOpaque(union, union.layers[layer]!, path.slice(1))) break;
    const redirect = redirectOf(union, union.layers[layer]!, path.slice(1));
    if (redirect === undefined) continue;
    const next = redirect.startsWith('/') ? redirect : `${path.slice(0, path.lastIndexOf('/'))}/${redirect}`;
    return goOn(
      union,
      found,
      layers.filter((other) => other > layer),
      next,
    );
  }
  return found;
}

function lookIn(union: Union, parent: number, layer: number, name: string): number {
  if (isAbsent(parent, layer, name)) return E.NOENT;
  const fd = directoryFd(union, parent, layer);
  const error = fd < 0 ? fd : look(fd, cstring(name));
  if (error === E.NOENT) noteMiss(parent, layer, fd);
  return error;
}

function lookMoved(union: Union, layer: number, path: string): number {
  const fd = openPath(union.layers[layer]!, path);
  if (fd < 0) return fd;
  const error = look(fd, cstring('.'));
  quickly.close(fd);
  return error;
}

/** The path of another name beside this directory's, from the root of a layer. */
function beside(union: Union, parent: number, layer: number, name: string): string {
  return `${pathIn(union, parent, layer)}/${name}`;
}

function pathIn(union: Union, node: number, layer: number): string {
  if (node === ROOT) return '';
  const redirect = union.redirects.get(node)?.get(layer);
  return redirect ?? `${pathIn(union, union.nodes.parent(node), layer)}/${union.nodes.name(node)}`;
}

/** Would the name show something of the layers below, if the upper one had it not? */
export function isBelow(union: Union, parent: number, name: string): boolean {
  const below = layersOf(union, parent).filter((layer) => layer !== UPPER);
  for (const layer of below) {
    const error = lookIn(union, parent, layer, name);
    if (error === 0) return !isWhiteout(union, directoryFd(union, parent, layer), name);
  }
  return false;
}

/** Shows the upper directory's own part of a name: what is there, if only to hide. @returns 'nothing', 'whiteout' or 'file' */
export function inUpper(union: Union, fd: number, name: string): 'nothing' | 'whiteout' | 'file' {
  if (look(fd, cstring(name)) < 0) return 'nothing';
  return isWhiteout(union, fd, name) ? 'whiteout' : 'file';
}
