/**
 * Layers come in two steps. Staging unpacks into a fresh directory of overlay2/, at any length, in any order, several at once; no
 * lock is held and nothing refers to the directory. Committing makes staged layers layers of the store, from the base up: all is
 * written and synced first, then each entry is renamed into layerdb. So nothing half-made is ever taken for a layer.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { isDigest } from '../spec/digest.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { randomHex } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { syncFileSystem } from '../sys/sync.ts';
import { chainIdOn } from './chain.ts';
import { attempt, refusal, withoutUmask } from './io.ts';
import { ARCHIVE_SIZE, hasLayer, type LayerRecord, lowerFor, readLayer, stackOf } from './layers.ts';
import { holdDirectory, type Lease, useLayer } from './leases.ts';
import { newLink, removeLink, writeLink } from './links.ts';
import { sharingStore, withStore } from './lock.ts';
import { layerEntry, type Store } from './store.ts';

/** Where a layer is to be unpacked. */
export interface LayerTarget {
  /** An empty directory, 0755. */
  dir: string;
  /** Where the tar-split goes: a file that is not there yet. */
  tarSplit: string;
  /** Directories of the layers below, nearest first: for hard links to files that are there. */
  lowers: readonly string[];
}

export interface AppliedLayer {
  /** Digest of the uncompressed tar. */
  diffId: string;
  /** Bytes of that tar. */
  archiveSize: number;
  /** Bytes of file content. */
  size: number;
}

export type ApplyLayer = (target: LayerTarget) => Promise<AppliedLayer>;

export interface StagedLayer extends AppliedLayer {
  cacheId: string;
  /** The layer's files. */
  diffDir: string;
}

function stagingEntry(store: Store, cacheId: string): string {
  return `${store.images}/layerdb/tmp/${cacheId}`;
}

function discard(store: Store, lease: Lease, cacheId: string): void {
  try {
    removeWholeTree(`${store.overlay}/${cacheId}`);
    removeWholeTree(stagingEntry(store, cacheId));
  } catch {
    // What led here is to be told. The rest of it is found by gc.ts, as that of a process that was killed.
  }
  lease.locks.get(cacheId)?.release();
  lease.locks.delete(cacheId);
}

/** Unpacks a layer into a fresh directory. On an error the directory is gone again; a killed process's is found by gc.ts.
 *  @param lowers as in {@link LayerTarget}; layers that are unpacked at the same time cannot be among them */
export async function stageLayer(
  store: Store,
  lease: Lease,
  apply: ApplyLayer,
  lowers: readonly string[] = [],
): Promise<StagedLayer> {
  const cacheId = randomHex(32);
  const [directory, entry] = [`${store.overlay}/${cacheId}`, stagingEntry(store, cacheId)];
  const diffDir = `${directory}/diff`;
  try {
    sharingStore(store, () =>
      attempt(`stage a layer in ${directory}`, () =>
        withoutUmask(() => {
          mkdirSync(directory, 0o710);
          holdDirectory(store, lease, cacheId);
          mkdirSync(diffDir, 0o755);
          mkdirSync(entry, 0o700);
        }),
      ),
    );
    const { diffId, archiveSize, size } = await apply({ dir: diffDir, tarSplit: `${entry}/tar-split.json.gz`, lowers });
    if (!isDigest(diffId)) throw new Error(`a layer's diffID is ${diffId}`);
    return { cacheId, diffDir, diffId, archiveSize, size };
  } catch (error) {
    discard(store, lease, cacheId);
    throw refusal('unpack a layer', error);
  }
}

/** Gives up a staged layer that was not committed. */
export function discardStaged(store: Store, lease: Lease, staged: StagedLayer): void {
  discard(store, lease, staged.cacheId);
}

interface Prepared {
  staged: StagedLayer;
  chainId: string;
  parent: string | undefined;
  link: string;
  lower: string;
}

/** Writes what belongs to a layer beside its files, for the parents as they are now. */
function prepare(store: Store, staged: StagedLayer, below: LayerRecord | Prepared | undefined): Prepared {
  const entry = stagingEntry(store, staged.cacheId);
  const chainId = chainIdOn(below?.chainId, staged.diffId);
  const [link, lower] = [newLink(), lowerFor(below)];
  const directory = `${store.overlay}/${staged.cacheId}`;
  writeFileSync(`${entry}/diff`, staged.diffId, { mode: 0o644 });
  writeFileSync(`${entry}/size`, String(staged.size), { mode: 0o644 });
  writeFileSync(`${entry}/${ARCHIVE_SIZE}`, String(staged.archiveSize), { mode: 0o644 });
  writeFileSync(`${entry}/cache-id`, staged.cacheId, { mode: 0o644 });
  if (below !== undefined) {
    writeFileSync(`${entry}/parent`, below.chainId, { mode: 0o644 });
    mkdirSync(`${directory}/work`, 0o700);
  }
  writeFileSync(`${directory}/committed`, '', { mode: 0o600 });
  // Last: the short name is outside of the two directories, and has to be removed by itself.
  writeLink(store, staged.cacheId, link, lower);
  return { staged, chainId, parent: below?.chainId, link, lower };
}

/** Renames one entry into place, unless another process was faster. @returns the layer that is in the store after that */
function publish(store: Store, lease: Lease, one: Prepared, below: LayerRecord | undefined): LayerRecord {
  const { cacheId } = one.staged;
  if (hasLayer(store, one.chainId)) {
    const there = readLayer(store, one.chainId);
    holdDirectory(store, lease, there.cacheId);
    return there;
  }
  const lower = lowerFor(below);
  // The layer below may have come from another process since: then it has another short name.
  if (lower !== one.lower) writeFileAtomic(`${store.overlay}/${cacheId}/lower`, lower, { mode: 0o644, sync: true });
  renameSync(stagingEntry(store, cacheId), layerEntry(store, one.chainId));
  lease.added.layers.push(one.chainId);
  return readLayer(store, one.chainId);
}

/**
 * Makes staged layers, the base first, layers of the store on top of `parent` (none: the first is a base). A layer that is in the
 * store already is taken from there and the staged copy dropped. Synced before it is visible, all of them at once; other work goes on
 * meanwhile. The layers stay in the lease.
 * @throws ERR_TSBOX_NOT_FOUND when the parent is not in the store. On an error every layer that is not committed is dropped.
 */
export async function commitLayers(
  store: Store,
  lease: Lease,
  staged: readonly StagedLayer[],
  parent?: string,
): Promise<LayerRecord[]> {
  const prepared: Prepared[] = [];
  const layers: LayerRecord[] = [];
  try {
    const base = parent === undefined ? undefined : useLayer(store, lease, parent);
    if (parent !== undefined && base === undefined) {
      throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such layer: ${parent}`);
    }
    let below: LayerRecord | Prepared | undefined = base;
    withoutUmask(() => {
      for (const one of staged) {
        below = attempt(`store layer ${one.diffId}`, () => prepare(store, one, below));
        prepared.push(below);
      }
    });
    await syncFileSystem(store.dataRoot);
    withStore(store, () => {
      for (const one of prepared) layers.push(publish(store, lease, one, layers.at(-1) ?? base));
    });
  } catch (error) {
    throw refusal('commit layers', error);
  } finally {
    // Whatever was staged and is no layer now: copies of layers that were there, or after an error those not reached.
    const used = new Set(layers.map((layer) => layer.cacheId));
    for (const [index, { cacheId }] of staged.entries()) {
      if (used.has(cacheId)) continue;
      removeLink(store, prepared[index]?.link);
      discard(store, lease, cacheId);
    }
  }
  return layers;
}

/** Unpacks one layer on `parent` and makes it a layer of the store. @throws as {@link stageLayer} and {@link commitLayers} */
export async function registerLayer(
  store: Store,
  lease: Lease,
  parent: string | undefined,
  apply: ApplyLayer,
): Promise<LayerRecord> {
  const below = parent === undefined ? undefined : useLayer(store, lease, parent);
  const staged = await stageLayer(store, lease, apply, stackOf(store, lowerFor(below)));
  const [layer] = await commitLayers(store, lease, [staged], parent);
  if (layer === undefined) throw new Error('a committed layer is missing');
  return layer;
}
