/**
 * Collects the bytes of an archive into large chunks. Their memory is used again: a chunk is good until {@link CHUNKS_KEPT} more have
 * been asked for, so that some may be on their way to a disk or through a compressor while the next ones are filled.
 */
import { pread } from '../sys/file.ts';

const CHUNK = 0x40000;
/** As many as `gzip` (compress.ts) has in hand, twice. */
const CHUNKS_KEPT = 8;

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
  const chunks = [Buffer.allocUnsafeSlow(CHUNK)];
  let taken = 0;
  let chunk = chunks[0]!;
  let filled = 0;

  function take(): Buffer {
    const full = chunk.subarray(0, filled);
    taken++;
    if (chunks.length <= CHUNKS_KEPT) chunks.push(Buffer.allocUnsafeSlow(CHUNK));
    chunk = chunks[taken % chunks.length]!;
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
