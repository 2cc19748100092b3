/** Loops over many bytes, in C: native-bindings/library/bytes.c. */
import { bind, OWN } from './ffi.ts';

const crc64 = bind('void', 'tsbox_crc64', ['void *', 'const void *', 'size_t', 'size_t'], OWN);
const base64 = bind('size_t', 'tsbox_base64', ['void *', 'size_t', 'const void *', 'size_t'], OWN);

/** Adds `data` from `start` to `end` to a CRC-64 of ISO 3309: eight bytes, in the machine's order, all ones at first. */
export function addToCrc64(crc: Buffer, data: Buffer, start: number, end: number): void {
  crc64(crc, data, start, end);
}

/** Writes the first `length` bytes of `data` in base64 into a buffer that has room for them. @returns where the text ends */
export function writeBase64(into: Buffer, at: number, data: Buffer, length: number): number {
  return base64(into, at, data, length);
}
