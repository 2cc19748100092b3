/** The names in one directory of one layer. */
import { OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { namesIn } from '../sys/stat.ts';
import { cstring } from './memory.ts';

const DIRECTORY = OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW | OPEN.CLOEXEC;

/** A descriptor with which names can be read: of a directory's own O_PATH descriptor, or of a name in it. @returns -errno */
export const openToRead = (fd: number, name = '.'): number => quickly.openat(fd, cstring(name), DIRECTORY, 0);

/** @param fd as {@link openToRead} gives it; it is closed @returns undefined where they cannot be read */
export function namesOf(fd: number): string[] | undefined {
  if (fd < 0) return undefined;
  try {
    return namesIn(fd);
  } catch {
    return undefined;
  } finally {
    quickly.close(fd);
  }
}
