/**
 * Where in a directory an entry stands. Nobody here knows who is reading it, so the place follows from the name: entries come in the order of a
 * hash, which is their offset. Whoever goes on at an offset finds every name that was not there yet, and none twice, whatever came and went
 * meanwhile; as in ext4. @see ext4's htree
 */

export interface Entry {
  name: string;
  /** DT_DIR and the like. */
  type: number;
  inodeLow: number;
  inodeHigh: number;
}

export interface Listing {
  entries: readonly Entry[];
  /** Of each entry, ascending: what the next one who goes on behind it says. Below 2^31 but for the last few of many, for programs of 32 bits. */
  offsets: Float64Array;
}

/** Those that somebody is reading, by node, the newest at the end. What is not kept is read anew. */
const kept = new Map<number, Listing>();
const MOST_KEPT = 8;

/** @param first those that come before all others */
export function keepListing(node: number, first: readonly Entry[], entries: readonly Entry[]): Listing {
  // A number for each, whose upper part is the hash: numbers are sorted by what they are, without a call for each pair.
  const order = Float64Array.from(entries, ({ name }, index) => hashOf(name) * AT + index).sort();
  const offsets = new Float64Array(first.length + entries.length);
  const sorted = [...first];
  for (let index = 0; index < first.length; index++) offsets[index] = index + 1;
  let last = first.length;
  for (const number of order) {
    // Two names with one hash: the second has the next place.
    last = Math.max(last + 1, Math.floor(number / AT));
    offsets[sorted.length] = last;
    sorted.push(entries[number % AT]!);
  }
  const listing = { entries: sorted, offsets };
  kept.delete(node);
  kept.set(node, listing);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!);
  return listing;
}

/** More entries than a directory can have. */
const AT = 2 ** 22;

/** FNV-1a. @returns 31 bits */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 16)) >>> 1;
}

export const listingOf = (node: number): Listing | undefined => kept.get(node);

/** It was read to its end, or its node's number is another one's. */
export function forgetListing(node: number): void {
  kept.delete(node);
}

/** @returns the index of the first entry whose offset is larger */
export function placeAfter(offsets: Float64Array, offset: number): number {
  let [low, high] = [0, offsets.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (offsets[middle]! <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
