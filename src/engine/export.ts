/** `export`: the files of a container as one tar, what is mounted into it left out. */
import { closeSync, openSync } from 'node:fs';
import { isErrno, wrapError } from '../errors.ts';
import { writeTree } from '../layer/diff.ts';
import { ownersInside } from '../layer/owners.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { checkThere, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { mapsInUse } from '../sys/probe.ts';
import { openMerged } from './merged-view.ts';
import type { Engine } from './open.ts';
import { writeBack } from './served.ts';
import { hasEnded } from './settle.ts';
import { shiftLayers } from './shift-layers.ts';

/** The tree of a container that runs, and of nothing else: without root it is mounted where only the container's processes see it. */
function openMounted(
  store: Store,
  record: ContainerRecord,
  { merged }: RwLayer,
): { root: number; maps: IdMaps | undefined } | undefined {
  const before = containerState(store, record);
  if (hasEnded(before) || !isHostRoot()) return undefined;
  let root: number | undefined;
  try {
    root = openSync(merged, 'r');
    const maps = mapsInUse(before.Pid);
    const after = containerState(store, record);
    // It was mounted all the time, if it ran all the time.
    if (after.Pid === before.Pid && !hasEnded(after)) return { root, maps };
  } catch (error) {
    if (!isErrno(error, 'ENOENT') && !isErrno(error, 'ESRCH')) throw error;
  }
  if (root !== undefined) closeSync(root);
  return undefined;
}

/** So that they can be read by themselves. */
async function readyLayers(store: Store, record: ContainerRecord, layer: RwLayer): Promise<void> {
  if (layer.owners !== undefined) await shiftLayers(store, layer, layer.owners);
  const { Running, Pid } = containerState(store, record);
  if (Running) await writeBack(store, record.ID, Pid, layer.merged);
}

/** The tar in large chunks, which are good as long as layer/output.ts says. Of a running container it is what the files are while they are read; binds, volumes and the system's own
 *  mounts live in the container's mount namespace and are seen as the empty places that they stand on.
 *  @throws ERR_TSBOX_NOT_FOUND, SyscallError */
export async function* exportContainer({ store }: Engine, name: string): AsyncGenerator<Buffer, void, undefined> {
  const record = requireContainer(store, name);
  const layer = rwLayer(store, record.ID);
  let root: number | undefined;
  try {
    const mounted = openMounted(store, record, layer);
    if (mounted === undefined) await readyLayers(store, record, layer);
    noteContainer(store, record, 'export');
    root = mounted?.root ?? openMerged(store, layer);
    const maps = layer.owners ?? mounted?.maps;
    yield* writeTree(`/proc/self/fd/${root}`, maps === undefined ? {} : { owners: ownersInside(maps) });
  } catch (error) {
    throw wrapError(`export ${name}`, error);
  } finally {
    if (root !== undefined) closeSync(root);
    checkThere(store, record.ID, name);
  }
}
