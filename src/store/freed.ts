/** How much is freed by a removal: bytes of what images and containers hold, without the store's own records about them. */
import { lstatSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { isErrno } from '../errors.ts';
import { removeTree } from './io.ts';
import { isShifted } from './shifted.ts';

/** Bytes of file content in a tree, as Docker counts them: every inode once, symlinks with their targets, directories not. What
 *  vanishes meanwhile, or is not there, counts as nothing. */
export function treeBytes(path: string): number {
  const seen = new Set<number>();
  let bytes = 0;
  // Names as bytes: they need not be UTF-8.
  const visit = (directory: Buffer): void => {
    for (const entry of orNone(() => readdirSync(directory, { encoding: 'buffer', withFileTypes: true }), [])) {
      const child = Buffer.concat([directory, SLASH, entry.name]);
      if (entry.isDirectory()) visit(child);
      else if (entry.isFile() || entry.isSymbolicLink()) bytes += fileBytes(child, seen);
    }
  };
  visit(Buffer.from(path));
  return bytes;
}

const SLASH = Buffer.from('/');

function fileBytes(path: Buffer, seen: Set<number>): number {
  const status = orNone(() => lstatSync(path), undefined);
  if (status === undefined || (status.nlink > 1 && seen.has(status.ino))) return 0;
  if (status.nlink > 1) seen.add(status.ino);
  return status.size;
}

function orNone<T>(look: () => T, none: T): T {
  try {
    return look();
  } catch (error) {
    // What an ordinary user's subordinate ids have closed to him is not counted. Too long a path is one that only `cd` reaches.
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'EACCES'].some((name) => isErrno(error, name))) return none;
    throw error;
  }
}

/** Bytes of what a container has printed: its log, also the parts that were rotated away. `directory` is the container's. */
export function logBytes(directory: string): number {
  const logs = orNone(() => readdirSync(directory), []).filter((name) => /-json\.log(\.\d+(\.gz)?)?$/.test(name));
  return logs.reduce((sum, name) => sum + fileBytes(Buffer.from(`${directory}/${name}`), new Set()), 0);
}

/** What the removal of one of the store's directories will free: a layer's files (but those of an init layer are tsbox's own), copies
 *  of them, or a container's log. */
export function contentBytes(path: string): number {
  if (isShifted(path)) return treeBytes(path);
  const isInit = /-init(-removing)?$/.test(basename(path));
  return (isInit ? 0 : treeBytes(`${path}/diff`)) + logBytes(path);
}

/** Removes a directory of the store that waits for it. @returns the bytes that this frees */
export function removeCounted(path: string): number {
  const bytes = contentBytes(path);
  removeTree(path);
  return bytes;
}
