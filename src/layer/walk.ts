/** Walks a directory tree by descriptors, names in the order of their bytes, a directory before what is in it. Symlinks are not
 *  followed, and no tree is too deep: only the nearest directories stay open. */
import { isErrno, TsboxError } from '../errors.ts';
import { AT_EMPTY_PATH, AT_FDCWD, close, OPEN, openat } from '../sys/file.ts';
import { type FileStatus, isDirectory, namesIn, statAt } from '../sys/stat.ts';
import { bytesOf, quoted } from './entry.ts';

/** Something in the tree. */
export interface Item {
  /** Below the root, bytes as latin1. */
  path: string;
  base: Buffer;
  /** The directory that it is in; good until the walk goes on. */
  dirfd: number;
  status: FileStatus;
  /** A directory's own descriptor; -1 for anything else. */
  fd: number;
}

interface Frame {
  fd: number; // -1 while it is closed
  identity: string;
  path: string;
  names: string[];
  next: number;
}

const KEPT_OPEN = 64;
const OPEN_DIRECTORY = OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW;

/** All that is below `root`. `enter` says whether something is wanted, a directory with all it has. What vanishes while the walk
 *  is on its way is left out. */
export function* walkTree(root: string | Buffer, enter: (path: string) => boolean): Generator<Item> {
  const frames: Frame[] = [openFrame(AT_FDCWD, root, '', OPEN.RDONLY | OPEN.DIRECTORY)];
  try {
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const name = frame.names[frame.next++];
      if (name === undefined) {
        leave(frames);
        continue;
      }
      const path = frame.path === '' ? name : `${frame.path}/${name}`;
      if (!enter(path)) continue;
      const found = look(frame.fd, path, bytesOf(name));
      if (found === undefined) continue;
      if (found.inside !== undefined) {
        frames.push(found.inside);
        closeFar(frames);
      }
      yield found.item;
    }
  } finally {
    for (const frame of frames) if (frame.fd !== -1) close(frame.fd);
  }
}

function openFrame(dirfd: number, base: string | Buffer, path: string, flags: number): Frame {
  const fd = openat(dirfd, base, flags);
  try {
    return { fd, identity: statAt(fd, '', AT_EMPTY_PATH).identity, path, names: namesIn(fd), next: 0 };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** @returns undefined for what is gone; `inside` when it is a directory */
function look(dirfd: number, path: string, base: Buffer): { item: Item; inside?: Frame } | undefined {
  try {
    const status = statAt(dirfd, base);
    if (!isDirectory(status)) return { item: { path, base, dirfd, status, fd: -1 } };
    const inside = openFrame(dirfd, base, path, OPEN_DIRECTORY);
    return { item: { path, base, dirfd, status, fd: inside.fd }, inside };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Does this error mean that something was removed meanwhile, or that something of another kind took its place? */
export function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EINVAL'].some((name) => isErrno(error, name));
}

/** The item's own directory is needed until the walk goes on, so the frame above the last stays open too. */
function closeFar(frames: readonly Frame[]): void {
  const far = frames[frames.length - 1 - KEPT_OPEN];
  if (far === undefined || far.fd === -1) return;
  close(far.fd);
  far.fd = -1;
}

function leave(frames: Frame[]): void {
  const done = frames.pop()!;
  const parent = frames.at(-1);
  try {
    if (parent?.fd === -1) reopen(parent, done.fd);
  } finally {
    close(done.fd);
  }
}

function reopen(parent: Frame, child: number): void {
  const fd = openat(child, '..', OPEN.RDONLY | OPEN.DIRECTORY);
  if (statAt(fd, '', AT_EMPTY_PATH).identity === parent.identity) {
    parent.fd = fd;
    return;
  }
  close(fd);
  throw new TsboxError('ERR_TSBOX_CONFLICT', `read directory ${quoted(parent.path)}: it was moved meanwhile`);
}
