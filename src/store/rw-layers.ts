/** The layers that a container adds to its image: `<mount-id>-init`, which tsbox fills, and `<mount-id>`, which the container fills. */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { randomHex } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { tryXattr } from '../sys/xattr.ts';
import { checkThere } from './containers.ts';
import type { LayerMount } from './drivers/driver.ts';
import { applyRecipe, initRecipe, keptRecipe } from './init-layer.ts';
import { attempt, readIntact, readText, refusal, removeTree, unlessGone, withoutUmask } from './io.ts';
import { lowerFor, readLayer, stackOf } from './layers.ts';
import { newLink, removeLink, writeLink } from './links.ts';
import { readOwners, retireShifted } from './shifted.ts';
import { isHexId, layerEntry, mountEntry, REMOVING, type Store, shortId } from './store.ts';

export interface RwLayer extends LayerMount {
  mountId: string;
  /** `<mount-id>-init` */
  initId: string;
  /** Short names of the read-write layer and of the init layer. */
  link: string;
  initLink: string;
  /** `l/INIT:l/TOP:..:l/BASE` */
  lower: string;
  /** What the container has written. */
  upper: string;
  work: string;
  /** Where the tree is while it is mounted. */
  merged: string;
  /** The directories under it, nearest first: init, the image's layers. */
  below: string[];
  /** Directories to look through, nearest first: upper, and all below unless upper is {@link LayerMount.whole}. */
  stack: string[];
  /** Chain id of the image's top layer; absent for an image without layers. */
  parent?: string;
  /** The files of `upper` have the owners of outside, by this map: see shifted.ts. Below it they have those of the container. */
  owners?: IdMaps;
}

interface Names {
  mountId: string;
  link: string;
  lower: string;
  parent: string | undefined;
  whole: boolean;
}

function describe(store: Store, { mountId, link, lower, parent, whole }: Names): RwLayer {
  const directory = `${store.overlay}/${mountId}`;
  // The init layer by its own name instead of the short one: lookup.ts knows it by that.
  const below = [`${directory}-init/diff`, ...stackOf(store, lower).slice(1)];
  return {
    mountId,
    initId: `${mountId}-init`,
    link,
    initLink: lower.slice(2).split(':', 1)[0] ?? '',
    lower,
    upper: `${directory}/diff`,
    work: `${directory}/work`,
    merged: `${directory}/merged`,
    below,
    stack: whole ? [`${directory}/diff`] : [`${directory}/diff`, ...below],
    ...(whole && { whole }),
    ...(parent === undefined ? {} : { parent }),
  };
}

function makeDirectory(store: Store, id: string, link: string, lower: string, whole = false): void {
  const path = `${store.overlay}/${id}`;
  mkdirSync(path, 0o710);
  if (whole) writeFileSync(driverFile(path), 'vfs', { mode: 0o644 });
  else {
    mkdirSync(`${path}/diff`, 0o755);
    mkdirSync(`${path}/work`, 0o700);
  }
  writeLink(store, id, link, lower);
}

/** Where a read-write layer that is no overlay's says so. */
const driverFile = (directory: string) => `${directory}/driver`;

/** Fresh names for a container's layers over the image's. */
function newLayer(store: Store, topChainId: string | undefined, imageLower: string): RwLayer {
  const init = `l/${newLink()}`;
  const lower = imageLower === '' ? init : `${init}:${imageLower}`;
  return describe(store, {
    mountId: randomHex(32),
    link: newLink(),
    lower,
    parent: topChainId,
    whole: store.driver.copies,
  });
}

/**
 * Makes the layers for a container on an image's top layer (none: an image without layers). Nothing is mounted. The caller shares
 * the store's lock (lock.ts) until the container's own files are there. On an error nothing stays behind. A {@link LayerMount.whole} one
 * has no files yet.
 * @throws ERR_TSBOX_NOT_FOUND when the layer is gone; ERR_TSBOX_DAMAGED; SyscallError, ENOSPC among them
 */
export function createRwLayer(store: Store, containerId: string, topChainId: string | undefined): RwLayer {
  const top = topChainId === undefined ? undefined : readLayer(store, topChainId);
  const imageLower = lowerFor(top);
  const stack = stackOf(store, imageLower);
  const layer = newLayer(store, topChainId, imageLower);
  const { mountId } = layer;
  const entry = mountEntry(store, containerId);
  attempt(`mkdir ${entry}`, () => withoutUmask(() => mkdirSync(entry, 0o755)));
  try {
    withoutUmask(() => {
      if (topChainId !== undefined) writeFileSync(`${entry}/parent`, topChainId, { mode: 0o644 });
      writeFileSync(`${entry}/mount-id`, mountId, { mode: 0o644 });
      writeFileSync(`${entry}/init-id`, layer.initId, { mode: 0o644 });
      makeDirectory(store, layer.initId, layer.initLink, imageLower);
      const recipe = topChainId === undefined ? initRecipe([]) : keptRecipe(layerEntry(store, topChainId), stack);
      applyRecipe(recipe, `${store.overlay}/${layer.initId}/diff`);
      writeFileSync(`${store.overlay}/${layer.initId}/committed`, '', { mode: 0o600 });
      makeDirectory(store, mountId, layer.link, layer.lower, layer.whole);
      if (layer.whole !== true) checkAttributes(`${store.overlay}/${mountId}`);
    });
  } catch (error) {
    for (const id of [mountId, layer.initId]) discardDirectory(store, id);
    removeWholeTree(entry);
    throw refusal(`create the read-write layer of ${shortId(containerId)}`, error);
  }
  return layer;
}

/** The kernel mounts an overlay on a file system without attributes, too, and then a directory that was deleted cannot be made again in
 *  the container: EIO. @throws SyscallError EOPNOTSUPP */
function checkAttributes(directory: string): void {
  if (!isHostRoot()) return;
  const fd = openSync(directory, 'r');
  try {
    tryXattr(fd, 'trusted.tsbox.probe');
  } finally {
    closeSync(fd);
  }
}

/** What {@link createRwLayer} would make, for a plan that is only shown. Makes nothing. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function plannedRwLayer(store: Store, topChainId: string | undefined): RwLayer {
  const top = topChainId === undefined ? undefined : readLayer(store, topChainId);
  return newLayer(store, topChainId, lowerFor(top));
}

/** Removes a directory of overlay2/ with its short name, as far as it is there. */
function discardDirectory(store: Store, id: string): void {
  removeLink(store, readIntact(`${store.overlay}/${id}/link`));
  removeWholeTree(`${store.overlay}/${id}`);
}

/** The layers of a container. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function rwLayer(store: Store, containerId: string): RwLayer {
  const entry = mountEntry(store, containerId);
  const mountId = readText(`${entry}/mount-id`);
  if (mountId === undefined) {
    checkThere(store, containerId, containerId);
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such read-write layer: ${shortId(containerId)}`);
  }
  const directory = isHexId(mountId) ? `${store.overlay}/${mountId}` : undefined;
  const [lower, link] = ['lower', 'link'].map((file) => directory && readText(`${directory}/${file}`));
  if (lower === undefined || link === undefined) {
    checkThere(store, containerId, containerId);
    throw new TsboxError('ERR_TSBOX_DAMAGED', `read the read-write layer of ${shortId(containerId)}: ${mountId}`, {
      hint: 'Its directory in overlay2/ is missing or incomplete: remove the container.',
    });
  }
  const owners = readOwners(`${store.overlay}/${mountId}`);
  const whole = existsSync(driverFile(`${store.overlay}/${mountId}`));
  const layer = describe(store, { mountId, link, lower, parent: readText(`${entry}/parent`), whole });
  return owners === undefined ? layer : { ...layer, owners };
}

/** Takes a directory of overlay2/ out of use: its short name goes, it waits under another name for its removal.
 *  @returns that name, unless it was not there, and those of its shifted copies */
export function retireDirectory(store: Store, id: string): string[] {
  const path = `${store.overlay}/${id}`;
  mountPointGone(path);
  const link = readIntact(`${path}/link`);
  const copies = retireShifted(store, link, id.endsWith('-init'));
  attempt(`remove the short name of ${path}`, () => removeLink(store, link));
  const there = unlessGone(`rename ${path}`, () => renameSync(path, path + REMOVING));
  return there ? [path + REMOVING, ...copies] : copies;
}

const mountPointGone = (path: string) => unlessGone(`remove ${path}/merged`, () => rmdirSync(`${path}/merged`));

/** Where a container's tree is mounted; a start makes it anew. @throws SyscallError EBUSY while it is */
export function removeMountPoint(store: Store, containerId: string): void {
  const mountId = readIntact(`${mountEntry(store, containerId)}/mount-id`);
  if (mountId !== undefined && isHexId(mountId)) mountPointGone(`${store.overlay}/${mountId}`);
}

/** Takes a container's layers out of use. The caller shares the store's lock, and gives what is returned to `removeTree` once it has
 *  let go of it. No layers: nothing to do. @throws SyscallError EBUSY while the container's tree is mounted */
export function retireRwLayer(store: Store, containerId: string): string[] {
  const entry = mountEntry(store, containerId);
  const mountId = readIntact(`${entry}/mount-id`);
  const waiting: string[] = [];
  if (mountId !== undefined && isHexId(mountId)) {
    for (const id of [mountId, `${mountId}-init`]) waiting.push(...retireDirectory(store, id));
  }
  removeTree(entry);
  return waiting;
}

/** Ids of the containers that have a read-write layer. */
export function mountedIds(store: Store): string[] {
  return readdirSync(`${store.images}/layerdb/mounts`);
}

/** The directories in overlay2/ of all read-write layers, as far as they are known. */
export function rwDirectories(store: Store): string[] {
  const ids = mountedIds(store).map((id) => readIntact(`${mountEntry(store, id)}/mount-id`) ?? '');
  return ids.filter(isHexId).map((id) => `${store.overlay}/${id}`);
}
