/** Images as `images`, `history` and `inspect` show them, and `tag`. */
import { TsboxError } from '../errors.ts';
import type { HistoryEntry as ConfigHistory, ImageConfig } from '../spec/oci-image.ts';
import { familiarString, parseReference } from '../spec/reference.ts';
import { chainIds } from '../store/chain.ts';
import { noteImage } from '../store/events.ts';
import { tag } from '../store/image-changes.ts';
import {
  findImageId,
  type ImageRecord,
  imageIds,
  imageNames,
  imageParent,
  imageParents,
  readImage,
  requireImage,
} from '../store/images.ts';
import { layerSize } from '../store/layers.ts';
import { type ImageNames, namesByImage, readReferences } from '../store/references.ts';
import type { HistoryEntry, ImageSummary } from './api.ts';
import type { Engine } from './open.ts';

export { removeImage } from './remove-image.ts';

const NEVER = '0001-01-01T00:00:00Z';

/** Bytes of file content in all layers of an image; a layer that is missing counts as nothing. */
function imageSize(engine: Engine, config: ImageConfig): number {
  return chainIds(config.rootfs.diff_ids).reduce((sum, chainId) => sum + layerSize(engine.store, chainId), 0);
}

function summary(engine: Engine, image: ImageRecord, names: ImageNames | undefined, parent = ''): ImageSummary {
  const { tags, digests } = names ?? { tags: [], digests: [] };
  return {
    id: image.id,
    tags,
    digests,
    size: imageSize(engine, image.config),
    created: image.config.created ?? NEVER,
    config: image.config,
    parent,
  };
}

/** One image by its full id. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function summarizeImage(engine: Engine, id: string): ImageSummary {
  const { store } = engine;
  return summary(engine, readImage(store, id), imageNames(store, id), imageParent(store, id));
}

/** When the image was made that a name or an id stands for: RFC 3339.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_SPEC, ERR_TSBOX_DAMAGED */
export function imageCreated(engine: Engine, name: string): string {
  return requireImage(engine.store, name).config.created ?? NEVER;
}

/** Images, the youngest first. Without `all` those are left out that have no name and only serve as parents of others. One that is
 *  removed meanwhile is left out.
 *  @param onDamaged is told of images that cannot be read; the others are listed all the same */
export function listImages(
  engine: Engine,
  options: { all: boolean },
  onDamaged?: (id: string, error: TsboxError) => void,
): ImageSummary[] {
  const { store } = engine;
  const named = namesByImage(readReferences(store));
  const parents = imageParents(store);
  const haveChildren = new Set(parents.values());
  const images: ImageSummary[] = [];
  for (const id of imageIds(store)) {
    if (!options.all && !named.has(id) && haveChildren.has(id)) continue;
    try {
      images.push(summary(engine, readImage(store, id), named.get(id), parents.get(id)));
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (error.code !== 'ERR_TSBOX_NOT_FOUND') onDamaged?.(id, error);
    }
  }
  return images.sort((a, b) => Date.parse(b.created) - Date.parse(a.created));
}

/** Gives an image a further name; a name that another image has goes over to this one.
 *  @throws ERR_TSBOX_NOT_FOUND for the source; ERR_TSBOX_SPEC for a bad name; ERR_TSBOX_USAGE for a target with a digest */
export function tagImage(engine: Engine, source: string, target: string): void {
  const { id } = requireImage(engine.store, source);
  const reference = parseReference(target);
  if (reference.digest !== undefined) {
    throw new TsboxError('ERR_TSBOX_USAGE', 'refusing to create a tag with a digest reference');
  }
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
