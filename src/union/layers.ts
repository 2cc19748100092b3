/** Directories that are layers, opened: in mounts of the union's own, which nobody sees. */
import { closeSync, fstatSync, realpathSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { wrapError } from '../errors.ts';
import { AT, MOUNT_ATTR, MS } from '../spec/linux.ts';
import { AT_FDCWD, OPEN, openat } from '../sys/file.ts';
import { openTree, treeSetattr } from '../sys/mount.ts';

const DIRECTORY = OPEN.PATH | OPEN.DIRECTORY;
/** MOUNT_ATTR__ATIME: all that says when times of access are kept. */
const ATIME = 0x70;

/** @throws SyscallError */
export function openLayer(what: string, path: string): number {
  try {
    return openat(AT_FDCWD, path, DIRECTORY);
  } catch (error) {
    throw wrapError(what, error);
  }
}

/** A lower layer is not to be changed, not even by being read: it gets a mount of its own, which keeps no times. Who may not have that
 *  reads it where it is. @throws SyscallError */
export function openLower(path: string): number {
  const plain = openLayer('lowerdir', path);
  let tree = -1;
  try {
    tree = openTree(path, AT.OPEN_TREE_CLONE);
    treeSetattr(tree, 0, MOUNT_ATTR.MOUNT_ATTR_RDONLY | MOUNT_ATTR.MOUNT_ATTR_NOATIME, ATIME, 0);
    closeSync(plain);
    return tree;
  } catch {
    if (tree >= 0) closeSync(tree);
    return plain;
  }
}

/** What is written to: two directories, O_PATH. */
export interface Writable {
  upper: number;
  work: number;
}

/** Opens both once more, in a mount of the union's own, as overlayfs has it: what they lie on can then be unmounted as soon as the union
 *  is, though its process ends a moment later. It is one mount for both, of a directory above them, since nothing is renamed from one
 *  mount to another. Private: what is mounted below that directory later, the union itself among it, does not come into it. Who may not have
 *  such a mount has them where they are. */
export function toOwnMount(writable: Writable, upper: string, work: string): void {
  let tree = -1;
  let opened: number[] = [];
  try {
    const paths = [realpathSync(upper), realpathSync(work)];
    const above = commonDirectory(paths[0]!, paths[1]!);
    tree = openTree(above, AT.OPEN_TREE_CLONE);
    treeSetattr(tree, 0, 0, 0, MS.MS_PRIVATE);
    for (const path of paths) opened.push(openat(tree, relative(above, path) || '.', DIRECTORY));
    if (!isSame(opened[0]!, writable.upper) || !isSame(opened[1]!, writable.work)) throw new Error('another directory');
    const replaced = [writable.upper, writable.work];
    [writable.upper, writable.work] = [opened[0]!, opened[1]!];
    opened = replaced;
  } catch {
    if (tree >= 0) closeSync(tree);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function commonDirectory(one: string, other: string): string {
  let above = one;
  while (above !== '/' && other !== above && !other.startsWith(`${above}/`)) above = dirname(above);
  return above;
}

function isSame(one: number, other: number): boolean {
  const [a, b] = [fstatSync(one, { bigint: true }), fstatSync(other, { bigint: true })];
  return a.dev === b.dev && a.ino === b.ino;
}
