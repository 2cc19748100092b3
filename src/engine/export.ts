/** `export`: the files of a container as one tar, what is mounted into it left out. */
import { closeSync, openSync } from 'node:fs';
import { wrapError } from '../errors.ts';
import { writeTree } from '../layer/diff.ts';
import { requireContainer } from '../store/containers.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { openMerged } from './merged-view.ts';
import type { Engine } from './open.ts';

/** The tar in large chunks. Of a running container it is what the files are while they are read; binds, volumes and the system's own
 *  mounts live in the container's mount namespace and are seen as the empty places that they stand on.
 *  @throws ERR_TSBOX_NOT_FOUND, SyscallError */
export async function* exportContainer({ store }: Engine, name: string): AsyncGenerator<Buffer, void, undefined> {
  const record = requireContainer(store, name);
  const layer = rwLayer(store, record.ID);
  let root: number | undefined;
  try {
    const { Running: running } = containerState(store, record);
    // Without root the tree is mounted where only the container's processes see it.
    root = running && isHostRoot() ? openSync(layer.merged, 'r') : openMerged(store, layer);
    yield* writeTree(`/proc/self/fd/${root}`);
  } catch (error) {
    throw wrapError(`export ${name}`, error);
  } finally {
    if (root !== undefined) closeSync(root);
  }
}
