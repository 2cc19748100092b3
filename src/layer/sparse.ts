/** Where the data of a sparse file belongs. Five ways to write it: old GNU, star, and PAX 0.0, 0.1, 1.0. @see GNU tar manual, appendix D */
import { TsboxError } from '../errors.ts';
import { damaged, type Extent, quoted } from './entry.ts';
import { BLOCK, isStar, parseNumber } from './header.ts';

const MAX_EXTENTS = 1_000_000;

function tooMany(name: string): TsboxError {
  return new TsboxError(
    'ERR_TSBOX_LIMIT',
    `tar entry ${quoted(name)}: a sparse file of more than ${MAX_EXTENTS} parts`,
  );
}

/** Adds `count` pairs of 12-byte numbers, up to the first empty one. */
function readPairs(block: Buffer, at: number, count: number, into: number[], name: string): void {
  for (let pair = at; pair < at + count * 24 && block[pair + 12] !== 0; pair += 24) {
    into.push(
      parseNumber(block, pair, 12, 'sparse offset', name),
      parseNumber(block, pair + 12, 12, 'sparse length', name),
    );
  }
  if (into.length > 2 * MAX_EXTENTS) throw tooMany(name);
}

export interface OldSparse {
  numbers: number[];
  realSize: number;
  /** A block with more pairs follows. */
  more: boolean;
}

/** Where four pairs stand in a header, the mark that more follow, and the real size. */
const OLD_GNU = { pairs: 386, more: 482, realSize: 483 };
const STAR = { pairs: 356, more: 355, realSize: 452 };

/** The sparse part of an old GNU or star header. */
export function oldSparse(block: Buffer, at: number, name: string): OldSparse {
  const place = isStar(block, at) ? STAR : OLD_GNU;
  const numbers: number[] = [];
  readPairs(block, at + place.pairs, 4, numbers, name);
  const realSize = parseNumber(block, at + place.realSize, 12, 'real size', name);
  return { numbers, realSize, more: block[at + place.more] !== 0 };
}

/** A block that goes on with the pairs of such a header. */
export function continueOldSparse(sparse: OldSparse, block: Buffer, at: number, name: string): void {
  readPairs(block, at, 21, sparse.numbers, name);
  sparse.more = block[at + 504] !== 0;
}

/** The map of version 1.0, decimal lines at the front of the data: the count of pairs, then the pairs. */
export interface DataMap {
  numbers: number[];
  /** Numbers still to come; undefined before the count was read. */
  left: number | undefined;
  current: number;
  digits: number;
}

export function newDataMap(): DataMap {
  return { numbers: [], left: undefined, current: 0, digits: 0 };
}

/** Takes one block of the map. @returns whether the map is complete; the rest of its block is padding */
export function readDataMap(map: DataMap, block: Buffer, at: number, name: string): boolean {
  for (let i = at; i < at + BLOCK; i++) {
    const code = block[i]!;
    if (code >= 0x30 && code <= 0x39) {
      map.current = map.current * 10 + code - 0x30;
      map.digits++;
    } else if (code !== 0x0a || map.digits === 0) {
      throw damaged(name, 'the map of the sparse file is not made of numbers');
    } else {
      if (!(map.current <= Number.MAX_SAFE_INTEGER)) throw damaged(name, 'a number of the sparse map is out of range');
      if (map.left !== undefined) map.numbers.push(map.current);
      else if (map.current > MAX_EXTENTS) throw tooMany(name);
      map.left = map.left === undefined ? 2 * map.current : map.left - 1;
      map.current = 0;
      map.digits = 0;
      if (map.left === 0) return true;
    }
  }
  return false;
}

/** The pairs as extents: in order, apart, inside the file, and as long together as the data that is stored.
 *  @throws ERR_TSBOX_DAMAGED */
export function extentsOf(numbers: readonly number[], realSize: number, stored: number, name: string): Extent[] {
  if (realSize < 0) throw damaged(name, 'the size of the sparse file is negative');
  if (numbers.length % 2 !== 0) throw damaged(name, 'the map of the sparse file is not made of pairs');
  if (numbers.length > 2 * MAX_EXTENTS) throw tooMany(name);
  const extents: Extent[] = [];
  let end = 0;
  let total = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset, length] = [numbers[i]!, numbers[i + 1]!];
    if (offset < end || length < 0) throw damaged(name, 'the parts of the sparse file overlap');
    end = offset + length;
    if (end > realSize) throw damaged(name, 'a part of the sparse file lies beyond its end');
    total += length;
    if (length > 0) extents.push({ offset, length });
  }
  if (total !== stored) throw damaged(name, 'the map of the sparse file does not fit its data');
  return extents;
}
