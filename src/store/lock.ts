/**
 * The store's lock: flock(2) on `image/overlay2`. Exclusive: images, layers, references and garbage change. Shared: a container is
 * made or removed, a layer is begun. It is held for milliseconds; the long work (unpacking, deleting trees) happens outside, on
 * directories that have a lock of their own (staging) or that nothing refers to (removal).
 */
import { lock } from '../sys/lock.ts';
import type { Store } from './store.ts';

declare const held: unique symbol;

/** Proof that the caller holds the store's lock exclusively: functions that need it take this instead of a store. */
export interface Locked {
  readonly store: Store;
  readonly [held]: true;
}

/** Runs `work` alone: no other process changes images, layers or containers meanwhile. Not to be nested. */
export function withStore<T>(store: Store, work: (locked: Locked) => T): T {
  const held = lock(store.images, 'exclusive');
  try {
    return work({ store } as Locked);
  } finally {
    held.release();
  }
}

/** Runs `work` while nobody removes an image, a layer, or what looks like garbage. */
export function sharingStore<T>(store: Store, work: () => T): T {
  const held = lock(store.images, 'shared');
  try {
    return work();
  } finally {
    held.release();
  }
}
