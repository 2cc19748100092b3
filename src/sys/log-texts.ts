/** Texts of many log lines at once, in C: native-bindings/library/logs.c. */
import { bind, OWN } from './ffi.ts';

const texts = bind('size_t', 'tsbox_log_texts', ['void *', 'const void *', 'void *', 'size_t', 'void *'], OWN);

const from = Buffer.alloc(8);
const stream = Buffer.alloc(4);

/** Writes what whole lines of a json-file log say, from `start` on, to `into`, which must be as long as `lines`; as far as they are of one
 *  stream and of the usual form. */
export function logTexts(
  into: Buffer,
  lines: Buffer,
  start: number,
): { end: number; written: number; isError: boolean } {
  from.writeBigUInt64LE(BigInt(start));
  const written = Number(texts(into, lines, from, lines.length, stream));
  return { end: Number(from.readBigUInt64LE()), written, isError: stream.readInt32LE() === 1 };
}
