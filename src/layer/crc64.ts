/** CRC-64 of ISO 3309 as tar-split uses it: reflected, all ones before and after. */
import { addToCrc64 } from '../sys/bytes.ts';

/** What has been summed so far. */
export type Crc64 = Buffer;

export function newCrc64(): Crc64 {
  return Buffer.alloc(8, 0xff);
}

/** Begins anew. */
export function resetCrc64(crc: Crc64): void {
  crc.fill(0xff);
}

/** Adds the bytes from `start` to `end`. */
export const updateCrc64: (crc: Crc64, data: Buffer, start: number, end: number) => void = addToCrc64;

/** Writes the checksum, most significant byte first. */
export function writeCrc64(crc: Crc64, into: Buffer): void {
  for (let i = 0; i < 8; i++) into[i] = ~crc[7 - i]!;
}

/** The checksum, most significant byte first. */
export function crc64Bytes(crc: Crc64): Buffer {
  const bytes = Buffer.alloc(8);
  writeCrc64(crc, bytes);
  return bytes;
}
