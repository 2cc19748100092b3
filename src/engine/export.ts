/** `export`: the files of a container as one tar, what is mounted into it left out. */
import { closeSync, openSync } from 'node:fs';
import { wrapError } from '../errors.ts';
import { writeTree } from '../layer/diff.ts';
import { ownersInside } from '../layer/owners.ts';
import { checkThere, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { mapsInUse } from '../sys/probe.ts';
import { openMerged } from './merged-view.ts';
import type { Engine } from './open.ts';
import { writeBack } from './served.ts';
import { shiftLayers } from './shift-layers.ts';

/** The tar in large chunks, which are good as long as layer/output.ts says. Of a running container it is what the files are while they are read; binds, volumes and the system's own
 *  mounts live in the container's mount namespace and are seen as the empty places that they stand on.
 *  @throws ERR_TSBOX_NOT_FOUND, SyscallError */
export async function* exportContainer({ store }: Engine, name: string): AsyncGenerator<Buffer, void, undefined> {
  const record = requireContainer(store, name);
  const layer = rwLayer(store, record.ID);
  let root: number | undefined;
  try {
    const { Running: running, Pid: pid } = containerState(store, record);
    // Without root the tree is mounted where only the container's processes see it.
    const mounted = running && isHostRoot();
    if (!mounted && layer.owners !== undefined) await shiftLayers(store, layer, layer.owners);
    if (running && !mounted) await writeBack(store, record.ID, pid, layer.merged);
    noteContainer(store, record, 'export');
    root = mounted ? openSync(layer.merged, 'r') : openMerged(store, layer);
    const maps = layer.owners ?? (mounted ? mapsInUse(pid) : undefined);
    yield* writeTree(`/proc/self/fd/${root}`, maps === undefined ? {} : { owners: ownersInside(maps) });
  } catch (error) {
    throw wrapError(`export ${name}`, error);
  } finally {
    if (root !== undefined) closeSync(root);
    checkThere(store, record.ID, name);
  }
}
