/**
 * Layers of an image into the store: what is there is kept, the rest is unpacked several at once as it arrives. A layer with hard links
 * into the layers below, or with files in directories that only those describe, waits for them at its end, and for nothing else.
 *
 * As soon as a layer and all below it are unpacked, it is committed, while others still arrive. Committing syncs; what becomes complete
 * during one sync is committed with the next. So a pull that is killed leaves whole layers for the next one, and what it was unpacking
 * is told from them by everybody. A layer is never continued in its middle: see docs/decisions.md.
 */

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsboxError, wrapError } from '../errors.ts';
import { applyLayer } from '../layer/apply.ts';
import { decompress } from '../layer/decompress.ts';
import { chainIds } from '../store/chain.ts';
import { type BlobSource, rememberBlob } from '../store/distribution.ts';
import { type LayerRecord, lowerFor, stackOf } from '../store/layers.ts';
import { type Lease, useLayer } from '../store/leases.ts';
import { commitLayers, discardStaged, type LayerTarget, type StagedLayer, stageLayer } from '../store/register.ts';
import type { Store } from '../store/store.ts';
import { keepFreedMemory, keepYoungSpaceSmall } from '../sys/heap.ts';
import { isHostRoot, maySetOwners } from '../sys/own-ids.ts';
import { openSha256 } from '../sys/sha256.ts';
import { syncFileSystem } from '../sys/sync.ts';
import type { LayerStatus, OnProgress, UnpackLimits } from './api.ts';
import { inParallel } from './parallel.ts';

/** The most lower directories, beside a container's own, that fit into the one page of options that mount(2) takes. */
export const MOST_LAYERS = 127;

const SYNC_EVERY_MS = 150;

export interface LayerSource {
  /** What the image's config says. */
  diffId: string;
  /** Verb and object for messages: `pull layer sha256:..`. */
  what: string;
  /** Short digest, for progress. */
  label: string;
  /** Bytes that `open` gives. */
  size: number;
  /** The layer as it comes, compressed or not. The stream throws at its end when it is not what it should be. */
  open(signal: AbortSignal): AsyncIterable<Buffer>;
  /** Is a layer that the store has under this chain id as good? Else the source is read and compared all the same. */
  known: boolean;
  /** Where it came from, kept for the next pull and for push. */
  blob?: BlobSource;
}

export interface InstallOptions {
  /** How many at once. */
  parallel: number;
  /** Words for what happens to a layer, in this order; several where two things happen at once. */
  statuses: {
    /** Nothing has begun yet. */
    listed?: LayerStatus;
    /** Others come first. */
    waiting?: LayerStatus;
    present?: LayerStatus;
    reading: LayerStatus;
    read?: readonly LayerStatus[];
    done?: LayerStatus;
  };
  /** Does this error say nothing against the layers that are complete? Then another try goes on from them. */
  keeps?(error: unknown): boolean;
  /** Of the codec. */
  limits?: UnpackLimits | undefined;
  onProgress: OnProgress;
  signal: AbortSignal;
}

/** Refuses an image that could never be mounted, before anything is fetched or unpacked. */
export function checkLayerCount(what: string, count: number): void {
  if (count <= MOST_LAYERS) return;
  throw new TsboxError('ERR_TSBOX_LIMIT', `${what}: ${count} layers, at most ${MOST_LAYERS} can be stacked`);
}

interface Installation {
  store: Store;
  sources: readonly LayerSource[];
  options: InstallOptions;
  /** Aborted by the caller's signal, and when a layer fails. */
  signal: AbortSignal;
  say(source: LayerSource, status: LayerStatus | undefined, current?: number): void;
  /** What could not be kept of which layer, for a person. */
  notices: string[];
}

/**
 * Makes sure that the store has all layers, the base first. They are held by `lease` until the caller has stored the image. When it
 * fails, nothing stays outside the store; the layers that are in it are noted in the lease.
 * @throws what a source throws; ERR_TSBOX_DAMAGED when a layer has another diffID
 */
export async function installLayers(
  store: Store,
  lease: Lease,
  sources: readonly LayerSource[],
  options: InstallOptions,
): Promise<void> {
  keepYoungSpaceSmall();
  keepFreedMemory();
  const chain = chainIds(sources.map(({ diffId }) => diffId));
  let present = 0;
  while (present < chain.length && useLayer(store, lease, chain[present]!) !== undefined) present++;
  const stop = new AbortController();
  const run: Installation = {
    store,
    sources,
    options,
    signal: AbortSignal.any([options.signal, stop.signal]),
    say(source, status, current) {
      if (status === undefined) return;
      const bytes = current === undefined ? {} : { current, total: source.size };
      options.onProgress({ kind: 'layer', layer: source.label, status, ...bytes });
    },
    notices: [],
  };
  for (const source of sources.slice(present)) run.say(source, options.statuses.listed);
  for (const source of sources.slice(present + options.parallel)) run.say(source, options.statuses.waiting);
  for (const source of sources.slice(0, present)) if (source.known) run.say(source, options.statuses.present);
  const staging = newStaging(run, lease, chain, present);
  const queue = [...sources.keys()].filter((index) => index >= present || !sources[index]!.known);
  const written = new AbortController();
  if (present < sources.length) void syncMeanwhile(store, written.signal);
  try {
    const arriving = inParallel(queue, options.parallel, async (index) => {
      if (index < present) await compare(run, sources[index]!);
      else await staging.stage(index);
    });
    await Promise.all([arriving, staging.committed]);
  } catch (error) {
    stop.abort(error);
    await staging.giveUp(error, options.keeps?.(error) === true);
    throw error;
  } finally {
    written.abort();
  }
  for (const text of run.notices) options.onProgress({ kind: 'text', text });
  for (const { blob, diffId } of sources.slice(0, present)) {
    if (blob !== undefined) rememberBlob(store, diffId, blob, lease);
  }
}

/** Lets the disk begin while layers still arrive: then little is left for the sync that a commit waits for. Of no consequence if it
 *  fails: that sync fails too. */
async function syncMeanwhile(store: Store, end: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await sleep(SYNC_EVERY_MS, undefined, { signal: end });
      await syncFileSystem(store.dataRoot);
    }
  } catch {}
}

async function* counted(run: Installation, source: LayerSource): AsyncGenerator<Buffer> {
  let read = 0;
  run.say(source, run.options.statuses.reading, 0);
  for await (const chunk of source.open(run.signal)) {
    run.signal.throwIfAborted();
    read += chunk.length;
    run.say(source, run.options.statuses.reading, read);
    yield chunk;
  }
  for (const status of run.options.statuses.read ?? []) run.say(source, status);
}

function wrongDiffId(source: LayerSource, found: string): TsboxError {
  const message = `${source.what}: unpacked it has the digest ${found}, the image's config says ${source.diffId}`;
  return new TsboxError('ERR_TSBOX_DAMAGED', message);
}

/** Reads a layer that the store has already, only to see that it is the same. */
async function compare(run: Installation, source: LayerSource): Promise<void> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of decompress(counted(run, source), run.options.limits)) hash.update(chunk);
  } catch (error) {
    throw wrapError(source.what, error);
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== source.diffId) throw wrongDiffId(source, found);
  run.say(source, run.options.statuses.done ?? run.options.statuses.present);
}

interface Staging {
  /** Unpacks a layer. */
  stage(index: number): Promise<void>;
  /** Fulfilled when all layers are committed. */
  readonly committed: Promise<void>;
  /** Ends it when no more layers will be staged. What is not committed is removed.
   *  @param keepComplete commit first what is complete from the base up */
  giveUp(reason: unknown, keepComplete: boolean): Promise<void>;
}

function newStaging(run: Installation, lease: Lease, chain: readonly string[], present: number): Staging {
  const { store, sources } = run;
  /** By index; settled when the layer is unpacked or never will be. */
  const unpacked = sources.map(() => Promise.withResolvers<StagedLayer>());
  /** Unpacked and not committed yet. */
  const complete = new Map<number, StagedLayer>();
  const committed = new Map<number, LayerRecord>();
  const started: Promise<unknown>[] = [];
  let discarding = false;

  /** Directories below a layer, nearest first, as soon as they are all unpacked. */
  async function lowersOf(index: number): Promise<string[]> {
    const below = await Promise.all(unpacked.slice(present, index).map(({ promise }) => promise));
    // One that another process has committed before us was taken from there, and our copy is gone.
    const own = below.map((staged, at) => (committed.get(present + at) ?? staged).diffDir);
    const parent = present === 0 ? undefined : useLayer(store, lease, chain[present - 1]!);
    return [...own.reverse(), ...stackOf(store, lowerFor(parent))];
  }

  async function unpack(index: number): Promise<StagedLayer> {
    const source = sources[index]!;
    const sum = openSha256();
    const apply = async (target: LayerTarget) => {
      const tar = decompress(counted(run, source), { ...run.options.limits, sum });
      const layer = await applyLayer(tar, target.dir, {
        ...unpackAs(),
        limits: run.options.limits ?? {},
        diffId: sum.digest,
        tarSplit: target.tarSplit,
        lowers: () => lowersOf(index),
      });
      for (const notice of layer.notices) run.notices.push(`${source.label}: ${notice}`);
      return layer;
    };
    try {
      const layer = await stageLayer(store, lease, apply);
      if (layer.diffId === source.diffId) return layer;
      discardStaged(store, lease, layer);
      throw wrongDiffId(source, layer.diffId);
    } catch (error) {
      throw wrapError(source.what, error);
    } finally {
      sum.close();
    }
  }

  /** The complete layers from here up to the first that is missing. Who commits them removes them too if that fails. */
  function takeComplete(first: number): StagedLayer[] {
    const batch: StagedLayer[] = [];
    for (let at = first; complete.has(at); at++) {
      const { blob, diffId } = sources[at]!;
      // Before it is a layer: a kill in between must not make the next pull fetch it for comparison.
      if (blob !== undefined) rememberBlob(store, diffId, blob, lease);
    }
    for (let at = first; complete.has(at); at++) {
      batch.push(complete.get(at)!);
      complete.delete(at);
    }
    return batch;
  }

  async function commitFromBase(): Promise<void> {
    for (let next = present; next < sources.length; ) {
      await unpacked[next]!.promise;
      if (discarding) return;
      for (const layer of await commitLayers(store, lease, takeComplete(next), chain[next - 1])) {
        committed.set(next, layer);
        run.say(sources[next++]!, run.options.statuses.done);
      }
    }
  }

  const committing = commitFromBase();
  // Whoever waits for one of these may not have come yet when it fails, or have left.
  for (const promise of [committing, ...unpacked.map((one) => one.promise)]) promise.catch(() => {});
  return {
    committed: committing,
    async stage(index) {
      const { promise, resolve, reject } = unpacked[index]!;
      started.push(promise);
      unpack(index).then((layer) => {
        complete.set(index, layer);
        resolve(layer);
      }, reject);
      await promise;
    },
    async giveUp(reason, keepComplete) {
      discarding = !keepComplete;
      await Promise.allSettled(started);
      for (const { reject } of unpacked) reject(reason);
      await Promise.allSettled([committing]);
      for (const layer of complete.values()) discardStaged(store, lease, layer);
    },
  };
}

/** How layers are unpacked: as root with the owners that they name and in the kernel's own form. */
export function unpackAs(): { whiteouts: 'overlay' | 'overlay-user'; lchown: boolean } {
  return { whiteouts: isHostRoot() ? 'overlay' : 'overlay-user', lchown: maySetOwners() };
}
