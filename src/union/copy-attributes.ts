/** Extended attributes of one file for another one: all but overlayfs' own. */
import { E } from './errno.ts';
import { buffer } from './memory.ts';
import { MOST_VALUE, raw } from './raw-xattrs.ts';
import type { Real, Union } from './union.ts';

/** A name in a directory, or with an empty text the descriptor's own file. */
export type File = Pick<Real, 'fd' | 'text'>;

/** @returns 0 or -errno */
export function copyAttributes(union: Union, from: File, to: File): number {
  const length = raw.list(from.fd, from.text, buffer.address, MOST_VALUE);
  if (length === E.NOTSUP || length === 0) return 0;
  if (length < 0) return length;
  const names = buffer.bytes.toString('latin1', 0, length - 1).split('\0');
  for (const name of names) {
    if (isOwn(union, name)) continue;
    const size = raw.get(from.fd, from.text, name, buffer.address, MOST_VALUE);
    if (size === E.NODATA) continue;
    if (size < 0) return size;
    const error = raw.set(to.fd, to.text, name, buffer.address, size);
    // Attributes of others that this file system, or who runs this, may not set.
    if (error < 0 && !(error === E.NOTSUP || (error === E.PERM && !name.startsWith('user.')))) return error;
  }
  return 0;
}

/** Overlayfs' own attributes are never shown; those that a file system over it has made of its own are: `overlay.overlay.`. */
export const isOwn = ({ prefix }: Union, name: string): boolean =>
  name.startsWith(prefix) && !name.startsWith(`${prefix}overlay.`);
