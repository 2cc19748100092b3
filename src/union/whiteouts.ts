/**
 * What hides a name of the layers below, in the two forms that overlayfs knows: a character device 0:0, or, where none can be made, an empty
 * file with the attribute `overlay.whiteout` in a directory with `overlay.opaque=x`. The latter is for layers that lie on an overlay
 * themselves, which keeps every such device for its own. @see Documentation/filesystems/overlayfs.rst, Nesting overlayfs mounts (Linux 6.7)
 */
import { S } from '../spec/linux.ts';
import { OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { hasWhiteoutFiles, isMarkedWhiteout, setHasWhiteoutFiles, setMarkedWhiteout } from './marks.ts';
import { cstring } from './memory.ts';
import { seen } from './status.ts';
import { removeName, type Union, type WhiteoutForm } from './union.ts';

/** Which form can be made in a directory that has nothing of that name. */
export function formFor(work: number): WhiteoutForm {
  const name = 'whiteout-form';
  const refused = quickly.mknodat(work, cstring(name), S.S_IFCHR, 0) < 0;
  if (!refused) removeName(work, name);
  return refused ? 'file' : 'device';
}

/** Is the name, looked at just now, a whiteout? Which form its layer has does not matter, nor, as to the kernel, what its directory says. */
export function isWhiteout(union: Union, fd: number, name: string): boolean {
  if (seen.isWhiteout()) return true;
  return seen.type() === S.S_IFREG && seen.size() === 0 && isMarkedWhiteout(union, fd, name);
}

/** Makes a whiteout in the work directory, from where it comes into its place by a rename. @returns 0 or -errno */
export function makeWhiteout(union: Union, temporary: string): number {
  const { work } = union;
  if (union.whiteouts === 'device') return quickly.mknodat(work, cstring(temporary), S.S_IFCHR, 0);
  const fd = quickly.openat(work, cstring(temporary), OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL | OPEN.CLOEXEC, 0o600);
  if (fd < 0) return fd;
  quickly.close(fd);
  const error = setMarkedWhiteout(union, work, temporary);
  if (error < 0) removeName(work, temporary);
  return error;
}

/** Before a whiteout comes into a directory: who lists it has to look at empty files. @returns 0 or -errno */
export function announceWhiteout(union: Union, directory: number, form = union.whiteouts): number {
  if (form === 'device' || hasWhiteoutFiles(union, directory, '.')) return 0;
  return setHasWhiteoutFiles(union, directory);
}

/** The form of the whiteout that was looked at last. */
export const seenForm = (): WhiteoutForm => (seen.type() === S.S_IFREG ? 'file' : 'device');
