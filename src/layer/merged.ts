/** What layers on disk have together, as a union would show it, directory by directory and without a mount. Names are bytes.
 *  @see overlayfs.rst, Upper and Lower, whiteouts and opaque directories */
import { type FileStatus, isDirectory, namesIn, statAt } from '../sys/stat.ts';
import { lgetxattr } from '../sys/xattr.ts';
import { bytesOf } from './entry.ts';
import { descriptorOf, type Folder, openAll, openFolder } from './folders.ts';
import { isWhiteout, OPAQUE_XATTR, type UnionForm } from './whiteout.ts';

/** One name of a merged directory. */
export interface MergedEntry {
  /** Bytes as latin1. */
  name: string;
  /** The directory that it is seen in; the nearest of those that make up a directory. */
  folder: Folder;
  status: FileStatus;
  /** Of a directory: the directories that have a part of it, nearest first. */
  parts: readonly Folder[];
}

interface Seen {
  entry: MergedEntry | undefined; // none of a name that is hidden
  parts: Folder[];
  goesOn: boolean;
}

/** For the calls that know no directory descriptor; the last component is not followed. */
export const nameAt = (dirfd: number, name: string): Buffer => bytesOf(`/proc/self/fd/${dirfd}/${name}`);

/** The names that are visible in a merged directory, in the order of their bytes.
 *  @param pieces its parts, nearest first, just opened */
export function mergedEntries(pieces: readonly Folder[], form: UnionForm): MergedEntry[] {
  const seen = new Map<string, Seen>();
  for (const [index, folder] of pieces.entries()) {
    const dirfd = descriptorOf(folder);
    const isLast = index === pieces.length - 1;
    for (const name of namesIn(dirfd)) {
      const above = seen.get(name);
      if (above?.goesOn === false) continue;
      const status = statAt(dirfd, bytesOf(name));
      if (isDirectory(status)) {
        const one = above ?? { entry: { name, folder, status, parts: [] }, parts: [], goesOn: true };
        one.parts.push(folder);
        one.goesOn = !isLast && !isOpaque(dirfd, name, form);
        seen.set(name, one);
      } else if (above !== undefined) above.goesOn = false;
      else {
        const hidden = isWhiteout(status, form, (attribute) => lgetxattr(nameAt(dirfd, name), attribute));
        seen.set(name, { entry: hidden ? undefined : { name, folder, status, parts: [] }, parts: [], goesOn: false });
      }
    }
  }
  return [...seen.values()]
    .flatMap(({ entry, parts }) => (entry === undefined ? [] : [{ ...entry, parts }]))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function isOpaque(dirfd: number, name: string, form: UnionForm): boolean {
  return lgetxattr(nameAt(dirfd, name), OPAQUE_XATTR[form])?.toString() === 'y';
}

/** The parts of a directory, opened. */
export function openParts({ name, parts }: Pick<MergedEntry, 'name' | 'parts'>): Folder[] {
  return openAll(parts, (parent) => openFolder(parent, name));
}
