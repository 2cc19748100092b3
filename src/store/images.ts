/** Images in the store: read side. Nothing here loads a schema or a hash: starting a container reads an image. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { isDigest } from '../spec/digest.ts';
import type { ImageConfig } from '../spec/oci-image.ts';
import { familiarString, parseReference } from '../spec/reference.ts';
import { chainIds } from './chain.ts';
import { attempt, isObject, parseStored, readText } from './io.ts';
import { type ImageNames, imageOf, namesByImage, type References, readReferences } from './references.ts';
import { imageFile, imageMetadata, isHexId, type Store } from './store.ts';

export interface ImageRecord {
  /** `sha256:..` of the config's bytes. */
  id: string;
  config: ImageConfig;
  /** The top layer; absent for an image without layers. */
  chainId?: string;
}

function noSuchImage(name: string): TsboxError {
  return new TsboxError('ERR_TSBOX_NOT_FOUND', `No such image: ${name}`, {
    hint: '`tsbox images` lists the images that are here, `tsbox pull` fetches one.',
  });
}

function damaged(id: string, what: string, cause?: unknown): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', `read image ${id}: ${what}`, {
    hint: 'Remove the image with `tsbox rmi -f`, then pull or load it again.',
    cause,
  });
}

/** The config's exact bytes. @throws ERR_TSBOX_NOT_FOUND */
export function imageBytes(store: Store, id: string): Buffer {
  const path = imageFile(store, id);
  return attempt(`read ${path}`, () => {
    try {
      return readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw noSuchImage(id);
      throw error;
    }
  });
}

/** What was checked by its schema and digest when it was stored is not checked again; this catches a file that was cut or edited. */
function checkedConfig(id: string, text: string): ImageConfig {
  let config: unknown;
  try {
    config = parseStored(text, id);
  } catch (error) {
    throw damaged(id, 'its config is not JSON', error);
  }
  if (!isObject(config)) throw damaged(id, 'its config is no object');
  const { rootfs, config: settings, history } = config;
  const diffIds = isObject(rootfs) ? (rootfs['diff_ids'] ?? []) : undefined;
  if (!Array.isArray(diffIds) || !diffIds.every(isDigest)) throw damaged(id, 'its rootfs has no list of diffIDs');
  if (settings !== undefined && settings !== null && !isObject(settings)) throw damaged(id, 'its config has no config');
  if (history !== undefined && history !== null && !Array.isArray(history)) throw damaged(id, 'its history is no list');
  return { ...(config as unknown as ImageConfig), rootfs: { type: 'layers', diff_ids: diffIds } };
}

/** The top layer's chain id, as it was written down when the image was stored; worked out where it was not. */
function topChainId(store: Store, id: string, diffIds: readonly string[]): string | undefined {
  if (diffIds.length < 2) return diffIds[0];
  const known = readText(`${imageMetadata(store, id)}/chain-id`);
  return isDigest(known) ? known : chainIds(diffIds).at(-1);
}

/** An image's configuration by its full id. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function readImageConfig(store: Store, id: string): ImageConfig {
  const text = readText(imageFile(store, id));
  if (text === undefined) throw noSuchImage(id);
  return checkedConfig(id, text);
}

/** An image by its full id. @throws as {@link readImageConfig} */
export function readImage(store: Store, id: string): ImageRecord {
  const config = readImageConfig(store, id);
  const chainId = topChainId(store, id, config.rootfs.diff_ids);
  return chainId === undefined ? { id, config } : { id, config, chainId };
}

/** Ids of all images, sorted. */
export function imageIds(store: Store): string[] {
  return readdirSync(`${store.images}/imagedb/content/sha256`)
    .filter(isHexId)
    .sort()
    .map((hex) => `sha256:${hex}`);
}

/** Ids that begin with these hexadecimal digits, with or without `sha256:` before them. */
function idsWithPrefix(store: Store, text: string): string[] {
  const prefix = text.startsWith('sha256:') ? text.slice(7) : text;
  if (!/^[0-9a-f]{1,64}$/.test(prefix)) return [];
  return imageIds(store).filter((id) => id.startsWith(prefix, 7));
}

/**
 * The image id that a name or an id stands for, by Docker's order: a full id, then a reference (by digest where it has one), then
 * the beginning of an id. Undefined when there is none.
 * @throws ERR_TSBOX_SPEC when the text can be none of these; ERR_TSBOX_USAGE when several ids begin so
 */
export function findImageId(store: Store, nameOrId: string): string | undefined {
  const full = isHexId(nameOrId) ? `sha256:${nameOrId}` : nameOrId;
  if (isDigest(full)) return readText(imageFile(store, full)) === undefined ? undefined : full;
  const named = imageOf(readReferences(store), parseReference(nameOrId));
  if (named !== undefined) return named;
  const ids = idsWithPrefix(store, nameOrId);
  if (ids.length > 1) {
    throw new TsboxError('ERR_TSBOX_USAGE', `Multiple IDs found with provided prefix: ${nameOrId}`, {
      hint: 'Give more digits of the id.',
    });
  }
  return ids[0];
}

/** The image that a name or an id stands for. @throws as {@link findImageId} and {@link readImage} */
export function findImage(store: Store, nameOrId: string): ImageRecord | undefined {
  const id = findImageId(store, nameOrId);
  return id === undefined ? undefined : readImage(store, id);
}

/** As {@link findImage}. @throws also ERR_TSBOX_NOT_FOUND: `No such image: x:latest` */
export function requireImage(store: Store, nameOrId: string): ImageRecord {
  const image = findImage(store, nameOrId);
  if (image !== undefined) return image;
  if (isHexId(nameOrId) || isDigest(nameOrId)) throw noSuchImage(nameOrId);
  throw noSuchImage(familiarString(parseReference(nameOrId)));
}

/** Is `text` the beginning of this id, so that it was not the image's name that was given? */
export function isIdPrefix(id: string, text: string): boolean {
  return id.startsWith(text) || id.startsWith(text, 7);
}

/** Tags and digests of an image. */
export function imageNames(store: Store, id: string, references: References = readReferences(store)): ImageNames {
  return namesByImage(references).get(id) ?? { tags: [], digests: [] };
}

/** The image that this one was made from on this machine. */
export function imageParent(store: Store, id: string): string | undefined {
  const path = `${imageMetadata(store, id)}/parent`;
  // Most have none, and Node's error for that costs ten times the look.
  const parent = existsSync(path) ? readText(path) : undefined;
  return isDigest(parent) ? parent : undefined;
}

/** When the image last got a name, RFC 3339. */
export function imageLastUpdated(store: Store, id: string): string | undefined {
  return readText(`${imageMetadata(store, id)}/lastUpdated`);
}

/** For each image that was made from another one here: that one's id. */
export function imageParents(store: Store): Map<string, string> {
  const parents = new Map<string, string>();
  for (const id of imageIds(store)) {
    const parent = imageParent(store, id);
    if (parent !== undefined) parents.set(id, parent);
  }
  return parents;
}

/** Image ids by the image they were made from. */
export function imageChildren(store: Store): Map<string, string[]> {
  const children = new Map<string, string[]>();
  for (const [id, parent] of imageParents(store)) {
    const list = children.get(parent);
    if (list === undefined) children.set(parent, [id]);
    else list.push(id);
  }
  return children;
}

/** Metadata of images that are not there: what a process left that was killed. */
export function orphanMetadata(store: Store): string[] {
  const known = new Set(imageIds(store).map((id) => id.slice(7)));
  const directory = `${store.images}/imagedb/metadata/sha256`;
  return readdirSync(directory)
    .filter((hex) => !known.has(hex))
    .map((hex) => `${directory}/${hex}`);
}
