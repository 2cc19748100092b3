/**
 * `rmi`, by Docker's rules. A name is taken off; with its last name the image goes, then its layers as far as nothing else uses
 * them, then images that it was made from, as long as they have no name. By id all names of one repository go at once.
 */
import { TsboxError } from '../errors.ts';
import { familiarString, parseReference, type Reference } from '../spec/reference.ts';
import { noteImage } from '../store/events.ts';
import { collectInPassing } from '../store/gc.ts';
import { dropImage, removeReferences } from '../store/image-changes.ts';
import { findImageId, imageChildren, imageNames, imageParent, isIdPrefix, requireImage } from '../store/images.ts';
import { removeTree } from '../store/io.ts';
import { type Locked, withStore } from '../store/lock.ts';
import { lostReferences, referenceKey, repositoryOf } from '../store/references.ts';
import { containerState, monitorLives } from '../store/state.ts';
import { shortId } from '../store/store.ts';
import { imageTop, removeUnusedChain } from '../store/unused-layers.ts';
import type { Removed } from './api.ts';
import type { Engine } from './open.ts';
import { allUsers, mayBeUsed, type UnknownUser, type Users } from './unknown-users.ts';

export interface RemoveImageOptions {
  /** Also when a stopped container uses it, or when it has several names and the id was given. */
  force: boolean;
  /** Leaves images without a name that it was made from. */
  noPrune: boolean;
}

interface Removal {
  locked: Locked;
  removed: Removed;
  /** Directories that are deleted when the lock is released. */
  waiting: string[];
}

/** Why an image stays. */
interface Conflict {
  error: TsboxError;
  /** A container uses it. */
  used: boolean;
}

function conflictError(id: string, hard: boolean, reason: string): TsboxError {
  const force = hard ? 'cannot be forced' : 'must be forced';
  return new TsboxError('ERR_TSBOX_CONFLICT', `conflict: unable to delete ${shortId(id)} (${force}) - ${reason}`);
}

function usersOf({ store }: Locked, id: string): Users {
  const { known, unknown } = allUsers(store);
  return { known: known.filter((record) => record.Image === id), unknown };
}

/** Those that speak against a removal: with `force` only the ones that run. */
function inTheWay({ store }: Locked, unknown: readonly UnknownUser[], force: boolean): UnknownUser | undefined {
  return unknown.find(({ id }) => !force || monitorLives(store, id));
}

/** What speaks against the removal of an image. Children and running containers always do; containers that have ended and names
 *  only when `soft` says that they count. */
function findConflict(locked: Locked, id: string, soft: { names: boolean; stopped: boolean }): Conflict | undefined {
  if ((imageChildren(locked.store).get(id) ?? []).length > 0) {
    return { error: conflictError(id, true, 'image has dependent child images'), used: false };
  }
  const { known, unknown } = usersOf(locked, id);
  const users = known.map((record) => ({
    id: shortId(record.ID),
    running: containerState(locked.store, record).Running,
  }));
  const runs = users.find((user) => user.running);
  if (runs !== undefined) {
    return { error: conflictError(id, true, `image is being used by running container ${runs.id}`), used: true };
  }
  const { tags, digests } = imageNames(locked.store, id);
  if (soft.names && tags.length + digests.length > 0) {
    return { error: conflictError(id, false, 'image is referenced in multiple repositories'), used: false };
  }
  const stopped = users[0];
  if (soft.stopped && stopped !== undefined) {
    return { error: conflictError(id, false, `image is being used by stopped container ${stopped.id}`), used: true };
  }
  const user = inTheWay(locked, unknown, !soft.stopped);
  if (user !== undefined) return { error: mayBeUsed(`delete image ${shortId(id)}`, user), used: true };
  return undefined;
}

/** Are all references of one repository, with one tag at the most? */
function isSingle(tags: readonly string[], digests: readonly string[]): boolean {
  if (tags.length + digests.length <= 1) return tags.length + digests.length === 1;
  const repositories = new Set([...tags, ...digests].map(repositoryOf));
  return tags.length <= 1 && repositories.size === 1;
}

function untagAll({ locked, removed }: Removal, id: string, keys: readonly string[]): void {
  if (keys.length === 0) return;
  removeReferences(locked, keys);
  removed.untagged.push(...keys);
  for (const _ of keys) noteImage(locked.store, 'untag', id);
}

/** Takes a name off. Digests of its repository go too when it was the last tag there. @returns whether other names are left */
function untagName(removal: Removal, id: string, reference: Reference): boolean {
  const { store } = removal.locked;
  const key = referenceKey(reference);
  removeReferences(removal.locked, [key]);
  removal.removed.untagged.push(familiarString(reference));
  noteImage(store, 'untag', id);
  const repository = repositoryOf(key);
  const left = imageNames(store, id);
  if (!key.includes('@') && !left.tags.some((tag) => repositoryOf(tag) === repository)) {
    untagAll(
      removal,
      id,
      left.digests.filter((digest) => repositoryOf(digest) === repository),
    );
  }
  const { tags, digests } = imageNames(store, id);
  return tags.length + digests.length > 0;
}

/** Removes an image and, if wanted, what it was made from. @param quiet a conflict ends it without an error, unless the image
 *  has neither a name nor children nor a container */
function deleteImage(removal: Removal, id: string, options: RemoveImageOptions, quiet: boolean): void {
  const { locked, removed, waiting } = removal;
  const { tags, digests } = imageNames(locked.store, id);
  const conflict = findConflict(locked, id, { names: !options.force, stopped: !options.force });
  if (conflict !== undefined) {
    const named = tags.length + digests.length > 0;
    if (quiet && (named || imageChildren(locked.store).has(id) || conflict.used)) return;
    throw conflict.error;
  }
  const parent = imageParent(locked.store, id);
  const top = imageTop(locked.store, id);
  untagAll(removal, id, [...tags, ...digests]);
  dropImage(locked, id);
  const layers = removeUnusedChain(locked, top);
  removed.deleted.push(id, ...layers.chainIds);
  noteImage(locked.store, 'delete', id);
  waiting.push(...layers.waiting);
  if (options.noPrune || parent === undefined || findImageId(locked.store, parent) === undefined) return;
  if (lostReferences(locked.store).length > 0) return; // it may have had a name
  deleteImage(removal, parent, { force: false, noPrune: false }, true);
}

function removeByName(removal: Removal, id: string, name: string, options: RemoveImageOptions): void {
  const { tags, digests } = imageNames(removal.locked.store, id);
  const { known, unknown } = usersOf(removal.locked, id);
  const user = known[0];
  if (!options.force && isSingle(tags, digests) && user !== undefined) {
    throw new TsboxError(
      'ERR_TSBOX_CONFLICT',
      `conflict: unable to remove repository reference "${name}" (must force) - ` +
        `container ${shortId(user.ID)} is using its referenced image ${shortId(id)}`,
    );
  }
  const other = inTheWay(removal.locked, unknown, options.force);
  if (isSingle(tags, digests) && other !== undefined) throw mayBeUsed(`remove image ${name}`, other);
  if (untagName(removal, id, parseReference(name))) return;
  deleteImage(removal, id, options, true);
}

function removeById(removal: Removal, id: string, options: RemoveImageOptions): void {
  const { tags, digests } = imageNames(removal.locked.store, id);
  if (isSingle(tags, digests)) {
    const conflict = findConflict(removal.locked, id, { names: false, stopped: !options.force });
    if (conflict !== undefined) throw conflict.error;
    untagAll(removal, id, [...tags, ...digests]);
  }
  deleteImage(removal, id, options, false);
}

/** Runs `work` under the store's lock, then deletes what it has taken out of the store.
 *  @param remove deletes a directory that nothing refers to any more */
function removing(engine: Engine, remove: (path: string) => void, work: (removal: Removal) => void): Removed {
  const removed: Removed = { untagged: [], deleted: [] };
  const waiting: string[] = [];
  withStore(engine.store, (locked) => work({ locked, removed, waiting }));
  for (const path of waiting) remove(path);
  return removed;
}

/**
 * Removes a name of an image or the image itself.
 * @returns what was untagged (familiar references) and deleted (image ids and chain ids), in Docker's order
 * @throws ERR_TSBOX_NOT_FOUND; ERR_TSBOX_CONFLICT in Docker's words, with nothing removed; ERR_TSBOX_DAMAGED, ERR_TSBOX_UNSUPPORTED
 * when a container cannot be read, which may use it
 */
export function removeImage(engine: Engine, name: string, options: RemoveImageOptions): Removed {
  const removed = removing(engine, removeTree, (removal) => {
    const id = findImageId(engine.store, name) ?? requireImage(engine.store, name).id;
    if (isIdPrefix(id, name)) removeById(removal, id, options);
    else removeByName(removal, id, name, options);
  });
  try {
    collectInPassing(engine.store);
  } catch {
    // The image is removed; the next removal tries again.
  }
  return removed;
}

/**
 * Removes an image with its names if nobody uses it: no container, no other image; then those that it was made from, as `rmi` does.
 * One that others were made from loses only its names. An image that is not there is removed already.
 * @throws as {@link removeImage} for a container that cannot be read
 * @param options `tagged`: also one that has a tag
 * @param remove as in {@link removing}
 */
export function removeUnusedImage(
  engine: Engine,
  id: string,
  options: { tagged: boolean },
  remove: (path: string) => void,
): Removed {
  return removing(engine, remove, (removal) => {
    const { locked } = removal;
    const { tags, digests } = imageNames(locked.store, id);
    const isThere = findImageId(locked.store, id) !== undefined;
    if (!isThere || (tags.length > 0 && !options.tagged)) return;
    const { known, unknown } = usersOf(locked, id);
    if (known.length > 0) return;
    if (unknown[0] !== undefined) throw mayBeUsed(`remove image ${shortId(id)}`, unknown[0]);
    untagAll(removal, id, [...tags, ...digests]);
    deleteImage(removal, id, { force: false, noPrune: false }, true);
  });
}
