/** Which layers are in use, and the removal of those that are not. A layer is used by an image, a container, a layer above, a lease. */
import { renameSync } from 'node:fs';
import { isDigest } from '../spec/digest.ts';
import { imageIds, readImage } from './images.ts';
import { attempt, readText } from './io.ts';
import { layerIds } from './layers.ts';
import { isFree } from './leases.ts';
import type { Locked } from './lock.ts';
import { mountedIds, retireDirectory } from './rw-layers.ts';
import { imageMetadata, layerEntry, mountEntry, REMOVING, type Store } from './store.ts';

/** An image's top layer, also when its config is damaged, if it was written down. */
export function imageTop(store: Store, id: string): string | undefined {
  const known = readText(`${imageMetadata(store, id)}/chain-id`);
  if (isDigest(known)) return known;
  try {
    return readImage(store, id).chainId;
  } catch {
    return undefined;
  }
}

/** How many images, containers and layers stand directly on each layer, by chain id. */
export function layerUses(store: Store): Map<string, number> {
  const uses = new Map<string, number>();
  const add = (chainId: string | undefined) => {
    if (chainId !== undefined) uses.set(chainId, (uses.get(chainId) ?? 0) + 1);
  };
  for (const chainId of layerIds(store)) add(readText(`${layerEntry(store, chainId)}/parent`));
  for (const id of imageIds(store)) add(imageTop(store, id));
  for (const id of mountedIds(store)) add(readText(`${mountEntry(store, id)}/parent`));
  return uses;
}

export interface RemovedLayers {
  /** Chain ids, top first. */
  chainIds: string[];
  /** Directories for `removeTree`, once the lock is released. */
  waiting: string[];
}

/** Takes a layer out of the store, damaged or not, unless somebody holds a lease on it. @returns whether it did */
function retireLayer({ store }: Locked, chainId: string, removed: RemovedLayers): boolean {
  const entry = layerEntry(store, chainId);
  const cacheId = readText(`${entry}/cache-id`);
  if (cacheId === undefined || !/^[a-z0-9-]+$/.test(cacheId) || !isFree(store, cacheId)) return false;
  const retired = `${store.images}/layerdb/tmp/${cacheId}${REMOVING}`;
  attempt(`remove layer ${chainId}`, () => renameSync(entry, retired));
  removed.chainIds.push(chainId);
  removed.waiting.push(retired, ...retireDirectory(store, cacheId));
  return true;
}

function removeDownwards(locked: Locked, top: string | undefined, uses: Map<string, number>, removed: RemovedLayers) {
  for (let chainId = top; chainId !== undefined && (uses.get(chainId) ?? 0) === 0; ) {
    const parent = readText(`${layerEntry(locked.store, chainId)}/parent`);
    if (!retireLayer(locked, chainId, removed)) break;
    if (parent !== undefined) uses.set(parent, (uses.get(parent) ?? 1) - 1);
    chainId = parent;
  }
}

/** Removes those of these layers that nothing uses. @param chainIds those above first */
export function removeUnusedAmong(locked: Locked, chainIds: readonly string[]): RemovedLayers {
  const removed: RemovedLayers = { chainIds: [], waiting: [] };
  const uses = layerUses(locked.store);
  for (const chainId of chainIds) {
    const parent = readText(`${layerEntry(locked.store, chainId)}/parent`);
    if ((uses.get(chainId) ?? 0) > 0 || !retireLayer(locked, chainId, removed)) continue;
    if (parent !== undefined) uses.set(parent, (uses.get(parent) ?? 1) - 1);
  }
  return removed;
}

/** Removes a layer and those below it, down to the first that is still used. For an image that has just been removed. */
export function removeUnusedChain(locked: Locked, top: string | undefined): RemovedLayers {
  const removed: RemovedLayers = { chainIds: [], waiting: [] };
  removeDownwards(locked, top, layerUses(locked.store), removed);
  return removed;
}

/** Removes every layer that nothing uses: what pulls left that were interrupted. */
export function removeUnusedLayers(locked: Locked): RemovedLayers {
  const removed: RemovedLayers = { chainIds: [], waiting: [] };
  const uses = layerUses(locked.store);
  for (const chainId of layerIds(locked.store)) removeDownwards(locked, chainId, uses, removed);
  return removed;
}
