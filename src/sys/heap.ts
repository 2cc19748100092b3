/** How Node's memory grows. */
import { setFlagsFromString } from 'node:v8';
import { bind } from './ffi.ts';

/** For work that makes much short-lived garbage and keeps little: the space for what is young stays at its first size instead of growing
 *  to 48 MB. Measured on a layer of 70,000 entries: 110 MB of memory at the most instead of 140 to 165, in the same time. */
export function keepYoungSpaceSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

const mallopt = bind('int', 'mallopt', ['int', 'int']);
const M_TRIM_THRESHOLD = -1;
const KEPT = 0x400_0000;

/** For work that takes and gives back much memory in pieces: what is free at the end of the heap stays there up to 64 MB, instead of being
 *  given to the kernel and, filled with zeros, taken back. Peaks stay what they are. @see mallopt(3) */
export function keepFreedMemory(): void {
  mallopt(M_TRIM_THRESHOLD, KEPT);
}
