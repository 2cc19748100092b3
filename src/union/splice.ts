/**
 * A large READ without a copy of the data in this process: the pages of the file go into a pipe, behind the header of the answer, and
 * from there into the kernel's answer. The pages are lent, not given away: a file of a layer stays in the page cache.
 * @see splice(2), vmsplice(2)
 */
import { OPEN } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { inputWords, NO_ANSWER } from './exchange.ts';
import { OUT_HEADER } from './protocol.ts';

const PAGE = 0x1000;
/** What the pipe has room for: as much as everybody may have. The kernel reads ahead by a quarter of that and less. */
const PIPE = 0x100000;
/** A place for the header, and one because data need not begin with a page. */
const MOST = PIPE - 2 * PAGE;
/** Below this, three system calls more cost more than the copy does. */
const LEAST = 0x10000;

const F_SETPIPE_SZ = 1031;
const SPLICE_F_NONBLOCK = 2;

const ends = allocate(8);
const header = allocate(OUT_HEADER);
/** `struct iovec`. */
const vector = allocate(16);
const offset = allocate(8);
vector.bytes.writeBigUInt64LE(BigInt(header.address), 0);
vector.bytes.writeBigUInt64LE(BigInt(OUT_HEADER), 8);
const headerWords = new Uint32Array(header.bytes.buffer);
const offsetWords = new Uint32Array(offset.bytes.buffer);

/** The pipe's two ends; -1 when there is none. */
let [from, to] = [-1, -1];
let isRefused = false;

/** Answers the READ in hand. @param low of the offset, lower half @param high upper half
 *  @returns {@link NO_ANSWER}; `undefined` where it must be done in another way */
export function spliceRead(device: number, fd: number, low: number, high: number, size: number): number | undefined {
  if (size < LEAST || size > MOST || isRefused || !hasPipe()) return undefined;
  headerWords[2] = inputWords[2]!;
  headerWords[3] = inputWords[3]!;
  offsetWords[0] = low;
  offsetWords[1] = high;
  if (quickly.vmsplice(to, vector.address, 1, 0) !== OUT_HEADER) return giveUp();
  let length = 0;
  while (length < size) {
    const more = quickly.splice(fd, offset.address, to, 0, size - length, SPLICE_F_NONBLOCK);
    // A short answer would be the end of the file.
    if (more < 0) return giveUp(more);
    if (more === 0) break;
    length += more;
  }
  // The pipe has the page of the header, not a copy.
  headerWords[0] = OUT_HEADER + length;
  return quickly.splice(from, 0, device, 0, OUT_HEADER + length, 0) < 0 ? giveUp() : NO_ANSWER;
}

function hasPipe(): boolean {
  if (to >= 0) return true;
  if (quickly.pipe2(ends.address, OPEN.CLOEXEC) < 0) return false;
  [from, to] = [ends.bytes.readInt32LE(0), ends.bytes.readInt32LE(4)];
  if (quickly.fcntl(to, F_SETPIPE_SZ, PIPE) >= PIPE) return true;
  isRefused = true; // his pipes have no room left
  giveUp();
  return false;
}

/** Whatever is in the pipe by now goes with it. */
function giveUp(error = 0): undefined {
  if (error === E.INVAL) isRefused = true;
  quickly.close(from);
  quickly.close(to);
  from = -1;
  to = -1;
}
