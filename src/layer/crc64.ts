/**
 * CRC-64 of ISO 3309 as tar-split uses it: reflected, all ones before and after. The polynomial x^64 + x^4 + x^3 + x + 1 has so
 * few terms that eight bytes go in at once by shifts alone: multiplying by x^64 is multiplying by x^4 + x^3 + x + 1.
 */

/** The state as two 32-bit halves. */
export interface Crc64 {
  low: number;
  high: number;
}

export function newCrc64(): Crc64 {
  return { low: -1, high: -1 };
}

/** Adds the bytes from `start` to `end`. */
export function updateCrc64(crc: Crc64, data: Buffer, start: number, end: number): void {
  let { low, high } = crc;
  let at = start;
  const words = end - ((end - start) % 8);
  if (words > start) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (; at < words; at += 8) {
      // Reflected: bit 0 of `low` is x^63. A shift to the right multiplies; four bits fall out at x^64 and beyond.
      low ^= view.getInt32(at, true);
      high ^= view.getInt32(at + 4, true);
      // What falls out of v*x, v*x^3 and v*x^4, as coefficients of x^64 (bit 31) to x^67 (bit 28).
      const out = (low << 31) ^ (low << 29) ^ (low << 28);
      const folded = out ^ (out >>> 1) ^ (out >>> 3) ^ (out >>> 4);
      const nextLow = low ^ ((low >>> 1) | (high << 31)) ^ ((low >>> 3) | (high << 29)) ^ ((low >>> 4) | (high << 28));
      high = high ^ (high >>> 1) ^ (high >>> 3) ^ (high >>> 4) ^ folded;
      low = nextLow;
    }
  }
  for (; at < end; at++) {
    low ^= data[at]!;
    for (let bit = 0; bit < 8; bit++) {
      const carry = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (carry !== 0) high ^= 0xd8000000;
    }
  }
  crc.low = low;
  crc.high = high;
}

/** The checksum, most significant byte first. */
export function crc64Bytes(crc: Crc64): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeInt32BE(~crc.high, 0);
  bytes.writeInt32BE(~crc.low, 4);
  return bytes;
}
