/** Layers that are in the store: read side. A layer is there when its directory in layerdb is; that is renamed into place last. */
import { existsSync, readdirSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { isDigest } from '../spec/digest.ts';
import { readText } from './io.ts';
import { isHexId, layerEntry, type Store } from './store.ts';

export interface LayerRecord {
  chainId: string;
  diffId: string;
  /** Chain id of the layer below; absent on a base layer. */
  parent?: string;
  /** Name of its directory in overlay2/. */
  cacheId: string;
  /** Bytes of file content. */
  size: number;
  /** Bytes of its tar; absent when another engine has put the layer there. */
  archiveSize?: number;
  /** Short name in overlay2/l. */
  link: string;
  /** `l/A:l/B:..` of the layers below, nearest first; empty on a base layer. */
  lower: string;
  /** The layer's files. */
  diffDir: string;
  /** What it takes to write the layer's tar again byte for byte; see layer/. */
  tarSplit: string;
}

/** The one file of an entry that Docker has not, and passes over: to know it without it takes all of the tar-split. */
export const ARCHIVE_SIZE = 'archive-size';

export function hasLayer(store: Store, chainId: string): boolean {
  return existsSync(`${layerEntry(store, chainId)}/cache-id`);
}

function damaged(chainId: string, what: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', `read layer ${chainId}: ${what}`, {
    hint: 'Remove the images that use this layer, then pull or load them again.',
  });
}

/** A layer by its chain id.
 *  @throws ERR_TSBOX_NOT_FOUND, or ERR_TSBOX_DAMAGED when parts of it are missing or not what they should be */
export function readLayer(store: Store, chainId: string): LayerRecord {
  const entry = layerEntry(store, chainId);
  const cacheId = readText(`${entry}/cache-id`);
  if (cacheId === undefined) throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such layer: ${chainId}`);
  // Docker names what it took over from older versions otherwise; a name that is no plain file name would lead elsewhere.
  if (!/^[a-z0-9-]+$/.test(cacheId)) throw damaged(chainId, 'its cache-id is no directory name');
  const diffId = readText(`${entry}/diff`);
  if (!isDigest(diffId)) throw damaged(chainId, 'its diff is no digest');
  const directory = `${store.overlay}/${cacheId}`;
  const link = readText(`${directory}/link`);
  if (link === undefined || !/^[A-Z0-9]+$/.test(link)) throw damaged(chainId, `${directory}/link is missing`);
  const parent = readText(`${entry}/parent`);
  if (parent !== undefined && !isDigest(parent)) throw damaged(chainId, 'its parent is no digest');
  const lower = readText(`${directory}/lower`) ?? '';
  if ((lower === '') !== (parent === undefined))
    throw damaged(chainId, 'its parent and its lower directories do not agree');
  const archiveSize = wholeNumber(readText(`${entry}/${ARCHIVE_SIZE}`));
  return {
    chainId,
    diffId,
    ...(parent === undefined ? {} : { parent }),
    cacheId,
    size: layerSize(store, chainId),
    ...(archiveSize === undefined ? {} : { archiveSize }),
    link,
    lower,
    diffDir: `${directory}/diff`,
    tarSplit: `${entry}/tar-split.json.gz`,
  };
}

/** Bytes of file content in a layer, without what is below it; 0 when the layer is missing or does not know. */
export function layerSize(store: Store, chainId: string): number {
  return wholeNumber(readText(`${layerEntry(store, chainId)}/size`)) ?? 0;
}

function wholeNumber(text: string | undefined): number | undefined {
  const number = text === undefined || !/^[0-9]+$/.test(text) ? Number.NaN : Number(text);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** A layer and all below it, from top to base. @throws as {@link readLayer} */
export function layerChain(store: Store, chainId: string): LayerRecord[] {
  const chain: LayerRecord[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = chainId; next !== undefined; ) {
    if (seen.has(next)) throw damaged(chainId, 'it is among its own parents');
    seen.add(next);
    const layer: LayerRecord = readLayer(store, next);
    chain.push(layer);
    next = layer.parent;
  }
  return chain;
}

/** Chain ids of all layers, in no order. */
export function layerIds(store: Store): string[] {
  return readdirSync(`${store.images}/layerdb/sha256`)
    .filter(isHexId)
    .map((hex) => `sha256:${hex}`);
}

/** `l/A:l/B`: the layer and what is below it, as the lower directories of one above. */
export function lowerFor(layer: Pick<LayerRecord, 'link' | 'lower'> | undefined): string {
  if (layer === undefined) return '';
  return layer.lower === '' ? `l/${layer.link}` : `l/${layer.link}:${layer.lower}`;
}

/** Directories to look through for a value of `lower`, nearest first. */
export function stackOf(store: Store, lower: string): string[] {
  return lower === '' ? [] : lower.split(':').map((link) => `${store.overlay}/${link}`);
}

/** Where the directory of a layer is locked by whoever still needs it: see leases.ts. */
export function layerLockPath(store: Store, cacheId: string): string {
  return `${store.overlay}/${cacheId}`;
}
