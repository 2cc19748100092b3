/** What images and containers take on the disk. Bytes of file content; a layer counts once however many images have it. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { listContainers as listRecords } from '../store/containers.ts';
import { treeBytes } from '../store/freed.ts';
import { readIntact, readText } from '../store/io.ts';
import { layerIds, layerSize } from '../store/layers.ts';
import { mountedIds, rwDirectories, rwLayer } from '../store/rw-layers.ts';
import { shiftedCopies, usedHomes } from '../store/shifted.ts';
import { layerEntry, mountEntry, type Store } from '../store/store.ts';
import { imageTop } from '../store/unused-layers.ts';
import type { ContainerSummary, ImageSummary } from './api.ts';
import { listImages } from './images.ts';
import { listContainers } from './list.ts';
import type { Engine } from './open.ts';
import { listVolumes, type VolumeUsage } from './volumes.ts';
import { changedBytes } from './whole-tree.ts';

export interface ImageUsage {
  image: ImageSummary;
  /** Bytes of the layers that other images have too. */
  shared: number;
  /** Bytes of the layers that no other image has. */
  unique: number;
  /** How many containers were made from it. */
  containers: number;
}

export interface ContainerUsage {
  container: ContainerSummary;
  /** Bytes that it has written into its own layer. */
  written: number;
}

export interface LocalVolumeUsage extends VolumeUsage {
  /** Bytes of its files. */
  size: number;
}

export interface DiskUsage {
  /** The youngest first, without those that only serve as parents of others. */
  images: ImageUsage[];
  containers: ContainerUsage[];
  /** As Docker: without those that are mounts of something else. */
  volumes: LocalVolumeUsage[];
  /** Bytes of all layers, and of their copies for user namespaces. */
  layers: number;
  /** Of these, what `image prune --all` would free. */
  reclaimable: number;
}

/** What a container has written into its read-write layer; 0 when that is gone or damaged. */
export function writtenBytes(store: Store, id: string): number {
  try {
    const layer = rwLayer(store, id);
    return layer.whole === true ? changedBytes(layer) : treeBytes(layer.upper);
  } catch (error) {
    if (error instanceof TsboxError && ['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_DAMAGED'].includes(error.code)) return 0;
    throw error;
  }
}

/** What a container takes: what it has written, and that with its image, as far as that is here. */
export function containerSize(
  { store }: Engine,
  record: Pick<ContainerRecord, 'ID' | 'Image'>,
): { written: number; withImage: number } {
  const written = writtenBytes(store, record.ID);
  const image = [...chainBelow(store, imageTop(store, record.Image))];
  return { written, withImage: image.reduce((sum, chainId) => sum + layerSize(store, chainId), written) };
}

/** @param onDamaged as in {@link listImages} and {@link listContainers} */
export function diskUsage(engine: Engine, onDamaged?: (id: string, error: TsboxError) => void): DiskUsage {
  const { store } = engine;
  const ids = layerIds(store);
  const sum = (chainIds: Iterable<string>) => [...chainIds].reduce((total, id) => total + layerSize(store, id), 0);
  const images = imageUsage(engine, onDamaged);
  const kept = keptLayers(store);
  const copies = copiedBytes(
    store,
    ids.filter((id) => kept.has(id)),
  );
  return {
    images,
    containers: listContainers(engine, { all: true }, onDamaged).map((container) => ({
      container,
      written: writtenBytes(store, container.record.ID),
    })),
    volumes: listVolumes(engine, onDamaged)
      .filter(({ volume }) => volume.options === null)
      .map((usage) => ({ ...usage, size: treeBytes(usage.volume.mountpoint) })),
    layers: sum(ids) + copies.all,
    reclaimable: sum(ids.filter((id) => !kept.has(id))) + copies.reclaimable,
  };
}

/** Copies of layers for user namespaces, in bytes, without those of what tsbox itself makes for a container.
 *  @param kept layers that containers need */
function copiedBytes(store: Store, kept: readonly string[]): { all: number; reclaimable: number } {
  const needed = new Set(kept.map((id) => readText(`${layerEntry(store, id)}/cache-id`)));
  const used = usedHomes(store, rwDirectories(store));
  const bytes = { all: 0, reclaimable: 0 };
  for (const { path, home, layer } of shiftedCopies(store)) {
    if (layer?.endsWith('-init') === true) continue;
    const size = treeBytes(path);
    bytes.all += size;
    if (!used.has(home) || !needed.has(layer)) bytes.reclaimable += size;
  }
  return bytes;
}

/** How much of each image is its own. */
export function imageUsage(engine: Engine, onDamaged?: (id: string, error: TsboxError) => void): ImageUsage[] {
  const { store } = engine;
  const images = listImages(engine, { all: false }, onDamaged);
  const chains = images.map(({ id }) => [...chainBelow(store, imageTop(store, id))]);
  const uses = new Map<string, number>();
  for (const chainId of chains.flat()) uses.set(chainId, (uses.get(chainId) ?? 0) + 1);
  const containers = listRecords(store);
  return images.map((image, index) => {
    const others = chains[index]!.filter((chainId) => uses.get(chainId)! > 1);
    const shared = others.reduce((total, chainId) => total + layerSize(store, chainId), 0);
    const users = containers.filter((record) => record.Image === image.id).length;
    return { image, shared, unique: image.size - shared, containers: users };
  });
}

/** A layer and those below it, by chain id; damaged ones too. */
function* chainBelow(store: Store, top: string | undefined): Generator<string> {
  const seen = new Set<string>();
  for (let at = top; at !== undefined && !seen.has(at); at = readText(`${layerEntry(store, at)}/parent`)) {
    seen.add(at);
    yield at;
  }
}

/** The layers of all containers: of their images, and those that they stand on. */
function keptLayers(store: Store): Set<string> {
  const tops = [
    ...listRecords(store).map((record) => imageTop(store, record.Image)),
    ...mountedIds(store).map((id) => readIntact(`${mountEntry(store, id)}/parent`)),
  ];
  return new Set(tops.flatMap((top) => [...chainBelow(store, top)]));
}
