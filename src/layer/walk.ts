/** Walks a directory tree by descriptors, names in the order of their bytes, a directory before what is in it. Symlinks are not
 *  followed, and no tree is too deep: only the nearest directories stay open. */
import { isErrno, TsboxError } from '../errors.ts';
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, AT_FDCWD, close, OPEN, openat } from '../sys/file.ts';
import { type FileStatus, namesIn, statAt, TYPE_MASK } from '../sys/stat.ts';
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
  const fd = openat(AT_FDCWD, root, OPEN.RDONLY | OPEN.DIRECTORY);
  const frames: Frame[] = [newFrame(fd, '', statAt(fd, '', AT_EMPTY_PATH).identity)];
  try {
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const name = frame.names[frame.next++];
      if (name === undefined) {
        leave(frames);
        continue;
      }
      const path = frame.path === '' ? name : `${frame.path}/${name}`;
      if (!enter(path)) continue;
      const item = look(frame.fd, path, bytesOf(name));
      if (item === undefined) continue;
      if (item.fd !== -1) {
        frames.push(newFrame(item.fd, path, item.status.identity));
        closeFar(frames);
      }
      yield item;
    }
  } finally {
    for (const frame of frames) if (frame.fd !== -1) close(frame.fd);
  }
}

function newFrame(fd: number, path: string, identity: string): Frame {
  return { fd, identity, path, names: namesIn(fd), next: 0 };
}

function look(dirfd: number, path: string, base: Buffer): Item | undefined {
  try {
    const status = statAt(dirfd, base);
    const isDirectory = (status.mode & TYPE_MASK) === S.S_IFDIR;
    return { path, base, dirfd, status, fd: isDirectory ? openat(dirfd, base, OPEN_DIRECTORY) : -1 };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
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
