/** The data of a file, holes included. */
import { allocate, type Memory, quickly } from './quick.ts';

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const [EINTR, EIO, ENXIO, EFBIG, ENOSPC] = [-4, -5, -6, -27, -28];
const FICLONE = 0x40049409;
const MOST = 0x40000000;

/** Copies `size` bytes between two open files; where one has holes the other gets them. The new file is empty.
 *  @returns 0 or -errno: EFBIG from 2^53 on, for which places are not exact here */
export function copyData(from: number, to: number, size: number): number {
  if (!Number.isSafeInteger(size)) return EFBIG;
  if (quickly.ioctl(to, FICLONE, from) === 0) return 0;
  let at = 0;
  while (at < size) {
    let start = Number(quickly.lseek(from, at, SEEK_DATA));
    if (start === ENXIO) break;
    if (start < 0) start = at; // a file system that knows no holes
    const hole = Number(quickly.lseek(from, start, SEEK_HOLE));
    const end = hole < 0 ? size : Math.min(hole, size);
    const error = copyRange(from, to, start, end);
    if (error < 0) return error;
    at = end;
  }
  return quickly.ftruncate(to, size);
}

let inKernel = true;

function copyRange(from: number, to: number, start: number, end: number): number {
  quickly.lseek(from, start, 0);
  quickly.lseek(to, start, 0);
  for (let at = start; at < end; ) {
    const wanted = Math.min(end - at, MOST);
    const copied = inKernel ? quickly.copyFileRange(from, 0, to, 0, wanted, 0) : throughHere(from, to, wanted);
    if (copied === EINTR) continue;
    if (copied < 0 && inKernel && copied !== ENOSPC && copied !== EIO) {
      inKernel = false; // other file systems, before 5.19
      continue;
    }
    if (copied < 0) return copied;
    if (copied === 0) break; // it became shorter meanwhile
    at += copied;
  }
  return 0;
}

const BUFFER = 0x10_0000;
let buffer: Memory | undefined;

function throughHere(from: number, to: number, wanted: number): number {
  buffer ??= allocate(BUFFER);
  const got = quickly.read(from, buffer.address, Math.min(wanted, buffer.bytes.length));
  for (let done = 0; done < got; ) {
    const written = quickly.write(to, buffer.address + done, got - done);
    if (written < 0 && written !== EINTR) return written;
    if (written > 0) done += written;
  }
  return got;
}
