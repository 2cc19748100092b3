/** The end of a lease on images that were here before: what was removed meanwhile goes with it. */
import { existsSync } from 'node:fs';
import { removeTree } from './io.ts';
import { type Lease, releaseLease } from './leases.ts';
import { withStore } from './lock.ts';
import { imageFile, type Store } from './store.ts';
import { removeUnusedChain } from './unused-layers.ts';

/** An image whose layers were held. */
export interface HeldImage {
  id: string;
  /** Chain id of its top layer; absent where it has none. */
  top: string | undefined;
}

/** Releases the lease. Where one of the images is not there any more, who removed it could not remove its layers: they are removed now,
 *  as far as nothing else uses them. */
export function letGo(store: Store, lease: Lease, images: readonly HeldImage[]): void {
  releaseLease(lease);
  const removed = images.filter(({ id }) => !existsSync(imageFile(store, id)));
  if (removed.length === 0) return;
  const waiting = withStore(store, (locked) => removed.flatMap(({ top }) => removeUnusedChain(locked, top).waiting));
  waiting.forEach(removeTree);
}
