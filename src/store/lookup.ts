/**
 * Finds files in a stack of overlay directories without mounting them: whiteouts hide, directories merge, opaque ones do not, and
 * symlinks lead within the stack only. Paths are the container's. What overlayfs.rst says of a merged lookup, in user space.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import { bytesOf } from '../layer/entry.ts';
import { printable, refuse } from '../sys/ffi.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { lgetxattr } from '../sys/xattr.ts';
import { refusal } from './io.ts';

/** Directories on the host, nearest first. Only the first may be written to meanwhile. */
export type Stack = readonly string[];

/** As many symlinks as the kernel follows. @see path_resolution(7) */
const LINKS_MAX = 40;
/** How often a file that is replaced while it is opened is looked for again. */
const TRIES = 5;

export interface Found {
  /** In the container, without symlinks. */
  path: string;
  /** On the host. */
  host: string;
  /** Index in the stack. */
  layer: number;
  stat: Stats;
}

/** A directory in one layer. */
export interface Piece {
  /** On the host, bytes as latin1. */
  host: string;
  layer: number;
}

/** What a name is in a merged directory. */
export interface Child {
  /** Where it is, by {@link bytesOf}. */
  found: Piece & { stat: Stats };
  /** For a directory: its pieces that are visible, nearest first. Whether one is opaque is asked only when a search passes it. */
  pieces: Piece[];
}

/** Of both forms: a device 0:0, or an empty file that says so. */
function isWhiteout(stat: Stats, host: Buffer): boolean {
  if (stat.isCharacterDevice()) return stat.rdev === 0;
  return stat.isFile() && stat.size === 0 && ownXattr(host, 'whiteout') !== undefined;
}

/** What overlayfs has written beside a file, which in a running container may be gone by now. */
function ownXattr(host: Buffer, name: string): Buffer | undefined {
  try {
    return lgetxattr(host, `${isHostRoot() ? 'trusted' : 'user'}.overlay.${name}`);
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** What stands at a path of the host; a symlink itself. In a running container a directory may have become a file meanwhile. */
function lookAt(host: Buffer): Stats | undefined {
  try {
    return lstatSync(host, { throwIfNoEntry: false });
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return undefined;
    throw refusal(`look at ${printable(host)}`, error);
  }
}

/** Does the directory hide what is below it? Layer roots and what tsbox makes for a container's start never do. */
function hidesBelow(stack: Stack, { host, layer }: Piece): boolean {
  const root = stack[layer] ?? '';
  if (host.length === Buffer.byteLength(root) || root.endsWith('-init/diff')) return false;
  return ownXattr(bytesOf(host), 'opaque')?.toString('latin1') === 'y';
}

/** The pieces of the stack's own root. */
export function rootPieces(stack: Stack): Piece[] {
  return stack.map((host, layer) => ({ host: latin1(host), layer }));
}

const latin1 = (text: string) => Buffer.from(text).toString('latin1');
const textOf = (name: string) => bytesOf(name).toString();

/** Looks for one name in a merged directory; a symlink is found itself. @param name bytes as latin1 */
export function childOf(stack: Stack, directory: readonly Piece[], name: string): Child | undefined {
  let found: Child['found'] | undefined;
  const pieces: Piece[] = [];
  for (const [index, piece] of directory.entries()) {
    const host = `${piece.host}/${name}`;
    const path = bytesOf(host);
    const stat = lookAt(path);
    if (stat !== undefined) {
      if (!stat.isDirectory()) {
        if (found === undefined && !isWhiteout(stat, path))
          return { found: { host, layer: piece.layer, stat }, pieces };
        break;
      }
      found ??= { host, layer: piece.layer, stat };
      pieces.push({ host, layer: piece.layer });
    }
    if (index + 1 < directory.length && hidesBelow(stack, piece)) break;
  }
  return found === undefined ? undefined : { found, pieces };
}

interface Level {
  name: string;
  child: Child;
}

/** Where `path` leads in the container, symlinks followed within the stack; undefined where nothing is, or something that is no
 *  directory stands in the way.
 *  @param follow whether a symlink at the very end is followed too; true when absent
 *  @throws SyscallError ELOOP after 40 symlinks */
export function resolveInStack(stack: Stack, path: string, follow = true): Found | undefined {
  const root = rootPieces(stack);
  const trail: Level[] = [];
  const rest = latin1(path).split('/').reverse();
  let links = 0;
  while (rest.length > 0) {
    const name = rest.pop()!;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      trail.pop();
      continue;
    }
    const child = childOf(stack, trail.at(-1)?.child.pieces ?? root, name);
    if (child === undefined) return undefined;
    const { stat, host } = child.found;
    if (stat.isSymbolicLink() && (follow || rest.length > 0)) {
      links++;
      if (links > LINKS_MAX) throw refuse('open', `look for ${printable(path)} in the image`, 'ELOOP');
      const target = readlinkSync(bytesOf(host), 'latin1');
      if (target.startsWith('/')) trail.length = 0;
      rest.push(...target.split('/').reverse());
    } else if (!stat.isDirectory() && rest.length > 0) return undefined;
    else trail.push({ name, child });
  }
  const last = trail.at(-1);
  if (last === undefined) return rootOf(stack);
  const { host, layer, stat } = last.child.found;
  return { path: textOf(`/${trail.map((level) => level.name).join('/')}`), host: textOf(host), layer, stat };
}

function rootOf(stack: Stack): Found | undefined {
  const host = stack[0];
  return host === undefined ? undefined : { path: '/', host, layer: 0, stat: lstatSync(host) };
}

/** What `path` is in the container; a final symlink is followed unless `follow` is false. @throws as {@link resolveInStack} */
export function statInStack(stack: Stack, path: string, follow = true): Stats | undefined {
  return resolveInStack(stack, path, follow)?.stat;
}

/** The bytes of a regular file of the container; undefined where there is none, or something else.
 *  @throws ERR_TSBOX_LIMIT when it has more than `limit` bytes; SyscallError as {@link resolveInStack} */
export function readFileInStack(stack: Stack, path: string, limit: number): Buffer | undefined {
  for (let tries = TRIES; tries > 0; tries--) {
    const found = resolveInStack(stack, path);
    if (found === undefined || !found.stat.isFile()) return undefined;
    const fd = openFound(found);
    if (fd === undefined) continue;
    try {
      if (isWhereFound(fd, stack, found)) return readAll(fd, path, limit);
    } finally {
      closeSync(fd);
    }
  }
  throw refuse('open', `read ${printable(path)} in the container: it changes all the time`, 'EAGAIN');
}

/** O_NONBLOCK: a fifo that has taken the file's place must not hold us. */
function openFound(found: Found): number | undefined {
  try {
    return openSync(found.host, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].some((name) => isErrno(error, name))) return undefined;
    throw refusal(`open ${printable(found.host)}`, error);
  }
}

/** A running container may have put a symlink in the place of a directory between the look and the open: what was opened is then
 *  not where it was looked for, but somewhere on the host. */
function isWhereFound(fd: number, stack: Stack, found: Found): boolean {
  if (!fstatSync(fd).isFile()) return false;
  const opened = readlinkSync(`/proc/self/fd/${fd}`);
  if (opened === found.host) return true;
  const root = stack[found.layer] ?? '';
  return opened === realpathSync.native(root) + found.host.slice(root.length);
}

function readAll(fd: number, path: string, limit: number): Buffer {
  const size = fstatSync(fd).size;
  const bytes = Buffer.alloc(Math.min(Math.max(size, 0), limit) + 1);
  let length = 0;
  while (length < bytes.length) {
    const got = readSync(fd, bytes, length, bytes.length - length, null);
    if (got === 0) break;
    length += got;
  }
  if (length > limit) {
    throw new TsboxError('ERR_TSBOX_LIMIT', `read ${printable(path)} in the container: more than ${limit} bytes`);
  }
  return bytes.subarray(0, length);
}
