/**
 * The `-init` layer: what every container needs in its root for the mounts to come, laid between the image and the container's own
 * layer, so that `commit` never sees it. What is to be made depends on the image only, so it is worked out once per image and kept
 * beside the image's top layer, as `init.json`.
 *
 * For each path below every component that is no directory is taken away; what is then missing is made, owned by root. A directory
 * of the image that gets a new entry is copied up with its mode, owner and attributes, as the kernel does.
 */
import { chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { bytesOf } from '../layer/entry.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { maySetOwners } from '../sys/own-ids.ts';
import { lgetxattr, llistxattr, lsetxattr } from '../sys/xattr.ts';
import { readObject } from './io.ts';
import { type Child, childOf, type Piece, rootPieces, type Stack } from './lookup.ts';

/** Path and what it is: a directory, an empty file, or a symlink's target. */
const WANTED: readonly (readonly [string, 'directory' | 'file' | `/${string}`])[] = [
  ['dev/pts', 'directory'],
  ['dev/shm', 'directory'],
  ['proc', 'directory'],
  ['sys', 'directory'],
  ['.dockerenv', 'file'],
  ['etc/resolv.conf', 'file'],
  ['etc/hosts', 'file'],
  ['etc/hostname', 'file'],
  ['dev/console', 'file'],
  ['etc/mtab', '/proc/mounts'],
];
const MODE = 0o755;

interface InitEntry {
  path: string;
  kind: 'directory' | 'file' | 'symlink';
  mode: number;
  uid: number;
  gid: number;
  target?: string;
  /** Name and base64 value; only on directories that are copied up. */
  xattrs?: [string, string][];
}

/** Raised when the meaning of a kept recipe changes. */
const RECIPE_VERSION = 1;
export type InitRecipe = readonly InitEntry[];

function copiedUp(path: string, { found }: Child): InitEntry {
  const { stat } = found;
  const host = bytesOf(found.host);
  const entry: InitEntry = { path, kind: 'directory', mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
  const names = llistxattr(host).filter((name) => !/^(?:trusted|user)\.overlay\./.test(name));
  if (names.length === 0) return entry;
  return { ...entry, xattrs: names.map((name) => [name, lgetxattr(host, name)?.toString('base64') ?? '']) };
}

function entryOf(path: string, what: (typeof WANTED)[number][1]): InitEntry {
  const owner = { path, mode: MODE, uid: 0, gid: 0 };
  if (what === 'directory' || what === 'file') return { ...owner, kind: what };
  return { ...owner, kind: 'symlink', mode: 0o777, target: what };
}

/** What the `-init` layer over these layers has, parents first. Reads, changes nothing. */
export function initRecipe(stack: Stack): InitRecipe {
  const entries = new Map<string, InitEntry>();
  for (const [path, what] of WANTED) {
    const names = path.split('/');
    const parents: [string, Child | undefined][] = [];
    let pieces: Piece[] = rootPieces(stack);
    let child: Child | undefined;
    for (const [index, name] of names.entries()) {
      child = childOf(stack, pieces, name);
      if (child?.found.stat.isDirectory() !== true) child = undefined;
      pieces = child?.pieces ?? [];
      if (index < names.length - 1) parents.push([names.slice(0, index + 1).join('/'), child]);
    }
    if (child !== undefined) continue;
    for (const [parent, there] of parents) {
      if (entries.has(parent)) continue;
      entries.set(parent, there === undefined ? entryOf(parent, 'directory') : copiedUp(parent, there));
    }
    entries.set(path, entryOf(path, what));
  }
  return [...entries.values()];
}

/** The recipe for an image whose top layer's layerdb entry is `entry`: the kept one, or else it is worked out and kept. */
export function keptRecipe(entry: string, stack: Stack): InitRecipe {
  const path = `${entry}/init.json`;
  const kept = readObject(path, true);
  if (kept?.['version'] === RECIPE_VERSION && Array.isArray(kept['entries'])) return kept['entries'];
  const entries = initRecipe(stack);
  writeFileAtomic(path, JSON.stringify({ version: RECIPE_VERSION, entries }));
  return entries;
}

/** Makes what the recipe says in an empty directory. The umask must be off. Without root everything belongs to the caller. */
export function applyRecipe(recipe: InitRecipe, directory: string): void {
  const isRoot = maySetOwners();
  for (const { path, kind, mode, uid, gid, target, xattrs } of recipe) {
    const place = `${directory}/${path}`;
    if (kind === 'directory') mkdirSync(place, mode);
    else if (kind === 'file') writeFileSync(place, '', { mode, flag: 'wx' });
    else symlinkSync(target ?? '', place);
    if (isRoot && (uid !== 0 || gid !== 0)) chownSync(place, uid, gid);
    for (const [name, value] of xattrs ?? []) lsetxattr(place, name, Buffer.from(value, 'base64'));
  }
}
