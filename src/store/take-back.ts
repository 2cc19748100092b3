/** What somebody puts into the store and then fails: the store becomes as it was. */
import { listContainers } from './containers.ts';
import { forgetBlob } from './distribution.ts';
import { dropImage } from './image-changes.ts';
import { imageChildren, imageNames } from './images.ts';
import { removeTree } from './io.ts';
import { type Lease, newLease, releaseLease } from './leases.ts';
import { withStore } from './lock.ts';
import type { Store } from './store.ts';
import { removeUnusedAmong } from './unused-layers.ts';

/**
 * Runs `work` with a lease that ends with it. When it fails, the images and layers that came into the store under the lease, and that
 * nobody uses, go again.
 * @param keeps is the error no reason for that? Then they stay for another try.
 * @throws what the work throws
 */
export async function withLease<T>(
  store: Store,
  work: (lease: Lease) => Promise<T>,
  keeps: (error: unknown) => boolean = () => false,
): Promise<T> {
  const lease = newLease();
  try {
    return await work(lease);
  } catch (error) {
    if (!keeps(error)) takeBack(store, lease);
    throw error;
  } finally {
    releaseLease(lease);
  }
}

function isUnused(store: Store, image: string): boolean {
  const { tags, digests } = imageNames(store, image);
  const used = imageChildren(store).has(image) || listContainers(store).some((record) => record.Image === image);
  return tags.length + digests.length === 0 && !used;
}

/** The error that leads here is the one to tell: one more is not. What stays then is unused, and pruned as such. */
function takeBack(store: Store, lease: Lease): void {
  const { layers, images, blobs } = lease.added;
  if (layers.length + images.length + blobs.length === 0) return;
  try {
    const { waiting } = withStore(store, (locked) => {
      releaseLease(lease);
      for (const image of images) if (isUnused(store, image)) dropImage(locked, image);
      return removeUnusedAmong(locked, layers.toReversed());
    });
    waiting.forEach(removeTree);
    for (const { diffId, source } of blobs) forgetBlob(store, diffId, source);
  } catch {}
}
