/** The layers of a container that is about to be mounted. */
import { existsSync } from 'node:fs';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import type { Store } from '../store/store.ts';
import type { Lock } from '../sys/lock.ts';

/** A copy of its files that was cut short is made anew (storage driver vfs).
 *  @param held the container's lock
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED, SyscallError */
export async function readyLayer(store: Store, id: string, held: Lock): Promise<RwLayer> {
  const layer = rwLayer(store, id);
  if (layer.whole !== true || existsSync(layer.upper)) return layer;
  await (await import('./fill-tree.ts')).fillLocked(store, id, held);
  return rwLayer(store, id);
}
