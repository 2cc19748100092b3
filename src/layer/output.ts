/** Collects the bytes of an archive into large chunks. Each chunk is new, so whoever takes it may keep it. */
import { pread } from '../sys/file.ts';

const CHUNK = 0x40000;

type Seen = (chunk: Buffer, start: number, end: number) => void;

export interface Output {
  put(bytes: Buffer): Generator<Buffer>;
  /** `size` bytes of an open file, zeros after its end; `seen` is told of each piece.
   *  @returns how many of the bytes the file did not have */
  copy(fd: number, size: number, name: Buffer, seen?: Seen): Generator<Buffer, number>;
  /** What is left in hand. */
  rest(): Generator<Buffer>;
}

export function createOutput(): Output {
  let chunk = Buffer.allocUnsafeSlow(CHUNK);
  let filled = 0;

  function take(): Buffer {
    const full = chunk.subarray(0, filled);
    chunk = Buffer.allocUnsafeSlow(CHUNK);
    filled = 0;
    return full;
  }

  return {
    *put(bytes) {
      for (let at = 0; at < bytes.length; ) {
        const copied = bytes.copy(chunk, filled, at);
        filled += copied;
        at += copied;
        if (filled === CHUNK) yield take();
      }
    },
    *copy(fd, size, name, seen) {
      let missing = 0;
      for (let at = 0; at < size; ) {
        const end = Math.min(CHUNK, filled + size - at);
        let got = missing === 0 ? pread(fd, chunk, filled, end, at, name) : 0;
        if (got === 0) {
          got = end - filled;
          chunk.fill(0, filled, end);
          missing += got;
        }
        seen?.(chunk, filled, filled + got);
        filled += got;
        at += got;
        if (filled === CHUNK) yield take();
      }
      return missing;
    },
    *rest() {
      if (filled > 0) yield take();
    },
  };
}
