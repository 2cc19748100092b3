/** statx(2) and times, for the tests: independent of what the union itself uses. */
import { allocate, quickly } from '../../src/sys/quick.ts';
import { cstring } from '../../src/union/memory.ts';

export interface Status {
  mode: number;
  uid: number;
  gid: number;
  links: number;
  size: number;
  device: string;
  inode: bigint;
  mtime: number;
}

const memory = allocate(256);

/** @returns -errno */
export function statOf(fd: number, path: string, flags: number): Status | number {
  const error = quickly.statx(fd, cstring(path), flags, 0x7ff, memory.address);
  if (error < 0) return error;
  const { bytes } = memory;
  return {
    mode: bytes.readUInt16LE(28),
    uid: bytes.readUInt32LE(20),
    gid: bytes.readUInt32LE(24),
    links: bytes.readUInt32LE(16),
    size: Number(bytes.readBigUInt64LE(40)),
    device: `${bytes.readUInt32LE(128)}:${bytes.readUInt32LE(132)}`,
    inode: bytes.readBigUInt64LE(32),
    mtime: Number(bytes.readBigInt64LE(112)) + bytes.readUInt32LE(120) / 1e9,
  };
}

const times = allocate(32);

/** Times of long ago, or now, or as they are. @returns address of two of them */
export function encodeTimes(n: number, m: number): number {
  for (const [index, value] of [n, m].entries()) {
    times.bytes.writeBigInt64LE(BigInt(1_000_000 + (value % 1000)), index * 16);
    times.bytes.writeBigInt64LE(
      value % 5 === 0 ? 0x3fffffffn : value % 5 === 1 ? 0x3ffffffen : BigInt(value % 1000),
      index * 16 + 8,
    );
  }
  return times.address;
}
