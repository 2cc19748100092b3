/**
 * What tsbox itself has made in a container's layer for its mounts to stand on: empty directories and files, the directories that are
 * there only for them, and directories of the image that were copied up for nothing else. A commit leaves these out.
 */
import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { type Found, resolveInStack, type Stack } from '../store/lookup.ts';
import { lgetxattr, llistxattr } from '../sys/xattr.ts';
import { placeInStack } from './places.ts';

/** Whether a path of the upper directory (without a slash in front) is only there for the mounts.
 *  @param below the layers under the upper directory, nearest first
 *  @param destinations of the mounts, absolute paths in the container */
export function madeForMounts(upper: string, below: Stack, destinations: readonly string[]): (path: string) => boolean {
  const made = new Set<string>();
  for (const destination of destinations) {
    const path = placeOf(below, destination);
    if (path !== undefined && isEmpty(upper, path)) made.add(path);
  }
  // Upwards from each: a directory with nothing in it but what is left out is left out too.
  for (const path of [...made]) {
    for (let at = posix.dirname(path); at !== '/' && isOnlyFor(upper, below, at, made); at = posix.dirname(at))
      made.add(at);
  }
  return (path) => made.has(`/${path}`);
}

/** Where a mount point was made, symlinks of the image followed; undefined when the image had something there. */
function placeOf(below: Stack, destination: string): string | undefined {
  const place = placeInStack(below, destination);
  return resolveInStack(below, place, false) === undefined ? place : undefined;
}

/** In the upper directory itself, no symlink followed on the way. */
function inUpper(upper: string, path: string): Stats | undefined {
  let at = upper;
  let stat: Stats | undefined;
  for (const name of path.split('/').filter((part) => part !== '')) {
    if (stat !== undefined && !stat.isDirectory()) return undefined;
    at += `/${name}`;
    stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
  }
  return stat;
}

/** As mount points are made: by root, with the modes that tsbox and Docker give them. */
function isAsMade(stat: Stats): boolean {
  const modes = stat.isDirectory() ? [0o755] : [0o644, 0o755];
  return stat.uid === 0 && stat.gid === 0 && modes.includes(stat.mode & 0o7777);
}

function isEmpty(upper: string, path: string): boolean {
  const stat = inUpper(upper, path);
  if (stat === undefined || !isAsMade(stat)) return false;
  return stat.isDirectory() ? readdirSync(upper + path).length === 0 : stat.isFile() && stat.size === 0;
}

function isOnlyFor(upper: string, below: Stack, path: string, made: ReadonlySet<string>): boolean {
  const stat = inUpper(upper, path);
  if (stat === undefined || !readdirSync(upper + path).every((name) => made.has(posix.join(path, name)))) return false;
  const original = resolveInStack(below, path, false);
  if (original === undefined) return isAsMade(stat);
  return isCopy(upper + path, stat, original);
}

function attributes(path: string): string {
  const names = llistxattr(path).filter((name) => !/^(?:trusted|user)\.overlay\.(?!opaque)/.test(name));
  return JSON.stringify(names.map((name) => [name, lgetxattr(path, name)?.toString('base64')]));
}

/** Was the directory copied up as it is? Only its time has changed then. */
function isCopy(path: string, stat: Stats, { stat: original, host }: Found): boolean {
  const same = stat.mode === original.mode && stat.uid === original.uid && stat.gid === original.gid;
  return same && attributes(path) === attributes(host);
}
