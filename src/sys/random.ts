/** Randomness without `node:crypto`, whose loading costs a short run 3.5 ms. @see random(4) */
import { closeSync, openSync, readSync } from 'node:fs';

const POOL_BYTES = 256;
let pool = Buffer.alloc(0);

/** Fresh bytes from the kernel's generator; each is given out once. At most 256 at a time. */
export function randomBytes(count: number): Buffer {
  if (pool.length < count) {
    const fresh = Buffer.alloc(POOL_BYTES);
    const fd = openSync('/dev/urandom', 'r');
    try {
      for (let at = 0; at < fresh.length; ) at += readSync(fd, fresh, at, fresh.length - at, null);
    } finally {
      closeSync(fd);
    }
    pool = fresh;
  }
  const taken = pool.subarray(0, count);
  pool = pool.subarray(count);
  return taken;
}

/** `bytes` random bytes as lower case hexadecimal digits. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
