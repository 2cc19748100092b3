/** Looks into the layers below, as overlayfs would merge them, for what a layer links to or hides without having it. */
import { isErrno } from '../errors.ts';
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, AT_FDCWD, close, OPEN, openat, openat2, readlinkat } from '../sys/file.ts';
import { type FileStatus, namesIn, statAt, TYPE_MASK } from '../sys/stat.ts';
import { fgetxattr, flistxattr } from '../sys/xattr.ts';
import { bytesOf } from './entry.ts';
import type { Attributes } from './metadata.ts';
import { RESOLVE_INSIDE } from './target.ts';
import { isOverlayXattr, isWhiteoutDevice, OPAQUE_XATTR } from './whiteout.ts';

/** What was found: an O_PATH descriptor, for the caller to close. */
export interface Found {
  fd: number;
  status: FileStatus;
}

function tryOpen(root: number, path: string, flags: number): number | undefined {
  try {
    return openat2(root, bytesOf(path === '' ? '.' : path), flags | OPEN.NOFOLLOW, RESOLVE_INSIDE);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].some((name) => isErrno(error, name))) return undefined;
    throw error;
  }
}

function isOpaque(readable: number): boolean {
  return Object.values(OPAQUE_XATTR).some((name) => fgetxattr(readable, name)?.toString() === 'y');
}

/** Does something on the way to `path` keep the layers below the one at `root` from being seen? */
export function isCovered(root: number, path: string): boolean {
  if (isOpaque(root)) return true;
  for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
    const fd = tryOpen(root, path.slice(0, end), OPEN.PATH);
    if (fd === undefined) return false;
    const isDirectory = (statAt(fd, '', AT_EMPTY_PATH).mode & TYPE_MASK) === S.S_IFDIR;
    close(fd);
    if (!isDirectory) return true;
    const readable = tryOpen(root, path.slice(0, end), OPEN.RDONLY | OPEN.DIRECTORY)!;
    const opaque = isOpaque(readable);
    close(readable);
    if (opaque) return true;
  }
  return false;
}

/** What the merged lower layers have at `path`, a symlink itself. @param lowers directories, the nearest first */
export function findInLowers(lowers: readonly string[], path: string): Found | undefined {
  for (const lower of lowers) {
    const root = openat(AT_FDCWD, lower, OPEN.RDONLY | OPEN.DIRECTORY);
    try {
      const fd = tryOpen(root, path, OPEN.PATH);
      if (fd !== undefined) {
        const status = statAt(fd, '', AT_EMPTY_PATH);
        if (!isWhiteoutDevice(status)) return { fd, status };
        close(fd);
        return undefined;
      }
      if (isCovered(root, path)) return undefined;
    } finally {
      close(root);
    }
  }
  return undefined;
}

/** Names at the top of the merged lower layers. */
export function rootNames(lowers: readonly string[]): string[] {
  const seen = new Map<string, boolean>();
  for (const lower of lowers) {
    const root = openat(AT_FDCWD, lower, OPEN.RDONLY | OPEN.DIRECTORY);
    try {
      for (const name of namesIn(root)) {
        if (!seen.has(name)) seen.set(name, !isWhiteoutDevice(statAt(root, bytesOf(name))));
      }
    } finally {
      close(root);
    }
  }
  return [...seen].filter(([, visible]) => visible).map(([name]) => name);
}

/** The target of a symlink that was found. */
export function linkTarget(found: Found): Buffer {
  return readlinkat(found.fd, '');
}

/** A descriptor to read the file or directory that was found, for the caller to close. */
export function openFound(found: Found): number {
  return openat(AT_FDCWD, `/proc/self/fd/${found.fd}`, OPEN.RDONLY);
}

/** Its owner, permissions, times and attributes. `readable` comes from {@link openFound}. */
export function attributesOf(found: Found, readable: number, name: string): Attributes {
  const { mode, uid, gid, mtime, mtimeNsec } = found.status;
  const xattrs = new Map<string, Buffer>();
  for (const attribute of flistxattr(readable)) {
    const value = isOverlayXattr(attribute) ? undefined : fgetxattr(readable, attribute);
    if (value !== undefined) xattrs.set(attribute, value);
  }
  return { name, mode: mode & 0o7777, uid, gid, mtime, mtimeNsec, xattrs, acls: undefined };
}
