/**
 * What the kernel has kept for a while (writeback.ts, or pages that were changed through a mapping) is written here later than it was by
 * who wrote it. To the layer's file system it is a write like others: it has a time, and ends a file capability, also one that came in between.
 */
import { allocate } from '../sys/quick.ts';
import { EMPTY } from './memory.ts';
import { MOST_VALUE, raw } from './raw-xattrs.ts';
import { look, seen } from './status.ts';
import { OMIT, setTimes } from './times.ts';
import { isWritebackUsed } from './writeback.ts';

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

/** Writes what the kernel has kept, and changes nothing else. A capability that a write has to end, the kernel has taken away before; a new
 *  mtime it brings itself, and it brings none where the file was written to in the tick of the clock in which it was made.
 *  @returns what `write` does */
export function writeLate(node: number, fd: number, write: () => number): number {
  const hasCapability = given.size > 0 && given.has(node);
  const size = hasCapability ? raw.get(fd, '', CAPABILITY, memory.address, MOST_VALUE) : 0;
  const isKept = isWritebackUsed() && look(fd, EMPTY) === 0;
  const mtime = seen.mtime();
  const written = write();
  if (isKept && written >= 0) setTimes(fd, EMPTY, OMIT, mtime);
  if (size > 0) raw.set(fd, '', CAPABILITY, memory.address, size);
  return written;
}
