/** Writes a whole file system's dirty pages to its disk. @see syncfs(2) */
import { closeSync, constants, openSync } from 'node:fs';
import { bindSlow } from './ffi.ts';

const syncfs = bindSlow('int', 'syncfs', ['int']);

/** Fulfilled when everything that was written before the call to the file system that holds `path` is on the disk. One call is cheaper
 *  than an fsync(2) for each of many files. Other work goes on meanwhile. @throws SyscallError, EIO and ENOSPC among them */
export async function syncFileSystem(path: string): Promise<void> {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    await syncfs(`sync the file system of ${path}`, fd);
  } finally {
    closeSync(fd);
  }
}
