/**
 * What the kernel knows of the union: one node for each file that it has looked up and not yet forgotten. A hundred thousand of them are
 * nothing special, so they are columns of numbers and not objects. A node's number is its row; row 1 is the root.
 */
import { hashOf } from './name-hash.ts';
import { ROOT } from './protocol.ts';

/** Of a node whose last known name is gone, or leads to something else by now: it has a descriptor instead, or is just waiting to be forgotten. */
const NAMELESS = 0;

export interface Nodes {
  /** @returns the node of that name in a directory, 0 for none that is known */
  find(parent: number, name: string): number;
  /** Is there sure to be none whose name has this hash? */
  isUnknown(parent: number, nameHash: number): boolean;
  /** A new node, with nothing looked up yet. @param type S_IFMT bits */
  add(parent: number, name: string, type: number): number;
  /** From now on it is known by another name. */
  rename(node: number, parent: number, name: string): void;
  /** It has no name any more. */
  unname(node: number): void;
  parent(node: number): number;
  name(node: number): string;
  type(node: number): number;
  isNamed(node: number): boolean;
  /** Where it lies: the number of a layer for what is no directory, of a stack of layers for a directory. */
  place(node: number): number;
  setPlace(node: number, place: number): void;
  /** The inode number that is shown, in two halves. */
  inodeLow(node: number): number;
  inodeHigh(node: number): number;
  setInode(node: number, low: number, high: number): void;
  /** The kernel holds it once more. */
  remember(node: number): void;
  /** The kernel holds it `count` times less. @returns whether that was the last time: the row may be used again */
  forget(node: number, count: number): boolean;
  /** How many there are. */
  count(): number;
}

const FIRST_ROWS = 1024;

function grow<T extends Uint32Array | Float64Array | Uint8Array>(column: T, rows: number): T {
  const larger = new (column.constructor as new (length: number) => T)(rows);
  larger.set(column as never);
  return larger;
}

export function createNodes(): Nodes {
  let rows = FIRST_ROWS;
  let parents = new Uint32Array(rows);
  let hashes = new Uint32Array(rows);
  /** The next one in a bucket of the table below; of a free row the next free one. */
  let nexts = new Uint32Array(rows);
  let places = new Uint32Array(rows);
  let lows = new Uint32Array(rows);
  let highs = new Uint32Array(rows);
  let lookups = new Float64Array(rows);
  let types = new Uint8Array(rows);
  const names: string[] = [];
  let buckets = new Uint32Array(rows);
  let used = ROOT + 1;
  let free = 0;
  let count = 1;

  function mix(parent: number, nameHash: number): number {
    const hash = Math.imul(nameHash ^ Math.imul(parent, 0x9e3779b1), 0x85ebca6b);
    return (hash ^ (hash >>> 15)) >>> 0;
  }

  function link(node: number): void {
    const bucket = hashes[node]! & (buckets.length - 1);
    nexts[node] = buckets[bucket]!;
    buckets[bucket] = node;
  }

  function unlink(node: number): void {
    const bucket = hashes[node]! & (buckets.length - 1);
    if (buckets[bucket] === node) {
      buckets[bucket] = nexts[node]!;
      return;
    }
    let before = buckets[bucket]!;
    while (nexts[before] !== node) before = nexts[before]!;
    nexts[before] = nexts[node]!;
  }

  function moreRows(): void {
    rows *= 2;
    parents = grow(parents, rows);
    hashes = grow(hashes, rows);
    nexts = grow(nexts, rows);
    places = grow(places, rows);
    lows = grow(lows, rows);
    highs = grow(highs, rows);
    lookups = grow(lookups, rows);
    types = grow(types, rows);
    buckets = new Uint32Array(rows);
    for (let node = ROOT + 1; node < used; node++) if (parents[node] !== NAMELESS) link(node);
  }

  function setName(node: number, parent: number, name: string): void {
    parents[node] = parent;
    names[node] = name;
    hashes[node] = mix(parent, hashOf(name));
    link(node);
  }

  function unname(node: number): void {
    if (parents[node] === NAMELESS) return;
    unlink(node);
    parents[node] = NAMELESS;
    names[node] = '';
  }

  lookups[ROOT] = 1;
  types[ROOT] = 0o040000 >> 12;
  names[ROOT] = '';

  return {
    find(parent, name) {
      const hash = mix(parent, hashOf(name));
      let node = buckets[hash & (buckets.length - 1)]!;
      while (node !== 0 && !(hashes[node] === hash && parents[node] === parent && names[node] === name)) {
        node = nexts[node]!;
      }
      return node;
    },
    isUnknown(parent, nameHash) {
      const hash = mix(parent, nameHash);
      let node = buckets[hash & (buckets.length - 1)]!;
      while (node !== 0 && hashes[node] !== hash) node = nexts[node]!;
      return node === 0;
    },
    add(parent, name, type) {
      let node = free;
      if (node !== 0) free = nexts[node]!;
      else {
        if (used === rows) moreRows();
        node = used++;
      }
      types[node] = type >>> 12;
      lookups[node] = 0;
      places[node] = 0;
      setName(node, parent, name);
      count++;
      return node;
    },
    rename(node, parent, name) {
      if (parents[node] !== NAMELESS) unlink(node);
      setName(node, parent, name);
    },
    unname,
    parent: (node) => parents[node]!,
    name: (node) => names[node]!,
    type: (node) => types[node]! << 12,
    isNamed: (node) => parents[node] !== NAMELESS || node === ROOT,
    place: (node) => places[node]!,
    setPlace(node, place) {
      places[node] = place;
    },
    inodeLow: (node) => lows[node]!,
    inodeHigh: (node) => highs[node]!,
    setInode(node, low, high) {
      lows[node] = low;
      highs[node] = high;
    },
    remember(node) {
      lookups[node]!++;
    },
    forget(node, times) {
      lookups[node]! -= times;
      if (lookups[node]! > 0 || node === ROOT) return false;
      unname(node);
      nexts[node] = free;
      free = node;
      count--;
      return true;
    },
    count: () => count,
  };
}
