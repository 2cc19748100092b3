/** Paths in a container by a descriptor of its root: whoever swaps symlinks meanwhile leads to another place of the container, never out. */
import { posix } from 'node:path';
import { isErrno } from '../errors.ts';
import { AT_EMPTY_PATH, close, OPEN, openat2, RESOLVE, readlinkat } from '../sys/file.ts';
import { type FileStatus, statAt } from '../sys/stat.ts';

/** As many symlinks as Go, and so Docker, follows. */
const LINKS_MAX = 255;
const MISSING = ['ENOENT', 'ENOTDIR', 'ELOOP'];

/** Where an absolute path leads when all symlinks are followed, as far as it is there; the rest stays as it is. */
export function evaluatePath(root: number, path: string): string {
  const rest = path.split('/').reverse();
  let at = '/';
  let links = 0;
  while (rest.length > 0) {
    const name = rest.pop()!;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      at = posix.dirname(at);
      continue;
    }
    const target = links < LINKS_MAX ? targetOf(root, posix.join(at, name)) : undefined;
    if (target === undefined) {
      at = posix.join(at, name);
      continue;
    }
    links++;
    if (target.startsWith('/')) at = '/';
    rest.push(...target.split('/').reverse());
  }
  return at;
}

/** undefined for what is no symlink, and for what is not there. */
function targetOf(root: number, path: string): string | undefined {
  try {
    const fd = openat2(root, path, OPEN.PATH | OPEN.NOFOLLOW, RESOLVE.IN_ROOT);
    try {
      return readlinkat(fd, '').toString();
    } finally {
      close(fd);
    }
  } catch (error) {
    if (isErrno(error, 'EINVAL') || MISSING.some((name) => isErrno(error, name))) return undefined;
    throw error;
  }
}

/** lstat(2) in the container: with a slash at its end the path is a directory's. undefined for what is not there.
 *  @throws SyscallError ENOTDIR and ELOOP too */
export function lookInside(root: number, path: string): FileStatus | undefined {
  try {
    const fd = openat2(root, path, OPEN.PATH | OPEN.NOFOLLOW, RESOLVE.IN_ROOT);
    try {
      return statAt(fd, '', AT_EMPTY_PATH);
    } finally {
      close(fd);
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
