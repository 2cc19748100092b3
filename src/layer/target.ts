/**
 * The directory that a layer is unpacked into. Every directory in it is found with openat2(2) from its root, symlinks and magic
 * links refused, so no entry leads out. Open directories are kept for the entries to come; what a directory is to look like in
 * the end (permissions, times) is set when everything is in it.
 */
import { isErrno } from '../errors.ts';
import { AT_REMOVEDIR, close, lutimensat, mkdirat, OPEN, openat, openat2, RESOLVE, unlinkat } from '../sys/file.ts';
import { isDirectory, isRegular, isSymlink, namesIn, statAt } from '../sys/stat.ts';
import { fgetxattr, fremovexattr, fsetxattr } from '../sys/xattr.ts';
import { baseOf, bytesOf, damaged, parentOf, quoted, type TarEntry } from './entry.ts';
import type { Attributes, MetadataWriter } from './metadata.ts';
import { makeWhiteout, OPAQUE_XATTR, type WhiteoutForm } from './whiteout.ts';

/** The last component may be a symlink only where that itself is meant (O_NOFOLLOW, O_PATH). */
export const RESOLVE_INSIDE = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS | RESOLVE.NO_SYMLINKS;
const OPEN_DIRECTORY = OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW;
const KEPT_OPEN = 64;
const DEFAULT_ACL = 'system.posix_acl_default';

/** A directory that an entry needs and no entry describes. */
const IMPLIED: Attributes = {
  name: '',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: undefined,
  mtimeNsec: 0,
  xattrs: undefined,
  acls: undefined,
};

/** The same over something of the lower layers that is gone. */
const FRESH: Attributes = { ...IMPLIED };

export interface Target {
  root: number;
  /** Descriptor of a directory, made with its parents when missing. Good until two other directories were asked for. `entry`
   *  is the name of the tar entry in need. @throws ERR_TSBOX_DAMAGED when a parent is a symlink or no directory */
  directory(path: string, entry: string): number;
  /** The directory that was asked for last. */
  current(): { path: string; fd: number };
  /** As `directory`, but makes nothing: undefined when it is not there. */
  find(path: string): number | undefined;
  /** Makes a directory, or keeps the one that is there; its attributes are set at the end. */
  makeDirectory(path: string, attributes: Attributes): void;
  /** Takes away what is at this name, a directory with all it has. */
  clear(dirfd: number, path: string): void;
  /** Marks a name of the lower layers as gone, unless this layer has something of that name. The mark gets the entry's time, so that
   *  packed again it is the same. */
  hide(path: string, entry: string, time?: Pick<TarEntry, 'mtime' | 'mtimeNsec'>): void;
  /** Marks a directory as hiding what lower layers have in it. */
  makeOpaque(path: string, entry: string): void;
  /** Has this layer a directory of this path? */
  isMadeDirectory(path: string): boolean;
  /** Is this name a whiteout that this layer made? */
  isHidden(path: string): boolean;
  /** Notes that this layer made what is at `path`. */
  own(path: string): void;
  /** Directories that were made because an entry needed them, and that no entry describes. */
  implied(): string[];
  /** Sets the attributes of all directories. */
  finish(metadata: MetadataWriter): void;
  close(): void;
}

export interface TargetOptions {
  form: WhiteoutForm;
  /** A regular file of this layer is about to be removed. */
  onLoss: (path: string, dirfd: number, base: Buffer, size: number) => void;
  /** Waits for the file of this path, should it be under way (files.ts); without a path for all. */
  settle(path?: string): void;
  /** Closes a directory once such files are made. */
  closeLater(fd: number): void;
}

/** Opens the directory `dir` as the target of a layer. */
export function openTarget(dir: string | Buffer, options: TargetOptions): Target {
  const { form, onLoss, settle, closeLater } = options;
  const root = openat(-100, dir, OPEN.RDONLY | OPEN.DIRECTORY);
  // It would go on to all that is made here.
  if (form !== 'remove' && fgetxattr(root, DEFAULT_ACL) !== undefined) fremovexattr(root, DEFAULT_ACL);
  const open = new Map<string, number>();
  const pending = new Map<string, Attributes>();
  const whiteouts = new Set<string>();
  /** Does this file system keep devices 0:0 for itself, so that whiteouts are files? */
  let asFiles = false;
  const made = form === 'remove' ? new Set<string>() : undefined;
  const emptied = new Set<string>(); // what is made in these is of this layer
  let lastPath = '';
  let lastFd = root;

  function forgetOpen(): void {
    for (const fd of open.values()) closeLater(fd);
    open.clear();
    lastPath = '';
    lastFd = root;
  }

  function remember(path: string, fd: number): number {
    if (open.size >= KEPT_OPEN) {
      const [oldest, oldestFd] = open.entries().next().value!;
      open.delete(oldest);
      closeLater(oldestFd);
    }
    open.set(path, fd);
    lastPath = path;
    lastFd = fd;
    return fd;
  }

  /** undefined when something on the way is missing or is no directory. */
  function find(path: string): number | undefined {
    if (path === lastPath) return lastFd;
    if (path === '') return root;
    let fd = open.get(path);
    if (fd !== undefined) {
      open.delete(path);
      return remember(path, fd);
    }
    try {
      fd = openat2(root, bytesOf(path), OPEN_DIRECTORY, RESOLVE_INSIDE);
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR', 'ELOOP'].some((name) => isErrno(error, name))) throw error;
      return undefined;
    }
    return remember(path, fd);
  }

  function directory(path: string, entry: string): number {
    return find(path) ?? remember(path, makeImplied(path, entry));
  }

  /** Makes a directory that an entry needs, its parents first. @returns a descriptor */
  function makeImplied(path: string, entry: string): number {
    const dirfd = directory(parentOf(path), entry);
    const base = bytesOf(baseOf(path));
    settle(path);
    const attributes = makeOne(dirfd, base, path, entry);
    if (attributes !== undefined) pending.set(path, attributes);
    return openat2(dirfd, base, OPEN_DIRECTORY, RESOLVE_INSIDE);
  }

  /** @returns undefined when the directory is there @throws ERR_TSBOX_DAMAGED when something else of this layer is there */
  function makeOne(dirfd: number, base: Buffer, path: string, entry: string): Attributes | undefined {
    let attributes = IMPLIED;
    try {
      mkdirat(dirfd, base, 0o700);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      const status = statAt(dirfd, base);
      if (isDirectory(status)) return undefined;
      const hidden = whiteouts.has(path);
      if (!hidden && (made === undefined || made.has(path))) {
        const what = isSymlink(status) ? 'a symbolic link' : 'not a directory';
        throw damaged(entry, `its parent ${quoted(path)} is ${what}`);
      }
      clear(dirfd, path);
      mkdirat(dirfd, base, 0o700);
      if (hidden) markOpaque(dirfd, base, path);
      attributes = FRESH;
    }
    own(path);
    return attributes;
  }

  function makeDirectory(path: string, attributes: Attributes): void {
    if (path !== '') {
      const dirfd = directory(parentOf(path), attributes.name);
      const base = bytesOf(baseOf(path));
      try {
        mkdirat(dirfd, base, 0o700);
      } catch (error) {
        if (!isErrno(error, 'EEXIST')) throw error;
        if (!isDirectory(statAt(dirfd, base))) {
          const hidden = whiteouts.has(path);
          clear(dirfd, path);
          mkdirat(dirfd, base, 0o700);
          if (hidden) markOpaque(dirfd, base, path);
        }
      }
      own(path);
    }
    pending.set(path, attributes);
  }

  function own(path: string): void {
    for (let at = path; made !== undefined && at !== '' && !made.has(at); at = parentOf(at)) made.add(at);
  }

  function clear(dirfd: number, path: string): void {
    if (removeName(dirfd, path)) forgetOpen();
  }

  /** @returns whether it was a directory */
  function removeName(dirfd: number, path: string): boolean {
    const base = bytesOf(baseOf(path));
    const status = statAt(dirfd, base);
    if (isDirectory(status)) {
      settle();
      removeAll(dirfd, base, path, () => false);
      unlinkat(dirfd, base, AT_REMOVEDIR);
      pending.delete(path);
    } else {
      const ours = made === undefined || made.has(path);
      if (ours && isRegular(status)) onLoss(path, dirfd, base, status.size);
      unlinkat(dirfd, base);
      whiteouts.delete(path);
    }
    made?.delete(path);
    return isDirectory(status);
  }

  /** Empties a directory of all but the names that `keep` wants. */
  function removeAll(dirfd: number, base: Buffer, path: string, keep: (path: string) => boolean): void {
    const fd = openat(dirfd, base, OPEN_DIRECTORY);
    try {
      for (const name of namesIn(fd)) {
        const child = path === '' ? name : `${path}/${name}`;
        if (!keep(child)) removeName(fd, child);
        else if (isDirectory(statAt(fd, bytesOf(name)))) removeAll(fd, bytesOf(name), child, keep);
      }
    } finally {
      close(fd);
    }
  }

  function hide(path: string, entry: string, time?: Pick<TarEntry, 'mtime' | 'mtimeNsec'>): void {
    const dirfd = directory(parentOf(path), entry);
    const base = bytesOf(baseOf(path));
    if (made !== undefined) {
      if (made.has(path)) emptyOfOthers(dirfd, base, path, made);
      else if (exists(dirfd, base)) clear(dirfd, path);
      return;
    }
    if (form === 'remove') return;
    try {
      const whiteout = makeWhiteout(dirfd, base, form, parentOf(path) === '');
      asFiles = whiteout !== 'device';
      if (whiteout === 'needless') return;
      whiteouts.add(path);
      if (time !== undefined) lutimensat(dirfd, base, time.mtime, time.mtimeNsec);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      // A whiteout speaks of lower layers only: what this layer has stays, and what is below it is hidden.
      if (!isDirectory(statAt(dirfd, base))) return;
      markOpaque(dirfd, base, path);
      if (pending.get(path) === IMPLIED) pending.set(path, FRESH);
    }
  }

  /** Of a directory that this layer has, removes what it did not bring. */
  function emptyOfOthers(dirfd: number, base: Buffer, path: string, ours: ReadonlySet<string>): void {
    if (emptied.has(path) || !isDirectory(statAt(dirfd, base))) return;
    emptied.add(path);
    removeAll(dirfd, base, path, (child) => ours.has(child));
    forgetOpen();
  }

  function exists(dirfd: number, base: Buffer): boolean {
    try {
      statAt(dirfd, base);
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
  }

  function markOpaque(dirfd: number, base: Buffer, path: string): void {
    if (form === 'remove') return;
    const fd = openat(dirfd, base, OPEN_DIRECTORY);
    try {
      if (asFiles) removeWhiteouts(fd, path);
      fsetxattr(fd, OPAQUE_XATTR[form], Buffer.from('y'));
    } finally {
      close(fd);
    }
  }

  /** Of a directory that becomes opaque: its mark can say only one of the two. */
  function removeWhiteouts(fd: number, path: string): void {
    for (const name of namesIn(fd)) {
      if (whiteouts.delete(path === '' ? name : `${path}/${name}`)) unlinkat(fd, bytesOf(name));
    }
  }

  function makeOpaque(path: string, entry: string): void {
    const fd = directory(path, entry);
    if (made === undefined) {
      markOpaque(fd, Buffer.from('.'), path);
      return;
    }
    emptyOfOthers(fd, Buffer.from('.'), path, made);
  }

  function finish(metadata: MetadataWriter): void {
    // The deepest first: a parent may not be entered any more once its own permissions are set.
    for (const [path, attributes] of [...pending].sort(([a], [b]) => b.length - a.length)) {
      const fd = path === '' ? root : openat2(root, bytesOf(path), OPEN_DIRECTORY, RESOLVE_INSIDE);
      try {
        metadata.toFile(fd, attributes, -1);
      } finally {
        if (fd !== root) close(fd);
      }
    }
  }

  return {
    root,
    directory,
    current: () => ({ path: lastPath, fd: lastFd }),
    find,
    makeDirectory,
    clear,
    hide,
    makeOpaque,
    isMadeDirectory: (path) => pending.has(path),
    isHidden: (path) => whiteouts.has(path),
    own,
    implied: () => [...pending].filter(([, attributes]) => attributes === IMPLIED).map(([path]) => path),
    finish,
    close() {
      for (const fd of open.values()) close(fd);
      close(root);
    },
  };
}
