/** How a layer says that something of a lower layer is gone: in a tar by name, on disk as overlayfs does.
 *  @see OCI image-spec layer.md, "Whiteouts"; Documentation/filesystems/overlayfs.rst */
import { isErrno } from '../errors.ts';
import { S } from '../spec/linux.ts';
import { close, mknodat, OPEN, openat } from '../sys/file.ts';
import { type FileStatus, TYPE_MASK } from '../sys/stat.ts';
import { fgetxattr, fsetxattr } from '../sys/xattr.ts';
import { baseOf, damaged, parentOf } from './entry.ts';

/** The form on disk. `overlay`: for root. `overlay-user`: for overlayfs mounted with `userxattr`. `remove`: no mark is left, the
 *  target already holds the lower layers' files and they are removed (a driver without a union). */
export type WhiteoutForm = 'overlay' | 'overlay-user' | 'remove';

/** Of layers for a union. */
export type UnionForm = Exclude<WhiteoutForm, 'remove'>;

export const WHITEOUT_PREFIX = '.wh.';
const META_PREFIX = '.wh..wh.';
export const OPAQUE_MARKER = '.wh..wh..opq';

/** The attribute that makes a directory hide what lower layers have in it: its value is then `y`. With `x` it says that there are files
 *  in it that are whiteouts. */
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

/** The attribute that makes an empty file a whiteout. */
export const WHITEOUT_XATTR = { overlay: 'trusted.overlay.whiteout', 'overlay-user': 'user.overlay.whiteout' } as const;

/** What a file that may be a whiteout says of itself. */
export type ReadXattr = (name: string) => Buffer | undefined;

/** Is this overlayfs' mark for a removed name: a character device 0:0, or, where none can be made, an empty file with an attribute?
 *  @param read asked only of an empty file @see overlayfs.rst, Nesting overlayfs mounts */
export function isWhiteout(status: FileStatus, form: UnionForm, read: ReadXattr): boolean {
  const type = status.mode & TYPE_MASK;
  if (type === S.S_IFCHR) return status.deviceMajor === 0 && status.deviceMinor === 0;
  return type === S.S_IFREG && status.size === 0 && read(WHITEOUT_XATTR[form]) !== undefined;
}

/** As a device; on an overlay, which keeps those for its own, as a file in a directory that says that it has some. An opaque directory
 *  cannot say that, and needs none; overlayfs does not heed it on a layer's root.
 *  @param dirfd the directory, to be read @throws SyscallError EEXIST where the name is taken */
export function makeWhiteout(
  dirfd: number,
  base: Buffer,
  form: UnionForm,
  inRoot: boolean,
): 'device' | 'file' | 'needless' {
  try {
    mknodat(dirfd, base, S.S_IFCHR);
    return 'device';
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error;
  }
  if (!inRoot && fgetxattr(dirfd, OPAQUE_XATTR[form])?.toString() === 'y') return 'needless';
  const fd = openat(dirfd, base, OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW, 0o600);
  try {
    fsetxattr(fd, WHITEOUT_XATTR[form], Buffer.from('y'));
    fsetxattr(dirfd, OPAQUE_XATTR[form], Buffer.from('x'));
  } finally {
    close(fd);
  }
  return 'file';
}

/** Attributes that steer overlayfs. They are never taken from an archive nor put into one. */
export function isOverlayXattr(name: string): boolean {
  return name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.');
}
