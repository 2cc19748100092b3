/**
 * What the image has at the place of a new, empty volume goes into the volume: content, owners, modes, attributes, links. The image's
 * tree is mounted aside, and the way in it is walked by openat2(2) from its root, so that no symlink of the image leads out.
 *
 * All or nothing: the copy is made beside the volume's `_data` and renamed over it, which works only while that is empty. Where a running
 * container has the empty directory already, the complete copy is renamed to `copied`, and its entries are moved one by one; whoever is
 * killed meanwhile leaves the rest to the next who uses the volume. Where something is mounted on the volume there is no beside:
 * there the files are made in place.
 */
import { closeSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { applyLayer } from '../layer/apply.ts';
import { writeTree } from '../layer/diff.ts';
import { type Owners, ownersOutside, shiftXattr } from '../layer/owners.ts';
import type { MountPoint } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { removeTree, withoutUmask } from '../store/io.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { type Store, TEMPORARY } from '../store/store.ts';
import { requireVolume, volumeDirectory } from '../store/volumes.ts';
import { AT_EMPTY_PATH, fchmod, fchown, futimens, OPEN, openat2, RESOLVE } from '../sys/file.ts';
import { maySetOwners } from '../sys/own-ids.ts';
import { randomHex } from '../sys/random.ts';
import { statAt } from '../sys/stat.ts';
import { fgetxattr, flistxattr, fsetxattr } from '../sys/xattr.ts';
import { isMounted, withMounted } from './local-volume.ts';
import { openMerged } from './merged-view.ts';
import { isRunningWith, lockContent } from './volume-users.ts';

/** A complete copy whose entries are being moved into the volume. */
const COPIED = 'copied';
const NO_LIMITS = { maxBytes: Number.POSITIVE_INFINITY, maxEntries: Number.POSITIVE_INFINITY };

/** A directory of the container's files; undefined where it has none. @throws SyscallError ELOOP for a magic link and the like */
function openDirectory(root: number, path: string): number | undefined {
  try {
    return openat2(root, path.slice(1), OPEN.RDONLY | OPEN.DIRECTORY, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Owner, mode, attributes and time of the directory itself, which a tar of what is in it does not have. */
function copyDirectory(from: number, to: number, path: string, owners: Owners | undefined): void {
  const { uid, gid, mode, mtime, mtimeNsec } = statAt(from, '', AT_EMPTY_PATH);
  if (maySetOwners()) fchown(to, owners?.uid(uid) ?? uid, owners?.gid(gid) ?? gid, path);
  fchmod(to, mode & 0o7777, path);
  for (const name of flistxattr(from).filter((one) => !/^(trusted|user)\.overlay\./.test(one))) {
    const value = fgetxattr(from, name);
    if (value !== undefined) fsetxattr(to, name, owners === undefined ? value : shiftXattr(name, value, owners));
  }
  futimens(to, mtime, mtimeNsec, path);
}

async function copyInto(from: number, path: string, owners: Owners | undefined): Promise<void> {
  const tar = writeTree(`/proc/self/fd/${from}`, { owners });
  await applyLayer(tar, path, { whiteouts: 'remove', lchown: maySetOwners(), limits: NO_LIMITS });
  const to = openat2(-100, path, OPEN.RDONLY | OPEN.DIRECTORY, RESOLVE.NO_MAGICLINKS);
  try {
    copyDirectory(from, to, path, owners);
  } finally {
    closeSync(to);
  }
}

/** Moves what a complete copy has into the volume. @param data of the volume */
function moveIn(directory: string, data: string): void {
  const copied = `${directory}/${COPIED}`;
  if (!existsSync(copied)) return;
  for (const name of readdirSync(copied, { encoding: 'buffer' })) {
    const [from, to] = [copied, data].map((place) => Buffer.concat([Buffer.from(`${place}/`), name]));
    // What the container has made meanwhile is its own.
    if (lstatSync(to!, { throwIfNoEntry: false }) === undefined) renameSync(from!, to!);
  }
  const [from, to] = [copied, data].map((path) =>
    openat2(-100, path, OPEN.RDONLY | OPEN.DIRECTORY, RESOLVE.NO_MAGICLINKS),
  );
  try {
    copyDirectory(from!, to!, data, undefined);
  } finally {
    for (const fd of [from!, to!]) closeSync(fd);
  }
  removeTree(copied);
}

/** What somebody who was killed has left of a copy: half of one goes, a complete one comes into its place. Under the content's lock. */
export function settleCopy(store: Store, name: string): void {
  const directory = volumeDirectory(store, name);
  for (const half of readdirSync(directory).filter((one) => one.startsWith(TEMPORARY)))
    removeTree(`${directory}/${half}`);
  moveIn(directory, `${directory}/_data`);
}

/** A directory of the volume's own: the copy appears at once. */
async function fillOwn(store: Store, name: string, from: number, owners: Owners | undefined): Promise<void> {
  const directory = volumeDirectory(store, name);
  const half = `${directory}/${TEMPORARY}${randomHex(8)}`;
  try {
    withoutUmask(() => mkdirSync(half, 0o755));
    await copyInto(from, half, owners);
    if (!isRunningWith(store, name)) return renameSync(half, `${directory}/_data`);
    renameSync(half, `${directory}/${COPIED}`);
  } catch (error) {
    removeTree(half);
    throw error;
  }
  moveIn(directory, `${directory}/_data`);
}

/** Fills the volume of one mount point, if it is empty. @param root of the container's merged files */
async function fillOne(store: Store, point: MountPoint, root: number, owners: Owners | undefined): Promise<void> {
  const { Name: name = '', Destination: path } = point;
  const from = openDirectory(root, path);
  if (from === undefined) return;
  const held = await lockContent(store, name, 'exclusive');
  try {
    settleCopy(store, name);
    const volume = requireVolume(store, name);
    await withMounted(store, volume, async (data) => {
      if (readdirSync(data).length > 0) return;
      if (volume.options === null && !isMounted(volume)) await fillOwn(store, name, from, owners);
      else await copyInto(from, data, owners);
    });
  } catch (error) {
    throw wrapError(`fill volume ${name} with ${path} of the image`, error);
  } finally {
    held.release();
    closeSync(from);
  }
}

/** Fills the volumes of a container that was just made. Root, or root of a user namespace.
 *  @param maps by which its files have the owners of outside on disk; absent when they have its own
 *  @throws SyscallError, ENOSPC among them; ERR_TSBOX_USAGE where the image has no directory but a file */
export async function fillVolumes(
  store: Store,
  layer: RwLayer,
  points: readonly MountPoint[],
  maps: IdMaps | undefined,
): Promise<void> {
  const owners = maps === undefined ? undefined : ownersOutside(maps);
  const root = openMerged(store, layer);
  try {
    for (const point of points) {
      try {
        await fillOne(store, point, root, owners);
      } catch (error) {
        if (isErrno(error, 'ENOTDIR')) throw overFile(point.Destination);
        throw error;
      }
    }
  } finally {
    closeSync(root);
  }
}

/** Docker's error for a volume at the place of a file. */
export function overFile(path: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', `cannot mount volume over existing file, file exists ${path}`);
}
