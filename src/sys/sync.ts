/** Writes a whole file system's dirty pages to its disk. @see syncfs(2) */
import { closeSync, constants, openSync } from 'node:fs';
import { bindSlow } from './ffi.ts';

const syncfs = bindSlow('int', 'syncfs', ['int']);
const fsync = bindSlow('int', 'fsync', ['int']);

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

/** The same for tsbox-union, mounted at `path`: the layers have what was written. The kernel sends what it has kept, and does not wait for the
 *  answers; the union has given them when it answers for its root. What has failed then, the second look says.
 *  @throws SyscallError, ENOSPC among them */
export async function syncUnion(path: string): Promise<void> {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const what = `write back the files of ${path}`;
    await syncfs(what, fd);
    await fsync(what, fd);
    await syncfs(what, fd);
  } finally {
    closeSync(fd);
  }
}
