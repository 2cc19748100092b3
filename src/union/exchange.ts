/** The request in hand and the answer to it: both in memory that the kernel reads and writes directly. */
import { allocate, quickly } from '../sys/quick.ts';
import { isMappable } from './mappable.ts';
import { hashOfBytes } from './name-hash.ts';
import { ATTR_ATTR, ATTR_OUT, ENTRY_ATTR, ENTRY_OUT, IN_HEADER, OUT_HEADER } from './protocol.ts';
import { putAttributes, seen } from './status.ts';
import { isDirectory, layersOf, type Union } from './union.ts';

/** The most that is read or written in one request, bytes. */
export const MOST_DATA = 0x100000;
const PAGE = 0x1000;

/** A WRITE has its data behind 80 bytes; the kernel wants to see room for more. */
export const input = allocate(MOST_DATA + PAGE);
export const output = allocate(MOST_DATA + PAGE);
export const inputWords = new Uint32Array(input.bytes.buffer, 0, 64);
export const outputWords = new Uint32Array(output.bytes.buffer, 0, (MOST_DATA + PAGE) / 4);

/** Address of the body of an answer. */
export const ANSWER = output.address + OUT_HEADER;

/** Returned by what is not answered at all. */
export const NO_ANSWER = Number.MIN_SAFE_INTEGER;

/** Requests that are answered when no other one is there: the two halves of their numbers. */
const waiting: { low: number; high: number; result: number }[] = [];

/** For a handler that has a result, but not yet for whoever asked. @returns {@link NO_ANSWER} */
export function answerWhenIdle(result: number): number {
  waiting.push({ low: inputWords[2]!, high: inputWords[3]!, result });
  return NO_ANSWER;
}

const POLLIN = 1;
const pollfd = allocate(8);

/** Between two requests. One that the kernel keeps for later comes into its queue when one of that kind is answered: so none is left when the
 *  queue is empty. */
export function answerWaiting(device: number): void {
  if (waiting.length === 0) return;
  pollfd.bytes.writeInt32LE(device, 0);
  pollfd.bytes.writeInt16LE(POLLIN, 4);
  if (quickly.poll(pollfd.address, 1, 0) !== 0) return;
  for (const { low, high, result } of waiting.splice(0)) writeAnswer(device, low, high, result);
}

/** Answers the request in hand. @param result bytes behind the header, or -errno */
export function answer(device: number, result: number): void {
  writeAnswer(device, inputWords[2]!, inputWords[3]!, result);
}

function writeAnswer(device: number, low: number, high: number, result: number): void {
  const size = OUT_HEADER + Math.max(result, 0);
  outputWords[0] = size;
  outputWords[1] = result < 0 ? result >>> 0 : 0;
  outputWords[2] = low;
  outputWords[3] = high;
  quickly.write(device, output.address, size);
}

/** A number of 32 bits in the request's body, at a multiple of four. */
export const u32 = (at: number): number => inputWords[(IN_HEADER + at) >>> 2]!;

/** One of 64 bits, exact up to 2^53. */
export const u64 = (at: number): number => u32(at) + u32(at + 4) * 2 ** 32;

/** One of 64 bits with a sign, exact: a file may be that large, and a client may ask for any place in it. */
export function exact64(at: number): number | bigint {
  const high = u32(at + 4);
  if (high < 2 ** 21) return u32(at) + high * 2 ** 32;
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(u32(at)));
}

/** The node that the request is about. */
export const requestNode = (): number => inputWords[4]!;
export const requestOp = (): number => inputWords[1]!;
export const requestLength = (): number => inputWords[0]!;
export const callerUid = (): number => inputWords[6]!;
export const callerGid = (): number => inputWords[7]!;
export const callerPid = (): number => inputWords[8]!;

/** Address of a place in the request's body. */
export const addressOf = (at: number): number => input.address + IN_HEADER + at;

/** A name in the request's body, one character a byte. */
export function nameAt(at: number): string {
  const start = IN_HEADER + at;
  return input.bytes.toString('latin1', start, input.bytes.indexOf(0, start));
}

/** Hash of the name that is the whole body, and its length in bytes. */
export const nameHash = (): number => hashOfBytes(input.bytes, IN_HEADER, requestLength() - 1);
export const nameLength = (): number => requestLength() - 1 - IN_HEADER;

/** How long the kernel may believe what it is told, seconds: nobody else changes the layers. */
const VALID = 1 << 30;
const validity = (node: number): number => (isMappable(node) ? 0 : VALID);

/** A loop, since for so few words a call out of compiled code takes longer. */
function clear(from: number, to: number): void {
  for (let at = from >>> 2; at < to >>> 2; at++) outputWords[at] = 0;
}

function putNode(union: Union, node: number, at: number): void {
  const { nodes } = union;
  putAttributes(outputWords, at, linksOf(union, node));
  outputWords[at / 4] = nodes.inodeLow(node);
  outputWords[at / 4 + 1] = nodes.inodeHigh(node);
}

/** Nobody counts the directories in a merged directory, and `find` knows that 1 means that. */
function linksOf(union: Union, node: number): number {
  return isDirectory(union, node) && layersOf(union, node).length > 1 ? 1 : seen.links();
}

/** `struct fuse_attr_out` of the node that was looked at just now. @returns its size */
export function putAttr(union: Union, node: number): number {
  const at = OUT_HEADER;
  clear(at, at + ATTR_OUT);
  outputWords[at / 4] = validity(node);
  putNode(union, node, at + ATTR_ATTR);
  return ATTR_OUT;
}

/** `struct fuse_entry_out` of the node that was looked at just now; the kernel holds it once more. @returns its size */
export function putEntry(union: Union, node: number, at = OUT_HEADER): number {
  union.nodes.remember(node);
  clear(at, at + ENTRY_OUT);
  outputWords[at / 4] = node;
  outputWords[at / 4 + 4] = VALID;
  outputWords[at / 4 + 6] = validity(node);
  putNode(union, node, at + ENTRY_ATTR);
  return ENTRY_OUT;
}

/** Answers that there is no such name, which the kernel remembers. */
export function putNothing(): number {
  clear(OUT_HEADER, OUT_HEADER + ENTRY_OUT);
  outputWords[OUT_HEADER / 4 + 4] = VALID;
  return ENTRY_OUT;
}

export function putU32(at: number, value: number): void {
  outputWords[(OUT_HEADER + at) >>> 2] = value;
}

/** `struct fuse_write_out` and `struct fuse_getxattr_out`: how much it was, or would be. @returns their size */
export function putSize(size: number): number {
  putU32(0, size);
  putU32(4, 0);
  return 8;
}

/** @param value a number up to 2^53 */
export function putU64(at: number, value: number | bigint): void {
  if (typeof value === 'bigint') {
    putU32(at, Number(value & 0xffffffffn));
    putU32(at + 4, Number(value >> 32n));
    return;
  }
  putU32(at, value % 2 ** 32);
  putU32(at + 4, Math.floor(value / 2 ** 32));
}
