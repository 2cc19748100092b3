/** Looks into the layers below, as overlayfs would merge them, for what a layer links to or hides without having it. */
import { isErrno } from '../errors.ts';
import { AT_EMPTY_PATH, AT_FDCWD, close, OPEN, openat, openat2, readlinkat } from '../sys/file.ts';
import { type FileStatus, isDirectory, namesIn, statAt } from '../sys/stat.ts';
import { fgetxattr, flistxattr, lgetxattr } from '../sys/xattr.ts';
import { bytesOf, parentOf } from './entry.ts';
import type { Attributes } from './metadata.ts';
import { RESOLVE_INSIDE } from './target.ts';
import { isOverlayXattr, isWhiteout, OPAQUE_XATTR, type ReadXattr, type UnionForm } from './whiteout.ts';

const FORMS: readonly UnionForm[] = ['overlay', 'overlay-user'];

/** What was found: an O_PATH descriptor, for the caller to close. */
export interface Found {
  fd: number;
  status: FileStatus;
}

export interface LowerView {
  /** What the merged lower layers have at `path`, a symlink itself; undefined too when the layer on top of them keeps it from being seen. */
  find(path: string): Found | undefined;
  close(): void;
}

function tryOpen(root: number, path: string): Found | undefined {
  try {
    const fd = openat2(root, bytesOf(path === '' ? '.' : path), OPEN.PATH | OPEN.NOFOLLOW, RESOLVE_INSIDE);
    return { fd, status: statAt(fd, '', AT_EMPTY_PATH) };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].some((name) => isErrno(error, name))) return undefined;
    throw error;
  }
}

/** By path, as a descriptor of O_PATH has no attributes. One that may not be read is none of overlayfs. */
function isOpaque({ fd }: Found): boolean {
  return Object.values(OPAQUE_XATTR).some((name) => {
    try {
      return lgetxattr(`/proc/self/fd/${fd}/.`, name)?.toString() === 'y';
    } catch (error) {
      if (isErrno(error, 'EACCES')) return false;
      throw error;
    }
  });
}

/** Layers of root, and of a user, look alike here. */
function hides(status: FileStatus, read: ReadXattr): boolean {
  return FORMS.some((form) => isWhiteout(status, form, read));
}

/** What may not be read is no whiteout of this user's. */
function xattrOf(found: Found, name: string): Buffer | undefined {
  try {
    const fd = openFound(found);
    try {
      return fgetxattr(fd, name);
    } finally {
      close(fd);
    }
  } catch (error) {
    if (isErrno(error, 'EACCES')) return undefined;
    throw error;
  }
}

const pathIn = (dirfd: number, name: string): Buffer =>
  Buffer.concat([Buffer.from(`/proc/self/fd/${dirfd}/`), bytesOf(name)]);

/** @param top the directory of the layer that is above the others, open @param lowers directories, the nearest first */
export function openLowers(top: number, lowers: readonly string[]): LowerView {
  const roots = [top];
  /** By directory: which of the roots have a part in it. A path is asked for often, and may be deep. */
  const parts = new Map<string, readonly number[]>();

  function partsOf(path: string): readonly number[] {
    let known = parts.get(path);
    if (known === undefined) {
      known = visible(path, path === '' ? roots : partsOf(parentOf(path)));
      parts.set(path, known);
    }
    return known;
  }

  /** Those of `among` that have the directory, down to the first that hides what is below it. */
  function visible(path: string, among: readonly number[]): number[] {
    const seen: number[] = [];
    for (const root of among) {
      const found = tryOpen(root, path);
      if (found === undefined) continue;
      try {
        if (!isDirectory(found.status)) break;
        seen.push(root);
        if (isOpaque(found)) break;
      } finally {
        close(found.fd);
      }
    }
    return seen;
  }

  function find(path: string): Found | undefined {
    if (lowers.length === 0) return undefined;
    for (const root of partsOf(parentOf(path))) {
      const found = root === top ? undefined : tryOpen(root, path);
      if (found === undefined) continue;
      if (!hides(found.status, (name) => xattrOf(found, name))) return found;
      close(found.fd);
      return undefined;
    }
    return undefined;
  }

  function closeAll(): void {
    for (const root of roots.slice(1)) close(root);
  }

  try {
    for (const lower of lowers) roots.push(openat(AT_FDCWD, lower, OPEN.RDONLY | OPEN.DIRECTORY));
  } catch (error) {
    closeAll();
    throw error;
  }
  return { find, close: closeAll };
}

/** Names at the top of the merged lower layers. */
export function rootNames(lowers: readonly string[]): string[] {
  const seen = new Map<string, boolean>();
  for (const lower of lowers) {
    const root = openat(AT_FDCWD, lower, OPEN.RDONLY | OPEN.DIRECTORY);
    try {
      for (const name of namesIn(root)) {
        if (!seen.has(name))
          seen.set(name, !hides(statAt(root, bytesOf(name)), (xattr) => lgetxattr(pathIn(root, name), xattr)));
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
