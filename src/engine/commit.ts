/** `commit`: what a container has written becomes the top layer of a new image. */
import { wrapError } from '../errors.ts';
import { applyLayer } from '../layer/apply.ts';
import { diffLayer, packPart } from '../layer/diff.ts';
import { ownersInside } from '../layer/owners.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { ContainerConfig, HistoryEntry, ImageConfig } from '../spec/oci-image.ts';
import { familiarString, parseNewName } from '../spec/reference.ts';
import { checkThere, readHostConfig, requireContainer } from '../store/containers.ts';
import { noteContainer, noteImage } from '../store/events.ts';
import { putImage, setReferences } from '../store/image-changes.ts';
import { type ImageRecord, requireImage } from '../store/images.ts';
import { type Lease, useLayer } from '../store/leases.ts';
import { commitLayers, discardStaged, stageLayer } from '../store/register.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import { withLease } from '../store/take-back.ts';
import type { CommitRequest } from './api.ts';
import { applyChanges } from './changes.ts';
import { whileFrozen } from './freeze.ts';
import { checkLayerCount, unpackAs } from './install-layers.ts';
import { abortable, interruptible } from './interrupt.ts';
import { madeForMounts } from './mount-points.ts';
import type { Engine } from './open.ts';
import { writeBack } from './served.ts';
import { VERSION } from './version.ts';
import { partToCommit } from './whole-tree.ts';

/** DiffID of a tar without entries: 1,024 zeros. */
const EMPTY_LAYER = 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef';

/** Packs the container's own layer, without what tsbox made in it for mounts. @returns its diffID; undefined when there is nothing */
async function commitLayer(
  store: Store,
  lease: Lease,
  record: ContainerRecord,
  layer: RwLayer,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { whiteouts, lchown } = unpackAs();
  const owners = layer.owners && ownersInside(layer.owners);
  const places = [...Object.keys(record.MountPoints), ...Object.keys(readHostConfig(store, record.ID).Tmpfs ?? {})];
  const exclude = madeForMounts(layer.upper, layer.below, places, owners);
  const packed =
    layer.whole === true
      ? packPart(layer.upper, partToCommit(layer, exclude), { owners })
      : diffLayer(layer.upper, { whiteouts, exclude, owners });
  const staged = await stageLayer(store, lease, (target) =>
    applyLayer(abortable(packed, signal), target.dir, {
      whiteouts,
      lchown,
      tarSplit: target.tarSplit,
    }),
  );
  if (staged.diffId === EMPTY_LAYER || signal.aborted) {
    discardStaged(store, lease, staged);
    signal.throwIfAborted();
    return undefined;
  }
  await commitLayers(store, lease, [staged], layer.parent);
  return staged.diffId;
}

/** The container's configuration with the changes. Docker brings a command back that a change took away without giving another. */
function changedConfig(before: ContainerConfig, changes: readonly string[]): ContainerConfig {
  const config = applyChanges(before, changes);
  if ((config.Entrypoint ?? []).length > 0) return config;
  const Cmd = (config.Cmd ?? []).length > 0 ? config.Cmd : before.Cmd;
  return { ...config, Cmd: Cmd ?? null, Entrypoint: config.Entrypoint ?? before.Entrypoint ?? null };
}

function childConfig(
  image: ImageRecord,
  record: ContainerRecord,
  request: CommitRequest,
  config: ContainerConfig,
  diffId: string | undefined,
): ImageConfig {
  const { architecture, os, variant, rootfs, history } = image.config;
  const created = new Date().toISOString();
  const entry: HistoryEntry = {
    created,
    ...(request.author === '' ? {} : { author: request.author }),
    created_by: (record.Config.Cmd ?? [record.Path, ...record.Args]).join(' '),
    ...(request.message === '' ? {} : { comment: request.message }),
    ...(diffId === undefined ? { empty_layer: true } : {}),
  };
  return {
    architecture,
    ...(request.author === '' ? {} : { author: request.author }),
    config,
    container: record.ID,
    container_config: record.Config,
    created,
    docker_version: VERSION,
    history: [...(history ?? []), entry],
    os,
    rootfs: { type: 'layers', diff_ids: diffId === undefined ? rootfs.diff_ids : [...rootfs.diff_ids, diffId] },
    ...(variant === undefined ? {} : { variant }),
  };
}

/** Makes an image of a container, running or not. Wrong changes and a wrong name are found first; on an error nothing stays behind.
 *  @returns the image's id
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_USAGE, ERR_TSBOX_SPEC, ERR_TSBOX_LIMIT when the image has as many layers as can be stacked */
export function commitContainer({ store }: Engine, request: CommitRequest): Promise<string> {
  return interruptible(async (signal) => {
    const record = requireContainer(store, request.container);
    const config = changedConfig(record.Config, request.changes);
    const reference = request.reference === undefined ? undefined : parseNewName(request.reference);
    const image = requireImage(store, record.Image);
    checkLayerCount(`commit ${request.container}`, image.config.rootfs.diff_ids.length + 1);
    const layer = rwLayer(store, record.ID);
    const state = containerState(store, record);
    try {
      return await withLease(store, async (lease) => {
        if (layer.parent !== undefined) useLayer(store, lease, layer.parent);
        const pack = async () => {
          if (state.Running) await writeBack(store, record.ID, state.Pid, layer.merged);
          return commitLayer(store, lease, record, layer, signal);
        };
        const diffId =
          state.Status === 'running' && request.pause ? await whileFrozen(store, record.ID, pack) : await pack();
        checkThere(store, record.ID, request.container);
        const bytes = Buffer.from(JSON.stringify(childConfig(image, record, request, config, diffId)));
        const imageID = putImage(store, bytes, {
          parent: image.id,
          lease,
          name: (locked, id) => reference !== undefined && setReferences(locked, [reference], id),
        });
        const imageRef = reference === undefined ? '' : familiarString(reference);
        if (imageRef !== '') noteImage(store, 'tag', imageID, { name: imageRef });
        noteContainer(store, record, 'commit', { comment: request.message, imageID, imageRef });
        return imageID;
      });
    } catch (error) {
      checkThere(store, record.ID, request.container);
      throw wrapError(`commit ${request.container}`, error);
    }
  });
}
