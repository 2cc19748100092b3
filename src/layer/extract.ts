/**
 * Unpacks a tar into a directory that is in use, as Docker's `cp` does: what is there stays unless an entry of the same name replaces it,
 * and `.wh.` in a name means nothing. Every path is found by openat2(2): without symlinks from the directory, else, where the caller has
 * a root, within that.
 */
import { posix } from 'node:path';
import { isErrno, TsboxError } from '../errors.ts';
import { S } from '../spec/linux.ts';
import {
  close,
  deviceNumber,
  ftruncate,
  linkat,
  mkdirat,
  mknodat,
  OPEN,
  openat,
  openat2,
  pwriteAll,
  RESOLVE,
  symlinkat,
  unlinkat,
  writeAll,
} from '../sys/file.ts';
import { isNamespaceRoot } from '../sys/own-ids.ts';
import { type FileStatus, statAt, TYPE_MASK } from '../sys/stat.ts';
import { baseOf, bytesOf, damaged, parentOf, type TarEntry } from './entry.ts';
import { createMetadataWriter, type MetadataWriter } from './metadata.ts';
import { type Owners, shiftXattr } from './owners.ts';
import { createTarReader } from './read.ts';

export interface ExtractOptions {
  /** The directory, as errors name it. */
  shown: string;
  /** Where a symlink on the way to an entry ends, and the directory's path from there, bytes as latin1. Absent: no symlink is followed. */
  within?: { root: number; path: string };
  /** Give files to the owners that the archive names, or to this one. Absent: they are the caller's. */
  owner?: 'archive' | { uid: number; gid: number };
  /** What those ids become on disk; they stay as they are when absent. */
  owners?: Owners | undefined;
}

const DIRECTORY = OPEN.RDONLY | OPEN.DIRECTORY;
const BENEATH = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;
const NEW_FILE = OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW;

interface Extraction {
  dirfd: number;
  options: ExtractOptions;
  metadata: MetadataWriter;
  /** The directory of the entry before. */
  parent: { path: string; fd: number };
  /** Directories that were met, for their attributes at the end. */
  directories: Map<string, TarEntry>;
  file: { fd: number; entry: TarEntry; extent: number; written: number } | undefined;
}

/** Unpacks `stream`, an uncompressed tar, into the directory `dirfd`.
 *  @returns what was left out: one sentence a kind, for a person
 *  @throws ERR_TSBOX_CONFLICT for a directory over something else, and the reverse; ERR_TSBOX_DAMAGED; SyscallError */
export async function extractArchive(
  stream: AsyncIterable<Buffer>,
  dirfd: number,
  options: ExtractOptions,
): Promise<string[]> {
  const metadata = createMetadataWriter({ chown: options.owner !== undefined, givenOwner: undefined });
  const state: Extraction = {
    dirfd,
    options,
    metadata,
    parent: { path: '', fd: dirfd },
    directories: new Map(),
    file: undefined,
  };
  const reader = createTarReader({
    entry: (entry) => begin(state, entry),
    data: (chunk, start, end) => data(state, chunk, start, end),
    done: () => done(state),
  });
  try {
    for await (const chunk of stream) reader.push(chunk);
    reader.end();
    finish(state);
    return metadata.notices();
  } catch (error) {
    settle(state);
    throw error;
  } finally {
    if (state.file !== undefined) close(state.file.fd);
    leave(state);
  }
}

/** @throws ERR_TSBOX_DAMAGED for a name that leads out, as Docker says it */
function placeOf(name: string, shown: string): string {
  const path = posix.normalize(name.replace(/^\/+/, '')).replace(/\/+$/, '');
  if (path !== '..' && !path.startsWith('../')) return path;
  throw new TsboxError('ERR_TSBOX_DAMAGED', `${JSON.stringify(name)} is outside of ${JSON.stringify(shown)}`);
}

/** Owner and attributes as they become on disk. */
function owned(entry: TarEntry, { owner, owners }: ExtractOptions): TarEntry {
  const { uid, gid } = typeof owner === 'object' ? owner : entry;
  if (owners === undefined) return { ...entry, uid, gid };
  const xattrs =
    entry.xattrs && new Map([...entry.xattrs].map(([key, value]) => [key, shiftXattr(key, value, owners)]));
  return { ...entry, uid: owners.uid(uid), gid: owners.gid(gid), xattrs };
}

function begin(state: Extraction, found: TarEntry): void {
  if (found.type === 'none') return;
  const { shown } = state.options;
  const path = placeOf(found.name, shown);
  const entry = owned(found, state.options);
  const isDirectory = entry.type === 'directory';
  if (path === '.' || path === '') {
    if (!isDirectory) throw overDirectory(shown, shown);
    return;
  }
  const dirfd = directory(state, parentOf(path), true);
  const there = look(dirfd, bytesOf(baseOf(path)));
  const isThere = there !== undefined && (there.mode & TYPE_MASK) === S.S_IFDIR;
  const place = posix.join(shown, bytesOf(path).toString());
  if (isThere && !isDirectory) throw overDirectory(place, shown);
  if (there !== undefined && !isThere && isDirectory) {
    throw conflict(`cannot overwrite non-directory ${JSON.stringify(place)} with directory ${JSON.stringify(shown)}`);
  }
  if (isDirectory) {
    if (!isThere) mkdirat(dirfd, bytesOf(baseOf(path)), 0o700);
    state.directories.set(path, entry);
  } else make(state, dirfd, path, entry, there);
}

const conflict = (message: string) => new TsboxError('ERR_TSBOX_CONFLICT', message);

function overDirectory(place: string, shown: string): TsboxError {
  return conflict(`cannot overwrite directory ${JSON.stringify(place)} with non-directory ${JSON.stringify(shown)}`);
}

function look(dirfd: number, base: Buffer): FileStatus | undefined {
  try {
    return statAt(dirfd, base);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function leave({ parent, dirfd }: Extraction): void {
  if (parent.fd !== dirfd) close(parent.fd);
}

/** A descriptor of a directory below, good until the next is asked for; made, with its parents, when `make` says so and it is missing. */
function directory(state: Extraction, path: string, make: boolean): number {
  if (path === state.parent.path) return state.parent.fd;
  const fd = open(state, path, make);
  leave(state);
  state.parent = { path, fd };
  return fd;
}

function open(state: Extraction, path: string, make: boolean): number {
  if (path === '') return state.dirfd;
  const { within } = state.options;
  try {
    return openat2(state.dirfd, bytesOf(path), DIRECTORY, BENEATH);
  } catch (error) {
    if (isErrno(error, 'ELOOP') && within !== undefined) {
      return openat2(within.root, bytesOf(`${within.path}/${path}`), DIRECTORY, RESOLVE.IN_ROOT);
    }
    if (!make || !isErrno(error, 'ENOENT')) throw error;
  }
  const parent = open(state, parentOf(path), true);
  try {
    const base = bytesOf(baseOf(path));
    mkdirat(parent, base, 0o755);
    const fd = openat(parent, base, DIRECTORY | OPEN.NOFOLLOW);
    const implied = { name: path, mode: 0o755, uid: 0, gid: 0, mtime: undefined, mtimeNsec: 0 };
    const { owners } = state.options;
    const owner = { uid: owners?.uid(0) ?? 0, gid: owners?.gid(0) ?? 0 };
    state.metadata.toFile(fd, { ...implied, ...owner, xattrs: undefined, acls: undefined }, -1);
    return fd;
  } finally {
    if (parent !== state.dirfd) close(parent);
  }
}

function make(state: Extraction, dirfd: number, path: string, entry: TarEntry, there: FileStatus | undefined): void {
  const base = bytesOf(baseOf(path));
  const isFile = entry.type === 'file';
  // What a mount point shows cannot be replaced; its content can.
  const inPlace = isFile && there?.isMountRoot === true && (there.mode & TYPE_MASK) === S.S_IFREG;
  if (there !== undefined && !inPlace && entry.type !== 'link') unlinkat(dirfd, base);
  if (isFile) {
    const flags = inPlace ? OPEN.WRONLY | OPEN.TRUNC | OPEN.NOFOLLOW : NEW_FILE;
    state.file = { fd: openat(dirfd, base, flags, 0o600), entry, extent: 0, written: 0 };
  } else if (entry.type === 'link') link(state, path, entry, there !== undefined);
  else if (entry.type === 'symlink') {
    if (entry.linkname === '') throw damaged(entry.name, 'a symbolic link to nothing');
    symlinkat(bytesOf(entry.linkname), dirfd, base);
    state.metadata.toName(dirfd, base, entry);
  } else if (makeNode(state, dirfd, base, entry)) state.metadata.toName(dirfd, base, entry);
}

/** Root of a user namespace makes no device nodes. @returns whether it was made */
function makeNode(state: Extraction, dirfd: number, base: Buffer, entry: TarEntry): boolean {
  const type = entry.type === 'fifo' ? S.S_IFIFO : entry.type === 'char' ? S.S_IFCHR : S.S_IFBLK;
  const device = entry.type === 'fifo' ? 0n : deviceNumber(entry.deviceMajor, entry.deviceMinor);
  try {
    mknodat(dirfd, base, type | (entry.mode & 0o777), device);
    return true;
  } catch (error) {
    if (entry.type === 'fifo' || !isErrno(error, 'EPERM') || !isNamespaceRoot()) throw error;
    state.metadata.leaveOut('a device node, which only root of the host may make');
    return false;
  }
}

/** A hard link to something of the same archive, or to what was there. */
function link(state: Extraction, path: string, entry: TarEntry, isThere: boolean): void {
  const to = placeOf(entry.linkname, state.options.shown);
  if (to === path) return;
  const from = open(state, parentOf(to), false);
  try {
    const dirfd = directory(state, parentOf(path), true);
    statAt(from, bytesOf(baseOf(to)));
    if (isThere) unlinkat(dirfd, bytesOf(baseOf(path)));
    linkat(from, bytesOf(baseOf(to)), dirfd, bytesOf(baseOf(path)));
  } finally {
    if (from !== state.dirfd) close(from);
  }
}

function data({ file }: Extraction, chunk: Buffer, start: number, end: number): void {
  if (file === undefined) return;
  const name = bytesOf(file.entry.name);
  if (file.entry.sparse === undefined) {
    writeAll(file.fd, chunk, start, end, name);
    return;
  }
  for (let at = start; at < end; ) {
    const part = file.entry.sparse[file.extent]!;
    const length = Math.min(end - at, part.length - file.written);
    pwriteAll(file.fd, chunk, at, at + length, part.offset + file.written, name);
    at += length;
    file.written += length;
    if (file.written === part.length) {
      file.extent++;
      file.written = 0;
    }
  }
}

function done(state: Extraction): void {
  const { file } = state;
  if (file === undefined) return;
  state.file = undefined;
  try {
    if (file.entry.sparse !== undefined) ftruncate(file.fd, file.entry.size, bytesOf(file.entry.name));
    state.metadata.toFile(file.fd, file.entry, -1);
  } finally {
    close(file.fd);
  }
}

/** After an error: what was unpacked is to look as it should, as far as it goes. */
function settle(state: Extraction): void {
  try {
    finish(state);
  } catch {
    // the error that led here is the one to tell
  }
}

/** Attributes of the directories, the deepest first: a parent may not be entered any more once its own permissions are set. */
function finish(state: Extraction): void {
  for (const [path, entry] of [...state.directories].sort(([a], [b]) => b.length - a.length)) {
    const fd = open(state, path, false);
    try {
      state.metadata.toFile(fd, entry, -1);
    } finally {
      close(fd);
    }
  }
}
