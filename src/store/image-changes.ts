/** Images in the store: what changes them. Every function here works under the store's lock, for milliseconds. */
import { closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import { parseImageConfig } from '../spec/oci-image-schema.ts';
import { familiarName, familiarString, isTag, parseReference, type Reference } from '../spec/reference.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { chainIds, digestOf } from './chain.ts';
import { type ImageRecord, imageBytes, imageIds, imageParent } from './images.ts';
import { attempt, ensureDirectory, refusal, removeTree, withoutUmask } from './io.ts';
import { hasLayer } from './layers.ts';
import type { Lease } from './leases.ts';
import { type Locked, withStore } from './lock.ts';
import {
  type References,
  readOrSetAside,
  readReferences,
  referenceKey,
  referencesPath,
  repositoryOf,
} from './references.ts';
import { imageFile, imageMetadata, type Store } from './store.ts';

/** Docker's time format: RFC 3339 in UTC with nanoseconds. */
function now(): string {
  return new Date().toISOString().replace('Z', '000000Z');
}

function writeMetadata(store: Store, id: string, key: string, value: string): void {
  ensureDirectory(imageMetadata(store, id), 0o700);
  writeFileAtomic(`${imageMetadata(store, id)}/${key}`, value, { mode: 0o600 });
}

/** Writes repositories.json with its keys in order, as Go does. */
function writeReferences({ store }: Locked, references: References): void {
  const repositories: Record<string, Record<string, string>> = {};
  for (const repository of [...references.keys()].sort()) {
    const entries = references.get(repository);
    if (entries === undefined || entries.size === 0) continue;
    repositories[repository] = Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  const path = referencesPath(store);
  const text = JSON.stringify({ Repositories: repositories });
  attempt(`write ${path}`, () => {
    try {
      writeFileAtomic(path, text, { mode: 0o600, sync: true });
    } catch (error) {
      if (!(isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT')) || !overwrite(path, text)) throw error;
    }
  });
}

/** Writes into the file's own place what is not longer than it. Names must be removable on a full disk, where there is no room for a
 *  second copy. Not in one step, should the machine stop in that moment. @returns whether it had room */
function overwrite(path: string, text: string): boolean {
  const fd = openSync(path, 'r+');
  try {
    const { size } = fstatSync(fd);
    const bytes = Buffer.from(text);
    if (bytes.length > size) return false;
    const padded = Buffer.alloc(size, ' ');
    bytes.copy(padded);
    writeSync(fd, padded, 0, size, 0);
    fsyncSync(fd);
    return true;
  } finally {
    closeSync(fd);
  }
}

export interface PutOptions {
  /** The image it was made from on this machine. */
  parent?: string;
  /** Notes an image that was not there before. */
  lease?: Lease;
  /** Names it before anybody else can remove it as an image without a name. */
  name?(locked: Locked, id: string): void;
}

/**
 * Stores an image's config, byte for byte, and gives back its id. All its layers must be in the store, held by the caller's lease.
 * Storing it again changes nothing but `parent`, if one is given.
 * @throws ERR_TSBOX_DAMAGED when the bytes are no image config; ERR_TSBOX_NOT_FOUND naming the layer that is missing; SyscallError.
 * After an error nothing of it is left but what `lease` notes
 */
export function putImage(store: Store, bytes: Buffer, { parent, lease, name }: PutOptions = {}): string {
  const id = digestOf(bytes);
  const config = parseImageConfig(bytes, `store image ${id}`);
  const chain = chainIds(config.rootfs.diff_ids);
  withStore(store, (locked) => {
    for (const chainId of chain) {
      if (!hasLayer(store, chainId)) throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such layer: ${chainId}`);
    }
    const isThere = existsSync(imageFile(store, id));
    try {
      withoutUmask(() => mkdirSync(imageMetadata(store, id), { recursive: true, mode: 0o700 }));
      const top = chain.at(-1);
      if (top !== undefined) writeMetadata(store, id, 'chain-id', top);
      if (parent !== undefined && parent !== id) writeMetadata(store, id, 'parent', parent);
      // The config last: with it the image is there.
      if (!isThere) writeFileAtomic(imageFile(store, id), bytes, { mode: 0o600, sync: true });
    } catch (error) {
      if (!isThere) removeTree(imageMetadata(store, id));
      throw refusal(`store image ${id}`, error);
    }
    if (!isThere) lease?.added.images.push(id);
    name?.(locked, id);
  });
  return id;
}

/** An image with its id and its whole config checked again. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function verifiedImage(store: Store, id: string): ImageRecord {
  const bytes = imageBytes(store, id);
  if (digestOf(bytes) !== id) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `read image ${id}: the file has the digest ${digestOf(bytes)}`);
  }
  const config = parseImageConfig(bytes, `read image ${id}`);
  const chainId = chainIds(config.rootfs.diff_ids).at(-1);
  return chainId === undefined ? { id, config } : { id, config, chainId };
}

/** Points references to an image, all or none; one with a digest is kept as `name@digest`.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_SPEC, SyscallError */
export function setReferences(locked: Locked, wanted: readonly Reference[], id: string): void {
  const { store } = locked;
  if (!existsSync(imageFile(store, id))) throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such image: ${id}`);
  const references = readOrSetAside(locked);
  for (const reference of wanted) {
    if (reference.tag !== undefined && !isTag(reference.tag)) {
      throw new TsboxError('ERR_TSBOX_SPEC', `invalid tag ${JSON.stringify(reference.tag)}`);
    }
    const repository = familiarName(reference);
    const entries = references.get(repository) ?? new Map<string, string>();
    references.set(repository, entries.set(referenceKey(reference), id));
  }
  attempt(`store image ${id}`, () => writeMetadata(store, id, 'lastUpdated', now()));
  writeReferences(locked, references);
}

/** Removes references by their keys (`name:tag`, `name@digest`); those that are not there do no harm. */
export function removeReferences(locked: Locked, keys: readonly string[]): void {
  const references = readReferences(locked.store);
  for (const key of keys) references.get(repositoryOf(key))?.delete(key);
  writeReferences(locked, references);
}

/** Points `name[:tag]` or `name@digest` to an image. @throws as {@link setReferences} */
export function tag(store: Store, reference: Reference | string, id: string): void {
  const full = typeof reference === 'string' ? parseReference(reference) : reference;
  withStore(store, (locked) => setReferences(locked, [full], id));
}

/** Removes a reference. @throws ERR_TSBOX_NOT_FOUND when it stands for nothing */
export function untag(store: Store, reference: Reference | string): void {
  const full = typeof reference === 'string' ? parseReference(reference) : reference;
  withStore(store, (locked) => {
    if (readReferences(store).get(familiarName(full))?.has(referenceKey(full)) !== true) {
      throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such image: ${familiarString(full)}`);
    }
    removeReferences(locked, [referenceKey(full)]);
  });
}

/** Removes an image's config and what is known of it. Its layers and references are the caller's affair; images that were made from
 *  it lose their parent. */
export function dropImage({ store }: Locked, id: string): void {
  attempt(`remove image ${id}`, () => {
    removeWholeTree(imageFile(store, id));
    removeWholeTree(imageMetadata(store, id));
    for (const child of imageIds(store)) {
      if (imageParent(store, child) === id) removeWholeTree(`${imageMetadata(store, child)}/parent`);
    }
  });
}
