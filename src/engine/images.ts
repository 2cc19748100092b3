/** Images as `images`, `history` and `inspect` show them, and `tag`. */
import { TsboxError } from '../errors.ts';
import type { HistoryEntry as ConfigHistory, ImageConfig } from '../spec/oci-image.ts';
import { familiarString, parseNewName } from '../spec/reference.ts';
import { chainIdOn, chainIds } from '../store/chain.ts';
import { noteImage } from '../store/events.ts';
import { tag } from '../store/image-changes.ts';
import {
  findImageId,
  imageIds,
  imageNames,
  imageParent,
  imageParents,
  readImageConfig,
  requireImage,
} from '../store/images.ts';
import { layerSize } from '../store/layers.ts';
import { type ImageNames, namesByImage, type References, readReferences, referencesPath } from '../store/references.ts';
import type { Store } from '../store/store.ts';
import type { HistoryEntry, ImageSummary } from './api.ts';
import type { Engine } from './open.ts';

export { removeImage } from './remove-image.ts';

const NEVER = '0001-01-01T00:00:00Z';

/** A layer with all below it: its chain id, and bytes of file content. */
interface Stack {
  chainId: string;
  size: number;
  /** What is known of the layers above it, by diffID. */
  above: Map<string, Stack>;
}

/** How large images are: bytes of file content in all layers; a layer that is missing counts as nothing. Of many images most share
 *  layers, and what they share is looked at once. */
function imageSizes(store: Store): (config: ImageConfig) => number {
  const bases = new Map<string, Stack>();
  return ({ rootfs }) => {
    let top: Stack | undefined;
    for (const diffId of rootfs.diff_ids) {
      const known = top?.above ?? bases;
      let next = known.get(diffId);
      if (next === undefined) {
        const chainId = chainIdOn(top?.chainId, diffId);
        next = { chainId, size: (top?.size ?? 0) + layerSize(store, chainId), above: new Map() };
        known.set(diffId, next);
      }
      top = next;
    }
    return top?.size ?? 0;
  };
}

/** Little of its config is kept: of a thousand images what stays is what costs the garbage collector. */
function summary(id: string, config: ImageConfig, size: number, names: ImageNames | undefined): ImageSummary {
  const { tags, digests } = names ?? { tags: [], digests: [] };
  return { id, size, tags, digests, created: config.created ?? NEVER, labels: config.config?.Labels ?? {} };
}

/** One image by its full id. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function summarizeImage(engine: Engine, id: string): ImageSummary {
  const { store } = engine;
  const config = readImageConfig(store, id);
  const size = imageSizes(store)(config);
  return { ...summary(id, config, size, imageNames(store, id)), parent: imageParent(store, id) ?? '' };
}

/** When the image was made that a name or an id stands for: RFC 3339.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_SPEC, ERR_TSBOX_DAMAGED */
export function imageCreated(engine: Engine, name: string): string {
  return requireImage(engine.store, name).config.created ?? NEVER;
}

/** None where the file is damaged and somebody is told so. */
function listedReferences(store: Store, onDamaged?: (path: string, error: TsboxError) => void): References {
  try {
    return readReferences(store);
  } catch (error) {
    if (!(error instanceof TsboxError) || onDamaged === undefined) throw error;
    onDamaged(referencesPath(store), error);
    return new Map();
  }
}

/** Works it out when it is first asked for. */
function once<T>(work: () => T): () => T {
  let known: { value: T } | undefined;
  return () => {
    known ??= { value: work() };
    return known.value;
  };
}

export interface ImageListOptions {
  /** Those too that have no name and only serve as parents of others. */
  all: boolean;
  /** Each with its parent, which is one more look. */
  parents?: boolean;
}

/** Images, the youngest first. One that is removed meanwhile is left out.
 *  @param onDamaged is told of images that cannot be read; the others are listed all the same; and of the file with their names: then
 *  they have none */
export function listImages(
  engine: Engine,
  options: ImageListOptions,
  onDamaged?: (id: string, error: TsboxError) => void,
): ImageSummary[] {
  const { store } = engine;
  const named = namesByImage(listedReferences(store, onDamaged));
  const parents = once(() => imageParents(store));
  const haveChildren = once(() => new Set(parents().values()));
  const images: ImageSummary[] = [];
  const sizeOf = imageSizes(store);
  for (const id of imageIds(store)) {
    if (!options.all && !named.has(id) && haveChildren().has(id)) continue;
    try {
      const config = readImageConfig(store, id);
      const image = summary(id, config, sizeOf(config), named.get(id));
      images.push(options.parents ? { ...image, parent: parents().get(id) ?? '' } : image);
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (error.code !== 'ERR_TSBOX_NOT_FOUND') onDamaged?.(id, error);
    }
  }
  const times = new Map(images.map((image) => [image, Date.parse(image.created)]));
  return images.sort((a, b) => times.get(b)! - times.get(a)!);
}

/** Gives an image a further name; a name that another image has goes over to this one.
 *  @throws ERR_TSBOX_NOT_FOUND for the source; ERR_TSBOX_SPEC for a bad name; ERR_TSBOX_USAGE for a target with a digest or like one */
export function tagImage(engine: Engine, source: string, target: string): void {
  const { id } = requireImage(engine.store, source);
  const reference = parseNewName(target);
  tag(engine.store, reference, id);
  noteImage(engine.store, 'tag', id, { name: familiarString(reference) });
}

/** The ids of an image and of those it was made from, as far as they are here. */
function ancestry(engine: Engine, id: string): string[] {
  const ids: string[] = [];
  for (let next: string | undefined = id; next !== undefined && !ids.includes(next); ) {
    ids.push(next);
    const parent = imageParent(engine.store, next);
    next = parent === undefined ? undefined : findImageId(engine.store, parent);
  }
  return ids;
}

/** How an image came to be, the last step first. A step has an image id where the image that it made is here.
 *  @throws ERR_TSBOX_NOT_FOUND; ERR_TSBOX_DAMAGED when the history tells of more layers than there are */
export function imageHistory(engine: Engine, name: string): HistoryEntry[] {
  const { store } = engine;
  const { id, config } = requireImage(store, name);
  const chain = chainIds(config.rootfs.diff_ids);
  const ids = ancestry(engine, id);
  const references = readReferences(store);
  const steps: readonly ConfigHistory[] = config.history ?? [];
  let layers = 0;
  const entries = steps.map((step): HistoryEntry => {
    const chainId = step.empty_layer === true ? undefined : chain[layers++];
    return {
      id: '<missing>',
      created: step.created ?? NEVER,
      createdBy: step.created_by ?? '',
      size: chainId === undefined ? 0 : layerSize(store, chainId),
      comment: step.comment ?? '',
      tags: [],
    };
  });
  if (layers > chain.length) {
    throw new TsboxError(
      'ERR_TSBOX_DAMAGED',
      `read image ${id}: its history has ${layers} layers, it has ${chain.length}`,
    );
  }
  return entries.reverse().map((entry, index) => {
    const own = ids[index];
    return own === undefined ? entry : { ...entry, id: own, tags: imageNames(store, own, references).tags };
  });
}
