/** What a layer takes from the layers below. A hard link whose file is not in the layer waits for the end; then the file is copied up.
 *  A directory that the layer needs and does not describe looks as it does below: on overlayfs the upper one decides. */
import { isErrno, type TsboxError } from '../errors.ts';
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
import { isDirectory, statAt, TYPE_MASK } from '../sys/stat.ts';
import { baseOf, bytesOf, damaged, parentOf, pathOf, quoted, type TarEntry } from './entry.ts';
import { attributesOf, type Found, type LowerView, linkTarget, openFound, openLowers, rootNames } from './lowers.ts';
import type { MetadataWriter } from './metadata.ts';
import type { Target } from './target.ts';

export interface Linker {
  /** Makes the link, or lets it wait when its file is not there. @throws ERR_TSBOX_DAMAGED when it leads out of the layer */
  link(path: string, entry: TarEntry): void;
  /** Is there something for `finish` to do, should there be layers below? */
  isWaiting(): boolean;
  /** Makes the links that wait, and gives directories that no entry describes the looks that they have below. @throws ERR_TSBOX_DAMAGED when nothing below has the file either */
  finish(lowers: readonly string[]): void;
  /** Hides everything below: overlayfs heeds no mark on the root itself, so each name at its top is marked. */
  hideRoot(lowers: readonly string[]): void;
}

const COPY = 0x40000;

interface Waiting {
  path: string;
  to: string;
  name: string;
}

/** The path that a hard link leads to. An absolute one begins at the layer's root: kaniko writes them so.
 *  @throws ERR_TSBOX_DAMAGED */
export function pathOfLink({ linkname, name }: TarEntry): string {
  if (linkname === '') throw damaged(name, 'a hard link to nothing');
  const to = pathOf(linkname.startsWith('/') ? `.${linkname}` : linkname, name);
  if (to === '') throw damaged(name, 'a hard link to the root');
  return to;
}

export function createLinker(target: Target, metadata: MetadataWriter): Linker {
  /** By path: a later link of the same name takes the earlier one's place. */
  const waiting = new Map<string, Waiting>();

  function link(path: string, entry: TarEntry): void {
    const to = pathOfLink(entry);
    const { name } = entry;
    if (!isMissing(to, name)) {
      waiting.delete(path);
      if (path !== to) makeLink(path, to, name);
      return;
    }
    if (to.startsWith(`${path}/`)) throw replacesItself(name, to);
    if (exists(path)) target.clear(target.directory(parentOf(path), name), path);
    waiting.set(path, { path, to, name });
  }

  function exists(path: string): boolean {
    return !target.isHidden(path) && typeAt(path) !== undefined;
  }

  /** undefined when nothing is there that can be reached without a symlink. */
  function typeAt(path: string): number | undefined {
    const dirfd = target.find(parentOf(path));
    if (dirfd === undefined) return undefined;
    try {
      return statAt(dirfd, bytesOf(baseOf(path))).mode & TYPE_MASK;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** Also for what lies behind a symlink, which is never followed. @throws ERR_TSBOX_DAMAGED for a directory */
  function isMissing(to: string, name: string): boolean {
    if (target.isHidden(to)) return true;
    const type = typeAt(to);
    if (type === S.S_IFDIR) throw toDirectory(name, to);
    return type === undefined;
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
      if (isMissing(to, name)) throw replacesItself(name, to);
      linkOnce(path, to, name);
    }
    target.own(path);
  }

  function finish(lowers: readonly string[]): void {
    const below = openLowers(target.root, lowers);
    try {
      for (const first of waiting.values()) {
        for (const { path, to, name } of chainFrom(first).reverse()) {
          if (isMissing(to, name)) copyUp(to, name, below);
          // What came later in the archive is there already, and stays.
          if (path !== to && !exists(path)) makeLink(path, to, name);
          waiting.delete(path);
        }
      }
      for (const path of target.implied()) copyDirectory(path, below);
    } finally {
      below.close();
    }
  }

  /** A link whose file is another link that waits, and so on. */
  function chainFrom(first: Waiting): Waiting[] {
    const chain = new Set([first]);
    for (let last = first; isMissing(last.to, last.name); ) {
      const next = waiting.get(last.to);
      if (next === undefined || chain.has(next)) break;
      chain.add(next);
      last = next;
    }
    return [...chain];
  }

  function copyUp(path: string, name: string, below: LowerView): void {
    const found = target.isHidden(path) ? undefined : below.find(path);
    if (found === undefined) throw damaged(name, `the hard link's file ${quoted(path)} is not there`);
    try {
      if (isDirectory(found.status)) throw toDirectory(name, path);
      copyFile(found, target.directory(parentOf(path), name), bytesOf(baseOf(path)), path, metadata);
    } finally {
      close(found.fd);
    }
  }

  function copyDirectory(path: string, below: LowerView): void {
    const found = below.find(path);
    if (found === undefined) return;
    try {
      if (!isDirectory(found.status)) return;
      const readable = openFound(found);
      target.makeDirectory(path, attributesOf(found, readable, path));
      close(readable);
    } finally {
      close(found.fd);
    }
  }

  function hideRoot(lowers: readonly string[]): void {
    for (const name of rootNames(lowers)) target.hide(name, name);
  }

  return { link, isWaiting: () => waiting.size > 0 || target.implied().length > 0, finish, hideRoot };
}

function toDirectory(name: string, to: string): TsboxError {
  return damaged(name, `a hard link to the directory ${quoted(to)}`);
}

function replacesItself(name: string, to: string): TsboxError {
  return damaged(name, `the hard link replaces its own file ${quoted(to)}`);
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
