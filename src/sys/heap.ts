/** How Node's memory grows. */
import { setFlagsFromString } from 'node:v8';

/** For work that makes much short-lived garbage and keeps little: the space for what is young stays at its first size instead of growing
 *  to 48 MB. Measured on a layer of 70,000 entries: 110 MB of memory at the most instead of 140 to 165, in the same time. */
export function keepYoungSpaceSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
