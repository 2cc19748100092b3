/** Directories of a tree that is walked, by descriptors: however deep it is, only the nearest stay open. One that was closed meanwhile is opened
 *  again when it is needed, from the root of its tree. Symlinks are not followed. Names are bytes, as latin1. */
import { AT_FDCWD, close, OPEN, openat, openat2, RESOLVE } from '../sys/file.ts';
import { bytesOf } from './entry.ts';

export interface Folder {
  /** None: a root, which stays open. */
  readonly parent: Folder | undefined;
  readonly name: string;
  /** -1 while it is closed. */
  fd: number;
}

const DIRECTORY = OPEN.RDONLY | OPEN.DIRECTORY;
/** As many descriptors stay open for the ways down to where the walk is, beside roots and the last two steps. */
const KEPT_OPEN = 64;
/** A path for the kernel has room for 4,095 bytes. */
const PATH_ROOM = 4000;

/** @throws SyscallError */
export function openRoot(path: string): Folder {
  return { parent: undefined, name: '', fd: openat(AT_FDCWD, path, DIRECTORY) };
}

/** @throws SyscallError; ELOOP for a symlink */
export function openFolder(parent: Folder, name: string): Folder {
  return { parent, name, fd: openat(descriptorOf(parent), bytesOf(name), DIRECTORY | OPEN.NOFOLLOW) };
}

/** All, or none: on an error those are closed that were opened. */
export function openAll<T>(of: readonly T[], open: (one: T) => Folder): Folder[] {
  const opened: Folder[] = [];
  try {
    for (const one of of) opened.push(open(one));
    return opened;
  } catch (error) {
    closeAll(opened);
    throw error;
  }
}

/** Its descriptor, good until {@link keepNear} or {@link closeAll} is called. @throws SyscallError ENOENT when it was moved meanwhile */
export function descriptorOf(folder: Folder): number {
  if (folder.fd !== -1) return folder.fd;
  const names: string[] = [];
  let near: Folder = folder;
  for (; near.fd === -1 && near.parent !== undefined; near = near.parent) names.push(near.name);
  let at = near.fd;
  try {
    while (names.length > 0) {
      let path = names.pop()!;
      while (names.length > 0 && path.length + names.at(-1)!.length < PATH_ROOM) path += `/${names.pop()}`;
      const next = openat2(at, bytesOf(path), DIRECTORY, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
      if (at !== near.fd) close(at);
      at = next;
    }
  } catch (error) {
    if (at !== near.fd) close(at);
    throw error;
  }
  folder.fd = at;
  return at;
}

export function closeAll(folders: readonly Folder[]): void {
  for (const folder of folders) {
    if (folder.fd !== -1) close(folder.fd);
    folder.fd = -1;
  }
}

/** Closes what is far from the end of a walk's steps. @param steps the directories that each has opened, the first of them roots */
export function keepNear(steps: readonly { folders: readonly Folder[] }[]): void {
  let open = 0;
  for (let index = steps.length - 1; index > 0; index--) {
    const { folders } = steps[index]!;
    const here = folders.filter(({ fd }) => fd !== -1).length;
    // Those before it were closed earlier.
    if (here === 0) return;
    open += here;
    if (open > KEPT_OPEN && index < steps.length - 2) closeAll(folders);
  }
}
