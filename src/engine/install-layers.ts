/**
 * Layers of an image into the store: what is there is kept, the rest is unpacked several at once as it arrives, and committed from the
 * base up. A layer with hard links into the layers below waits for those, and for nothing else.
 */
import { createHash } from 'node:crypto';
import { TsboxError, wrapError } from '../errors.ts';
import { applyLayer } from '../layer/apply.ts';
import { decompress } from '../layer/decompress.ts';
import { chainIds } from '../store/chain.ts';
import { type BlobSource, rememberBlob } from '../store/distribution.ts';
import { lowerFor, stackOf } from '../store/layers.ts';
import { type Lease, useLayer } from '../store/leases.ts';
import { commitLayers, discardStaged, type LayerTarget, type StagedLayer, stageLayer } from '../store/register.ts';
import type { Store } from '../store/store.ts';
import type { LayerStatus, OnProgress } from './api.ts';

/** The most lower directories, beside a container's own, that fit into the one page of options that mount(2) takes. */
export const MOST_LAYERS = 127;

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
  /** Keep complete layers when it is interrupted: another try goes on from them. */
  resumable: boolean;
  onProgress: OnProgress;
  signal: AbortSignal;
}

/** Errors that say nothing against the layers that are complete. */
const INTERRUPTIONS: readonly string[] = ['ERR_TSBOX_REGISTRY', 'ERR_TSBOX_UNAUTHORIZED', 'ERR_TSBOX_CONFLICT'];

function isInterruption(error: unknown): boolean {
  return error instanceof TsboxError && INTERRUPTIONS.includes(error.code);
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
}

/**
 * Makes sure that the store has all layers, the base first. They are held by `lease` until the caller has stored the image.
 * When it fails, everything is removed again but what `resumable` keeps.
 * @throws what a source throws; ERR_TSBOX_DAMAGED when a layer has another diffID
 */
export async function installLayers(
  store: Store,
  lease: Lease,
  sources: readonly LayerSource[],
  options: InstallOptions,
): Promise<void> {
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
  };
  for (const source of sources.slice(present)) run.say(source, options.statuses.listed);
  for (const source of sources.slice(present + options.parallel)) run.say(source, options.statuses.waiting);
  for (const source of sources.slice(0, present)) if (source.known) run.say(source, options.statuses.present);
  const staging = newStaging(run, lease, chain, present);
  const queue = [...sources.keys()].filter((index) => index >= present || !sources[index]!.known);
  try {
    await inParallel(queue, options.parallel, async (index) => {
      if (index < present) await compare(run, sources[index]!);
      else await staging.stage(index);
    });
  } catch (error) {
    stop.abort(error);
    await staging.settled();
    staging.giveUp(options.resumable && isInterruption(error));
    throw error;
  }
  staging.commit();
  for (const source of sources.slice(0, present))
    if (source.blob !== undefined) rememberBlob(store, source.diffId, source.blob);
}

/** Runs `work` on the items in order, at most `limit` at once. @throws the first error, at once: the others may still be running */
async function inParallel<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (next < items.length && !failed) {
      try {
        await work(items[next++]!);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
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
    for await (const chunk of decompress(counted(run, source))) hash.update(chunk);
  } catch (error) {
    throw wrapError(source.what, error);
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== source.diffId) throw wrongDiffId(source, found);
  run.say(source, run.options.statuses.done ?? run.options.statuses.present);
}

interface Staging {
  stage(index: number): Promise<void>;
  /** Fulfilled when nothing is being unpacked any more. */
  settled(): Promise<unknown>;
  /** Commits all layers. */
  commit(): void;
  /** Removes what was unpacked, all of it or what is above the first layer that is missing. */
  giveUp(keepComplete: boolean): void;
}

function newStaging(run: Installation, lease: Lease, chain: readonly string[], present: number): Staging {
  const { store, sources } = run;
  const parent = present === 0 ? undefined : chain[present - 1];
  const pending = new Map<number, Promise<StagedLayer>>();
  const staged = new Map<number, StagedLayer>();

  /** Directories below a layer, nearest first, as soon as they are all unpacked. */
  async function lowersOf(index: number): Promise<string[]> {
    const below: string[] = [];
    for (let at = index - 1; at >= present; at--) below.push((await pending.get(at)!).diffDir);
    const layer = parent === undefined ? undefined : useLayer(store, lease, parent);
    return [...below, ...stackOf(store, lowerFor(layer))];
  }

  async function unpack(index: number): Promise<StagedLayer> {
    const source = sources[index]!;
    const apply = (target: LayerTarget) =>
      applyLayer(decompress(counted(run, source)), target.dir, {
        ...unpackAs(),
        tarSplit: target.tarSplit,
        lowers: () => lowersOf(index),
      });
    try {
      const layer = await stageLayer(store, lease, apply);
      if (layer.diffId === source.diffId) return layer;
      discardStaged(store, lease, layer);
      throw wrongDiffId(source, layer.diffId);
    } catch (error) {
      throw wrapError(source.what, error);
    }
  }

  function commitFrom(layers: readonly StagedLayer[]): void {
    commitLayers(store, lease, layers, parent);
    for (const source of sources.slice(present, present + layers.length)) {
      if (source.blob !== undefined) rememberBlob(store, source.diffId, source.blob);
    }
  }

  function completeFromBase(): StagedLayer[] {
    const layers: StagedLayer[] = [];
    for (let index = present; staged.has(index); index++) layers.push(staged.get(index)!);
    return layers;
  }

  return {
    async stage(index) {
      const unpacking = unpack(index);
      pending.set(index, unpacking);
      // Who waits for it from above may come later than the failure.
      unpacking.catch(() => {});
      staged.set(index, await unpacking);
      run.say(sources[index]!, run.options.statuses.done);
    },
    settled: () => Promise.allSettled(pending.values()),
    commit() {
      if (present < sources.length) commitFrom(completeFromBase());
    },
    giveUp(keepComplete) {
      const layers = keepComplete ? completeFromBase() : [];
      for (const layer of staged.values()) if (!layers.includes(layer)) discardStaged(store, lease, layer);
      try {
        if (layers.length > 0) commitFrom(layers);
      } catch {
        // The error that brought us here is the one to tell; what could not be committed is removed.
      }
    },
  };
}

/** How layers are unpacked: as root with the owners that they name and in the kernel's own form. */
export function unpackAs(): { whiteouts: 'overlay' | 'overlay-user'; lchown: boolean } {
  const root = process.geteuid?.() === 0;
  return { whiteouts: root ? 'overlay' : 'overlay-user', lchown: root };
}
