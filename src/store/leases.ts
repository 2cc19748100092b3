/**
 * Leases: layers that somebody is about to use are not garbage. A lease holds a shared flock(2) on the directory of each layer that
 * it was given, a staged one or one that is in the store; what removes layers tries for an exclusive one and leaves a locked layer
 * alone. The kernel frees the locks of a process that dies.
 */
import { isLocked, type Lock, lock } from '../sys/lock.ts';
import type { BlobSource } from './distribution.ts';
import { hasLayer, type LayerRecord, layerLockPath, readLayer } from './layers.ts';
import { sharingStore } from './lock.ts';
import type { Store } from './store.ts';

export interface Lease {
  /** By cache id. */
  readonly locks: Map<string, Lock>;
  /** What came into the store under it: see take-back.ts. */
  readonly added: Added;
}

export interface Added {
  /** Chain ids of layers, those below first. */
  layers: string[];
  /** Ids. */
  images: string[];
  /** What was learnt of blobs. */
  blobs: { diffId: string; source: BlobSource }[];
}

export function newLease(): Lease {
  return { locks: new Map(), added: { layers: [], images: [], blobs: [] } };
}

/** Lets go of all layers of the lease. Calling it twice does no harm. */
export function releaseLease(lease: Lease): void {
  for (const held of lease.locks.values()) held.release();
  lease.locks.clear();
}

/** Takes a layer's directory into the lease. The caller shares the store's lock. */
export function holdDirectory(store: Store, lease: Lease, cacheId: string): void {
  if (!lease.locks.has(cacheId)) lease.locks.set(cacheId, lock(layerLockPath(store, cacheId), 'shared'));
}

/** A layer that is in the store, kept there until the lease is released; undefined when it is not in the store.
 *  @throws ERR_TSBOX_DAMAGED */
export function useLayer(store: Store, lease: Lease, chainId: string): LayerRecord | undefined {
  return sharingStore(store, () => {
    if (!hasLayer(store, chainId)) return undefined;
    const layer = readLayer(store, chainId);
    holdDirectory(store, lease, layer.cacheId);
    return layer;
  });
}

/** Does nobody hold a lease on this directory of overlay2/? To be asked under the store's exclusive lock. */
export function isFree(store: Store, directory: string): boolean {
  return !isLocked(layerLockPath(store, directory));
}
