/** How a layer says that something of a lower layer is gone: in a tar by name, on disk as overlayfs does.
 *  @see OCI image-spec layer.md, "Whiteouts"; Documentation/filesystems/overlayfs.rst */
import { S } from '../spec/linux.ts';
import { type FileStatus, TYPE_MASK } from '../sys/stat.ts';
import { baseOf, damaged, parentOf } from './entry.ts';

/** The form on disk. `overlay`: for root. `overlay-user`: for overlayfs mounted with `userxattr`. `remove`: no mark is left, the
 *  target already holds the lower layers' files and they are removed (a driver without a union). */
export type WhiteoutForm = 'overlay' | 'overlay-user' | 'remove';

export const WHITEOUT_PREFIX = '.wh.';
const META_PREFIX = '.wh..wh.';
export const OPAQUE_MARKER = '.wh..wh..opq';

/** The attribute that makes a directory hide what lower layers have in it; its value is `y`. */
export const OPAQUE_XATTR = {
  overlay: 'trusted.overlay.opaque',
  'overlay-user': 'user.overlay.opaque',
} as const;

export type Whiteout =
  | { kind: 'hide'; path: string } // this name is gone
  | { kind: 'opaque'; path: string } // this directory starts empty
  | { kind: 'ignored' }; // bookkeeping of the aufs driver

/** What the name of an entry says; undefined for a plain file.
 *  @throws ERR_TSBOX_DAMAGED when it hides nothing that can be named, or is used as a directory */
export function whiteoutOf(path: string): Whiteout | undefined {
  if (!path.includes(WHITEOUT_PREFIX)) return undefined;
  const parent = parentOf(path);
  const above = parent === '' ? [] : parent.split('/');
  if (above.some((part) => part.startsWith(META_PREFIX))) return { kind: 'ignored' };
  if (above.some((part) => part.startsWith(WHITEOUT_PREFIX))) throw damaged(path, 'a whiteout is used as a directory');
  const base = baseOf(path);
  if (!base.startsWith(WHITEOUT_PREFIX)) return undefined;
  if (base === OPAQUE_MARKER) return { kind: 'opaque', path: parent };
  if (base.startsWith(META_PREFIX)) return { kind: 'ignored' };
  const hidden = base.slice(WHITEOUT_PREFIX.length);
  if (hidden === '' || hidden === '.' || hidden === '..')
    throw damaged(path, 'a whiteout of the directory itself or its parent');
  return { kind: 'hide', path: parent === '' ? hidden : `${parent}/${hidden}` };
}

/** Is this overlayfs' mark for a removed name? */
export function isWhiteoutDevice(status: FileStatus): boolean {
  return (status.mode & TYPE_MASK) === S.S_IFCHR && status.deviceMajor === 0 && status.deviceMinor === 0;
}

/** Attributes that steer overlayfs. They are never taken from an archive nor put into one. */
export function isOverlayXattr(name: string): boolean {
  return name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.');
}
