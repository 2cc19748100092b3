/**
 * Which names a layer's directories have. Most of what is looked for is not there: compilers and shells try one directory after the other,
 * and each layer would be asked each time. So after some misses the names of a directory are read once. A lower directory does not change;
 * whoever makes a name in an upper one says so here. Names are kept as hashes. One that is gone may stay known, and one may have the hash of
 * another: it is only asked for once more.
 */
import { hashOf } from './name-hash.ts';
import { namesOf, openToRead } from './names.ts';

/** So many misses in a directory say that there will be more. */
const MISSES = 8;
/** Directories with more names are asked each time. */
const MOST_NAMES = 4096;
/** Of all directories together. */
const MOST_KEPT = 100_000;
const LAYERS = 1024;

/** Hashes of names, or how often a name was not there. */
const known = new Map<number, Set<number> | number>();
let kept = 0;

/** Longer ones are refused by file systems, not missed. */
const NAME_MAX = 255;

/** Is the name sure not to be in a directory of a layer? */
export function isAbsent(node: number, layer: number, name: string): boolean {
  return isHashAbsent(node, layer, hashOf(name), name.length);
}

/** The same of a name with this hash and this length. */
export function isHashAbsent(node: number, layer: number, hash: number, length: number): boolean {
  const names = known.get(node * LAYERS + layer);
  return typeof names === 'object' && !names.has(hash) && length <= NAME_MAX;
}

/** A name is about to be made in a directory. */
export function noteName(node: number, layer: number, name: string): void {
  const names = known.get(node * LAYERS + layer);
  const hash = hashOf(name);
  if (typeof names !== 'object' || names.has(hash)) return;
  if (names.size < MOST_NAMES) {
    names.add(hash);
    kept++;
    return;
  }
  forgetNames(node, layer);
  known.set(node * LAYERS + layer, MISSES);
}

/** A directory was made just now: it has no names. */
export function noteEmpty(node: number, layer: number): void {
  forgetNames(node, layer);
  keep(node * LAYERS + layer, []);
}

/** A name was not there. @param fd the directory's, O_PATH */
export function noteMiss(node: number, layer: number, fd: number): void {
  const key = node * LAYERS + layer;
  const misses = known.get(key) ?? 0;
  if (typeof misses === 'object') return;
  known.set(key, misses + 1);
  if (misses + 1 !== MISSES) return;
  const names = namesOf(openToRead(fd));
  if (names === undefined || names.length > MOST_NAMES) return;
  keep(key, names);
}

function keep(key: number, names: readonly string[]): void {
  if (kept + names.length >= MOST_KEPT) {
    known.clear();
    kept = 0;
  }
  const hashes = new Set(names.map(hashOf));
  known.set(key, hashes);
  kept += hashes.size + 1;
}

/** The kernel has forgotten the directory. */
export function forgetNames(node: number, layer: number): void {
  const key = node * LAYERS + layer;
  const names = known.get(key);
  if (names === undefined) return;
  known.delete(key);
  if (typeof names === 'object') kept -= names.size + 1;
}
