/** Times for utimensat(2). */
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { EMPTY } from './memory.ts';
import { seen, type Time } from './status.ts';

const memory = allocate(32);
const words = new Uint32Array(memory.bytes.buffer, 0, 8);

const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
export const NOW: Time = [0, 0, UTIME_NOW];
export const OMIT: Time = [0, 0, UTIME_OMIT];

/** @returns 0 or -errno */
export function setTimes(fd: number, name: number, atime: Time, mtime: Time): number {
  [words[0], words[1], words[2], words[3]] = [atime[0], atime[1], atime[2], 0];
  [words[4], words[5], words[6], words[7]] = [mtime[0], mtime[1], mtime[2], 0];
  const flags = AT_SYMLINK_NOFOLLOW | (name === EMPTY ? AT_EMPTY_PATH : 0);
  return quickly.utimensat(fd, name, memory.address, flags);
}

/** The times of the file that was looked at last. */
export const seenTimes = (): readonly [atime: Time, mtime: Time] => [seen.atime(), seen.mtime()];
