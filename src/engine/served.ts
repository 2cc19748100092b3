/** The files of a container that runs, where a process serves them (storage driver fuse). Whoever mounted it may have chosen otherwise than
 *  this tsbox would: the mount tells. */
import { statfsSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { fileSystemOf } from '../sys/file-system.ts';
import { syncFileSystem } from '../sys/sync.ts';

/** Has that process been killed? Those of the container live on, until they touch a file. */
export function isUnserved(merged: string): boolean {
  try {
    statfsSync(merged);
    return false;
  } catch (error) {
    return isErrno(error, 'ENOTCONN');
  }
}

/** Brings to the upper directory what the kernel still keeps of it: pages that were written by a map of a file. The kernel's own overlay keeps
 *  none. @throws SyscallError, ENOSPC among them */
export async function writeBack(merged: string): Promise<void> {
  if (!isUnserved(merged) && fileSystemOf(merged) === 'fuse') await syncFileSystem(merged);
}
