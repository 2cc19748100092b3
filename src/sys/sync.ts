/** Writes a whole file system's dirty pages to its disk. @see syncfs(2) */
import { closeSync, constants, openSync } from 'node:fs';
import { bind, check } from './ffi.ts';

const syncfs = bind('int', 'syncfs', ['int']);

/** Returns when everything written so far to the file system that holds `path` is on the disk. One call is cheaper than an
 *  fsync(2) for each of many files. @throws SyscallError, EIO and ENOSPC among them */
export function syncFileSystem(path: string): void {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    check(syncfs(fd), 'syncfs', () => `sync the file system of ${path}`);
  } finally {
    closeSync(fd);
  }
}
