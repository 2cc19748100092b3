/** Permissions of a file of a layer. */
import { quickly } from '../sys/quick.ts';
import { cstring, pathOf } from './memory.ts';

/** @param text a name in a directory, of what is no symlink, or '' for the descriptor's own file @returns 0 or -errno */
export function setPermissions(fd: number, text: string, mode: number): number {
  return text === '' ? quickly.chmod(pathOf(fd), mode) : quickly.fchmodat(fd, cstring(text), mode, 0);
}
