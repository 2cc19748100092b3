/** Hard links of a layer. One whose file is not in the layer waits for the end; then the file is copied up from below. */
import { isErrno } from '../errors.ts';
import { S } from '../spec/linux.ts';
import {
  close,
  deviceNumber,
  ftruncate,
  linkat,
  mknodat,
  OPEN,
  openat,
  pread,
  pwriteAll,
  symlinkat,
} from '../sys/file.ts';
import { statAt, TYPE_MASK } from '../sys/stat.ts';
import { baseOf, bytesOf, damaged, parentOf, pathOf, quoted, type TarEntry } from './entry.ts';
import { attributesOf, type Found, findInLowers, linkTarget, openFound, rootNames } from './lowers.ts';
import type { MetadataWriter } from './metadata.ts';
import type { Target } from './target.ts';

export interface Linker {
  /** Makes the link, or lets it wait when its file is not there. @throws ERR_TSBOX_DAMAGED when it leads out of the layer */
  link(path: string, entry: TarEntry): void;
  isWaiting(): boolean;
  /** Makes the links that wait. @throws ERR_TSBOX_DAMAGED when nothing below has the file either */
  finish(lowers: readonly string[]): void;
  /** Hides everything below: overlayfs heeds no mark on the root itself, so each name at its top is marked. */
  hideRoot(lowers: readonly string[]): void;
}

const COPY = 0x40000;

export function createLinker(target: Target, metadata: MetadataWriter): Linker {
  const waiting: { path: string; to: string; name: string }[] = [];

  function link(path: string, entry: TarEntry): void {
    const to = pathOf(entry.linkname, entry.name);
    if (to === '') throw damaged(entry.name, 'a hard link to the root');
    if (isMissing(to, entry.name)) waiting.push({ path, to, name: entry.name });
    else if (path !== to) makeLink(path, to, entry.name);
  }

  /** Also for what lies behind a symlink, which is never followed. @throws ERR_TSBOX_DAMAGED for a directory */
  function isMissing(to: string, name: string): boolean {
    if (target.isHidden(to)) return true;
    const dirfd = target.find(parentOf(to));
    if (dirfd === undefined) return true;
    try {
      const status = statAt(dirfd, bytesOf(baseOf(to)));
      if ((status.mode & TYPE_MASK) === S.S_IFDIR) throw damaged(name, `a hard link to the directory ${quoted(to)}`);
      return false;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return true;
      throw error;
    }
  }

  function linkOnce(path: string, to: string, name: string): void {
    target.directory(parentOf(path), name);
    const from = target.directory(parentOf(to), name);
    linkat(from, bytesOf(baseOf(to)), target.directory(parentOf(path), name), bytesOf(baseOf(path)));
  }

  function makeLink(path: string, to: string, name: string): void {
    try {
      linkOnce(path, to, name);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      target.clear(target.directory(parentOf(path), name), path);
      if (isMissing(to, name)) throw damaged(name, `the hard link replaces its own file ${quoted(to)}`);
      linkOnce(path, to, name);
    }
    target.own(path);
  }

  function finish(lowers: readonly string[]): void {
    for (const { path, to, name } of waiting) {
      if (isMissing(to, name)) copyUp(to, name, lowers);
      if (path !== to && isMissing(path, name)) makeLink(path, to, name);
    }
  }

  function copyUp(path: string, name: string, lowers: readonly string[]): void {
    const found = target.isHidden(path) ? undefined : findInLowers(lowers, path);
    if (found === undefined) throw damaged(name, `the hard link's file ${quoted(path)} is not there`);
    try {
      copyParents(path, name, lowers);
      const dirfd = target.directory(parentOf(path), name);
      const base = bytesOf(baseOf(path));
      copyFile(found, dirfd, base, path, metadata);
    } finally {
      close(found.fd);
    }
  }

  /** Directories above a copied file look as they do below, unless the layer describes them. */
  function copyParents(path: string, name: string, lowers: readonly string[]): void {
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) {
      const prefix = path.slice(0, end);
      if (target.isDescribed(prefix)) continue;
      const found = findInLowers(lowers, prefix);
      if (found === undefined) continue;
      const readable = openFound(found);
      target.makeDirectory(prefix, { ...attributesOf(found, readable, prefix), name });
      close(readable);
      close(found.fd);
    }
  }

  function hideRoot(lowers: readonly string[]): void {
    for (const name of rootNames(lowers)) target.hide(name, name);
  }

  return { link, isWaiting: () => waiting.length > 0, finish, hideRoot };
}

function copyFile(found: Found, dirfd: number, base: Buffer, path: string, metadata: MetadataWriter): void {
  const { status } = found;
  const type = status.mode & TYPE_MASK;
  const empty = new Map<string, Buffer>();
  if (type !== S.S_IFREG) {
    if (type === S.S_IFLNK) symlinkat(linkTarget(found), dirfd, base);
    else mknodat(dirfd, base, status.mode, deviceNumber(status.deviceMajor, status.deviceMinor));
    const kind = type === S.S_IFLNK ? 'symlink' : 'fifo';
    const plain = {
      ...status,
      name: path,
      type: kind,
      mode: status.mode & 0o7777,
      xattrs: empty,
      acls: undefined,
    } as const;
    metadata.toName(dirfd, base, { ...plain, stored: 0, linkname: '', sparse: undefined });
    return;
  }
  const from = openFound(found);
  const to = openat(dirfd, base, OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW, 0o600);
  try {
    copyData(from, to, status.size, path);
    metadata.toFile(to, attributesOf(found, from, path), -1);
  } finally {
    close(to);
    close(from);
  }
}

/** Copies `size` bytes; a run of zeros becomes a hole. */
function copyData(from: number, to: number, size: number, name: string): void {
  const piece = Buffer.allocUnsafe(Math.min(size, COPY));
  const zeros = Buffer.alloc(piece.length);
  for (let at = 0; at < size; ) {
    const got = pread(from, piece, 0, piece.length, at, name);
    if (got === 0) break;
    if (piece.compare(zeros, 0, got, 0, got) !== 0) pwriteAll(to, piece, 0, got, at, name);
    at += got;
  }
  ftruncate(to, size, name);
}
