/**
 * What tsbox itself has made in a container's layer for its mounts to stand on: empty directories and files, the directories that are
 * there only for them, and directories of the image that were copied up for nothing else. A commit leaves these out.
 */
import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import { type Owners, shiftXattr } from '../layer/owners.ts';
import { type Found, resolveInStack, type Stack } from '../store/lookup.ts';
import { lgetxattr, llistxattr } from '../sys/xattr.ts';
import { placeInStack } from './places.ts';

/** Whether a path of the upper directory (without a slash in front) is only there for the mounts.
 *  @param below the layers under the upper directory, nearest first
 *  @param destinations of the mounts, absolute paths in the container
 *  @param owners from the ids in the upper directory to those below, where they are not the same */
export function madeForMounts(
  directory: string,
  below: Stack,
  destinations: readonly string[],
  owners?: Owners,
): (path: string) => boolean {
  const upper: Upper = { directory, owners: owners ?? { uid: (id) => id, gid: (id) => id } };
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

interface Upper {
  directory: string;
  owners: Owners;
}

/** Where a mount point was made, symlinks of the image followed; undefined when the image had something there. */
function placeOf(below: Stack, destination: string): string | undefined {
  const place = placeInStack(below, destination);
  return resolveInStack(below, place, false) === undefined ? place : undefined;
}

/** In the upper directory itself, no symlink followed on the way. */
function inUpper({ directory }: Upper, path: string): Stats | undefined {
  let at = directory;
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
function isAsMade(stat: Stats, { uid, gid }: Owners): boolean {
  const modes = stat.isDirectory() ? [0o755] : [0o644, 0o755];
  return uid(stat.uid) === 0 && gid(stat.gid) === 0 && modes.includes(stat.mode & 0o7777);
}

function isEmpty(upper: Upper, path: string): boolean {
  const stat = inUpper(upper, path);
  if (stat === undefined || !isAsMade(stat, upper.owners)) return false;
  return stat.isDirectory() ? readdirSync(upper.directory + path).length === 0 : stat.isFile() && stat.size === 0;
}

function isOnlyFor(upper: Upper, below: Stack, path: string, made: ReadonlySet<string>): boolean {
  const stat = inUpper(upper, path);
  if (stat === undefined) return false;
  if (!readdirSync(upper.directory + path).every((name) => made.has(posix.join(path, name)))) return false;
  const original = resolveInStack(below, path, false);
  if (original === undefined) return isAsMade(stat, upper.owners);
  return isCopy(upper, path, stat, original);
}

function attributes(path: string, owners?: Owners): string {
  const names = llistxattr(path).filter((name) => !/^(?:trusted|user)\.overlay\.(?!opaque)/.test(name));
  const value = (name: string) => {
    const found = lgetxattr(path, name);
    return found === undefined || owners === undefined ? found : shiftXattr(name, found, owners);
  };
  return JSON.stringify(names.map((name) => [name, value(name)?.toString('base64')]));
}

/** Was the directory copied up as it is? Only its time has changed then. */
function isCopy({ directory, owners }: Upper, path: string, stat: Stats, { stat: original, host }: Found): boolean {
  const owner = owners.uid(stat.uid) === original.uid && owners.gid(stat.gid) === original.gid;
  return stat.mode === original.mode && owner && attributes(directory + path, owners) === attributes(host);
}
