/**
 * The union itself: its layers, its nodes, and the way from a node to the file that lies on disk. A path is never a string from the root:
 * each directory is opened by its name in its parent's descriptor, so no length of a path is too long and no symlink is ever followed.
 */
import { S } from '../spec/linux.ts';
import { OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { forgetNames } from './known-names.ts';
import { isXfs, uuidOf } from './marks.ts';
import { cstring, EMPTY } from './memory.ts';
import { createNodes, type Nodes } from './nodes.ts';
import { ROOT } from './protocol.ts';
import { look, seen } from './status.ts';

/** The layer that is written to. The ones below have higher numbers. */
export const UPPER = 0;

/** How names of the layers below are hidden. */
export type WhiteoutForm = 'device' | 'file';

export interface Union {
  /** `/dev/fuse`; -1 before it is mounted. */
  device: number;
  nodes: Nodes;
  /** Roots of the layers, opened with O_PATH; -1 for {@link UPPER} where nothing is written to. */
  layers: readonly number[];
  /** Directory for what is not ready to be seen, on the upper layer's file system; -1 without one. */
  work: number;
  /** How overlayfs' own attributes begin: `trusted.overlay.`, or `user.overlay.`. */
  prefix: string;
  /** The form of the whiteouts that are made; either is understood. */
  whiteouts: WhiteoutForm;
  /** The kernel is to keep what is written also where it could write by itself. */
  writeback: boolean;
  /** For {@link UPPER} and each lower layer: what is put in front of inode numbers, so that file systems do not share them. */
  marks: readonly number[];
  /** Of the file system of each layer. */
  uuids: readonly Buffer[];
  /** Which layers are on XFS: handles there have a form that others have too, with something else in it. */
  xfs: readonly boolean[];
  /** All layers are on one file system: then every origin is from there. */
  sameFileSystem: boolean;
  directories: Directories;
  /** Descriptors that may be spent on files that nobody has open. */
  mostIdle: number;
  /** Descriptors (O_PATH) of nodes without a name. */
  held: Map<number, number>;
  /** Nodes of files in the upper layer that have several names, by inode number; and the other way round. */
  links: Map<string, number>;
  linked: Map<number, string>;
  /** Where lower directories lie that a redirect leads to: paths of `node`, by number of the layer. */
  redirects: Map<number, Map<number, string>>;
  stacks: Stacks;
}

/** Which layers a directory is merged of, the nearest first. The same list is one number. */
export interface Stacks {
  numberOf(layers: readonly number[]): number;
  layersOf(stack: number): readonly number[];
}

export function createStacks(): Stacks {
  const numbers = new Map<string, number>();
  const lists: (readonly number[])[] = [];
  return {
    numberOf(layers) {
      const key = layers.join();
      let number = numbers.get(key);
      if (number === undefined) {
        number = lists.length;
        numbers.set(key, number);
        lists.push([...layers]);
      }
      return number;
    },
    layersOf: (stack) => lists[stack]!,
  };
}

/** Open directories of layers, so that a name takes one system call: those that were used last. */
interface Directories {
  get(node: number, layer: number): number | undefined;
  put(node: number, layer: number, fd: number): void;
  /** Closes those that have not been used for the longest time. Between two requests: within one, each may be in somebody's hands. */
  trim(): void;
  /** Closes one that is not that directory any more. */
  drop(node: number, layer: number): void;
}

const LAYERS = 1024;

function createDirectories(most: number): Directories {
  const open = new Map<number, number>();
  return {
    get(node, layer) {
      const key = node * LAYERS + layer;
      const fd = open.get(key);
      if (fd === undefined) return undefined;
      if (open.size > most / 2) {
        open.delete(key);
        open.set(key, fd);
      }
      return fd;
    },
    put(node, layer, fd) {
      open.set(node * LAYERS + layer, fd);
    },
    trim() {
      while (open.size > most) {
        const [key, oldest] = open.entries().next().value!;
        open.delete(key);
        quickly.close(oldest);
      }
    },
    drop(node, layer) {
      const fd = open.get(node * LAYERS + layer);
      if (fd === undefined) return;
      open.delete(node * LAYERS + layer);
      quickly.close(fd);
    },
  };
}

export interface UnionOptions {
  /** O_PATH descriptors: the upper layer's, -1 for none, and the lower layers', the nearest first. */
  layers: readonly number[];
  work: number;
  prefix: string;
  whiteouts: WhiteoutForm;
  writeback: boolean;
  /** Descriptors that may be spent on directories, and on files that nobody has open. */
  mostDirectories: number;
  mostIdle: number;
}

export function createUnion(options: UnionOptions): Union {
  const { layers, work, prefix, whiteouts, writeback, mostDirectories, mostIdle } = options;
  const fileSystems: number[] = [];
  const marks = layers.map((fd) => {
    if (fd < 0) return 0;
    look(fd, EMPTY);
    const known = fileSystems.indexOf(seen.fileSystem());
    return known === -1 ? fileSystems.push(seen.fileSystem()) - 1 : known;
  });
  const union: Union = {
    device: -1,
    nodes: createNodes(),
    layers,
    work,
    prefix,
    whiteouts,
    writeback,
    marks,
    uuids: layers.map((fd) => (fd < 0 ? Buffer.alloc(0) : uuidOf(fd))),
    xfs: layers.map((fd) => fd >= 0 && isXfs(fd)),
    sameFileSystem: fileSystems.length === 1,
    directories: createDirectories(mostDirectories),
    mostIdle,
    held: new Map(),
    links: new Map(),
    linked: new Map(),
    redirects: new Map(),
    stacks: createStacks(),
  };
  const all = layers.map((_, index) => index).filter((index) => layers[index]! >= 0);
  union.nodes.setPlace(ROOT, union.stacks.numberOf(all));
  look(layers[Math.min(1, layers.length - 1)]!, EMPTY); // a merged directory has the lower one's number
  union.nodes.setInode(ROOT, seen.inodeLow(), seen.inodeHigh());
  return union;
}

export const isDirectory = ({ nodes }: Union, node: number): boolean => nodes.type(node) === S.S_IFDIR;

/** The layers of a directory; of anything else the one that it lies in. */
export function layersOf({ nodes, stacks }: Union, node: number): readonly number[] {
  return stacks.layersOf(nodes.place(node));
}

/** The layer whose attributes a node has. */
export function topOf(union: Union, node: number): number {
  return isDirectory(union, node) ? layersOf(union, node)[0]! : union.nodes.place(node);
}

export const isUpper = (union: Union, node: number): boolean => topOf(union, node) === UPPER;

/** Can it be written to at all? */
export const isWritable = ({ layers }: Union): boolean => layers[UPPER]! >= 0;

/** The descriptor of a directory in one of its layers; it belongs to the union. @returns -errno */
export function directoryFd(union: Union, node: number, layer: number): number {
  const known = knownFd(union, node, layer);
  return known ?? openDirectory(union, node, layer);
}

function knownFd(union: Union, node: number, layer: number): number | undefined {
  if (node === ROOT) return union.layers[layer]!;
  const known = union.directories.get(node, layer) ?? union.held.get(node);
  if (known !== undefined) return known;
  return union.nodes.isNamed(node) ? undefined : E.STALE;
}

const DIRECTORY = OPEN.PATH | OPEN.DIRECTORY | OPEN.NOFOLLOW | OPEN.CLOEXEC;
/** Of a long way so many directories stay open: a tree may be deeper than there are descriptors. */
const KEPT = 64;

/** Opens a directory by its names from the nearest one that is open. Neither a stack of calls nor descriptors run out, however deep it is. */
function openDirectory(union: Union, node: number, layer: number): number {
  const way = [node];
  let fd: number | undefined;
  for (;;) {
    const top = way[way.length - 1]!;
    const redirect = union.redirects.get(top)?.get(layer);
    if (redirect !== undefined) {
      fd = openPath(union.layers[layer]!, redirect);
      if (fd >= 0) union.directories.put(top, layer, fd);
      way.pop();
      break;
    }
    const parent = union.nodes.parent(top);
    fd = knownFd(union, parent, layer);
    if (fd !== undefined) break;
    way.push(parent);
  }
  let passing = -1;
  while (way.length > 0 && fd >= 0) {
    const next = way.pop()!;
    const opened = quickly.openat(fd, cstring(union.nodes.name(next)), DIRECTORY, 0);
    if (passing >= 0) quickly.close(passing);
    const stays = way.length < KEPT;
    if (opened >= 0 && stays) union.directories.put(next, layer, opened);
    passing = stays ? -1 : opened;
    fd = opened;
  }
  return fd;
}

/** A directory of a layer by its path from the layer's root, one name after the other: no symlink leads out of it. */
export function openPath(root: number, path: string): number {
  let fd = root;
  for (const name of path.split('/')) {
    if (name === '') continue;
    const next = name === '..' ? E.INVAL : quickly.openat(fd, cstring(name), DIRECTORY, 0);
    if (fd !== root) quickly.close(fd);
    if (next < 0) return next;
    fd = next;
  }
  return fd === root ? quickly.openat(root, cstring('.'), DIRECTORY, 0) : fd;
}

/** A file on disk: a name in a directory, or with {@link EMPTY} the descriptor itself. */
export interface Real {
  fd: number;
  /** Address of a C string, good for the next few calls. */
  name: number;
  /** The same as text. */
  text: string;
}

const real: Real = { fd: -1, name: EMPTY, text: '' };

/** Where the node's attributes and data are. Good until the next call of this function.
 *  @returns with -errno as the descriptor where it cannot be found */
export function realOf(union: Union, node: number): Real {
  const held = node === ROOT ? union.layers[topOf(union, node)] : union.held.get(node);
  real.text = '';
  real.name = EMPTY;
  if (held !== undefined) real.fd = held;
  else if (isDirectory(union, node)) real.fd = directoryFd(union, node, topOf(union, node));
  else if (!union.nodes.isNamed(node)) real.fd = E.STALE;
  else {
    real.fd = directoryFd(union, union.nodes.parent(node), union.nodes.place(node));
    real.text = union.nodes.name(node);
    real.name = cstring(real.text);
  }
  return real;
}

/** Looks at the node's file. @returns 0 or -errno */
export function lookAt(union: Union, node: number): number {
  const { fd, name } = realOf(union, node);
  return fd < 0 ? fd : look(fd, name);
}

/** Is this the name by which the node is known? A file may have others. */
export const isKnownAs = ({ nodes }: Union, node: number, parent: number, name: string): boolean =>
  nodes.parent(node) === parent && nodes.name(node) === name;

/** How what has no name is opened: as it is, whatever it is. */
export const HELD = OPEN.PATH | OPEN.NOFOLLOW | OPEN.CLOEXEC;

/** Keeps a node whose name goes away reachable: by a descriptor of its own, if the kernel still has it. */
export function hold(union: Union, node: number): void {
  if (union.held.has(node)) return;
  const { fd, text } = realOf(union, node);
  if (fd < 0) return;
  const flags = text === '' ? DIRECTORY : HELD;
  const own = quickly.openat(fd, cstring(text === '' ? '.' : text), flags, 0);
  if (own >= 0) union.held.set(node, own);
}

/** Its name will do again. */
export function letGo(union: Union, node: number): void {
  const held = union.held.get(node);
  if (held === undefined) return;
  quickly.close(held);
  union.held.delete(node);
}

/** The kernel holds the node `times` times less. When it has forgotten it nothing of it stays. @returns whether it has */
export function forget(union: Union, node: number, times: number): boolean {
  if (!union.nodes.forget(node, times)) return false;
  letGo(union, node);
  if (isDirectory(union, node)) {
    for (const layer of layersOf(union, node)) {
      union.directories.drop(node, layer);
      forgetNames(node, layer);
    }
  }
  union.redirects.delete(node);
  const key = union.linked.get(node);
  if (key === undefined) return true;
  union.linked.delete(node);
  union.links.delete(key);
  return true;
}

/** Notes that the file, looked at just now, has several names: they all lead to this node. */
export function noteLinks(union: Union, node: number): void {
  if (union.linked.has(node)) return;
  const key = linkKey();
  union.links.set(key, node);
  union.linked.set(node, key);
}

export const linkKey = (): string => `${seen.inodeHigh()}:${seen.inodeLow()}`;

/** `unlinkat`, and the other calls on one name of a directory, take the name as text here. */
export const removeName = (fd: number, name: string, flags = 0): number => quickly.unlinkat(fd, cstring(name), flags);
