/** What only the last one of several has to do, as the operation `last` of a plan has it. */
import { closeSync, constants, openSync, readdirSync, rmdirSync, statSync, unlinkSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { withLock } from './lock.ts';

function leadsNowhere(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR');
  }
}

/** Takes away what leads nowhere, and then the directory. @returns whether it was there and nobody is left */
function sweep(directory: string): boolean {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = `${directory}/${entry.name}`;
      if (entry.isSymbolicLink() && leadsNowhere(path)) unlinkSync(path);
    }
    rmdirSync(directory);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTEMPTY', 'EEXIST'].some((name) => isErrno(error, name))) return false;
    throw error;
  }
}

/** Under the lock, which is made when it is not there and waited for: unlinks every symlink in `directory` that leads nowhere and removes the
 *  directory; if that worked, `work` is done. @throws what `work` throws, and refusals of open(2), rmdir(2) but for ENOENT and ENOTEMPTY */
export function whenLast(lock: string, directory: string, work: () => void): void {
  closeSync(openSync(lock, constants.O_RDWR | constants.O_CREAT, 0o600));
  withLock(lock, 'exclusive', () => {
    if (sweep(directory)) work();
  });
}
