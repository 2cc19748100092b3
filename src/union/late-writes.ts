/**
 * What the kernel has kept for a while (writeback.ts, or pages that were changed through a mapping) is written here later than it was by
 * who wrote it. To the layer's file system it is a write like others, and ends a file capability: also one that came in between.
 */
import { allocate } from '../sys/quick.ts';
import { MOST_VALUE, raw } from './raw-xattrs.ts';

export const CAPABILITY = 'security.capability';

/** Files that were given a capability while somebody could write to them. */
const given = new Set<number>();
const memory = allocate(MOST_VALUE);

export function noteCapability(node: number): void {
  given.add(node);
}

/** Nobody writes to it any more. */
export function forgetCapability(node: number): void {
  given.delete(node);
}

export const hasLateCapability = (node: number): boolean => given.size > 0 && given.has(node);

/** Writes to a file without taking its capability away. One that a write has to end, the kernel has taken away before.
 *  @returns what `write` does */
export function writeKeepingCapability(fd: number, write: () => number): number {
  const size = raw.get(fd, '', CAPABILITY, memory.address, MOST_VALUE);
  const written = write();
  if (size > 0) raw.set(fd, '', CAPABILITY, memory.address, size);
  return written;
}
