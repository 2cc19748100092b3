/** One 512-byte tar header: v7, ustar and GNU. @see tar(5), POSIX pax "ustar Interchange Format" */
import { damaged, quoted } from './entry.ts';

export const BLOCK = 512;

/** The fields as they stand, before PAX records and GNU long names have their say. */
export interface RawHeader {
  name: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  /** The type's character, NUL in the oldest archives. */
  typeflag: string;
  linkname: string;
  deviceMajor: number;
  deviceMinor: number;
  /** Does it hold a map of a sparse file? */
  sparse: boolean;
}

/** Where the fields are: offset, length. */
export const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  magic: [257, 8],
  uname: [265, 32],
  gname: [297, 32],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  prefix: [345, 155],
} as const;

const SPACE = 0x20;

function sum(block: Buffer, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i += 4) total += block[i]! + block[i + 1]! + block[i + 2]! + block[i + 3]!;
  return total;
}

/** The checksum of a header, for which its own field counts as spaces. */
export function checksum(block: Buffer, at: number): number {
  return sum(block, at, at + 148) + 8 * SPACE + sum(block, at + 156, at + BLOCK);
}

/** As the oldest programs summed: with signed bytes. */
function signedChecksum(block: Buffer, at: number): number {
  let total = 8 * SPACE;
  for (let i = at; i < at + BLOCK; i++) if (i < at + 148 || i >= at + 156) total += block.readInt8(i);
  return total;
}

/** A block of zeros ends an archive. */
export function isZeroBlock(block: Buffer, at: number): boolean {
  return block[at] === 0 && sum(block, at, at + BLOCK) === 0;
}

/** NaN for what is no number. */
function octal(block: Buffer, at: number, end: number): number {
  let i = at;
  while (i < end && (block[i] === SPACE || block[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const digit = block[i]! - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  return i < end && block[i] !== SPACE && block[i] !== 0 ? Number.NaN : value;
}

/** Two's complement, with the first bit as the mark; NaN when it is beyond 2^53. */
function base256(block: Buffer, at: number, end: number): number {
  const negative = (block[at]! & 0x40) !== 0;
  const flip = negative ? 0xff : 0;
  let value = negative ? block[at]! ^ flip : block[at]! & 0x7f;
  for (let i = at + 1; i < end; i++) value = value * 256 + (block[i]! ^ flip);
  if (value > Number.MAX_SAFE_INTEGER) return Number.NaN;
  return negative ? -value - 1 : value;
}

/** An octal or base-256 number. Spaces and NULs may stand around the digits; an empty field is 0.
 *  @throws ERR_TSBOX_DAMAGED */
export function parseNumber(block: Buffer, at: number, length: number, what: string, name: string): number {
  const binary = (block[at]! & 0x80) !== 0;
  const value = binary ? base256(block, at, at + length) : octal(block, at, at + length);
  if (!Number.isNaN(value)) return value;
  throw damaged(name, binary ? `the ${what} is out of range` : `the ${what} is not an octal number`);
}

/** Text up to a NUL or the end of the field, bytes as latin1. */
export function parseText(block: Buffer, at: number, length: number): string {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return end === at ? '' : block.toString('latin1', at, end);
}

function checkHeader(block: Buffer, at: number, previous: string | undefined): void {
  const wanted = octal(block, at + 148, at + 156);
  if (wanted === checksum(block, at) || wanted === signedChecksum(block, at)) return;
  if (previous === undefined) throw damaged(undefined, 'the first header has a wrong checksum: not a tar archive');
  throw damaged(undefined, `the header after ${quoted(previous)} has a wrong checksum`);
}

function matches(block: Buffer, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (block[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** star keeps other things behind the name's prefix, and marks that at the end of the block. */
export function isStar(block: Buffer, at: number): boolean {
  return matches(block, at + 508, 'tar\0');
}

function prefixOf(block: Buffer, at: number): string {
  const length = isStar(block, at) ? 131 : 155;
  const prefix = parseText(block, at + 345, length);
  return prefix === '' ? '' : `${prefix}/`;
}

/** Reads a header. `previous` is the name of the entry before, for errors; undefined at the start of the archive.
 *  @throws ERR_TSBOX_DAMAGED */
export function parseHeader(block: Buffer, at: number, previous: string | undefined): RawHeader {
  checkHeader(block, at, previous);
  const posix = matches(block, at + 257, 'ustar\0');
  const name = (posix ? prefixOf(block, at) : '') + parseText(block, at, 100);
  const typeflag = String.fromCharCode(block[at + 156]!);
  // The oldest archives have no such fields: other bytes may be there.
  const gnu = matches(block, at + 257, 'ustar  \0');
  const device = (posix || gnu) && (typeflag === '3' || typeflag === '4');
  return {
    name,
    mode: parseNumber(block, at + 100, 8, 'mode', name) & 0o7777,
    uid: parseNumber(block, at + 108, 8, 'owner', name),
    gid: parseNumber(block, at + 116, 8, 'group', name),
    size: parseNumber(block, at + 124, 12, 'size', name),
    mtime: parseNumber(block, at + 136, 12, 'time', name),
    typeflag,
    linkname: block[at + 157] === 0 ? '' : parseText(block, at + 157, 100),
    deviceMajor: device ? parseNumber(block, at + 329, 8, 'device number', name) : 0,
    deviceMinor: device ? parseNumber(block, at + 337, 8, 'device number', name) : 0,
    sparse: typeflag === 'S' && (gnu || isStar(block, at)),
  };
}
