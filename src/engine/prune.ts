/**
 * `prune`: what nobody uses is removed, and the space that this frees is told. It is measured on what is deleted, when it is deleted:
 * files of layers, what containers have written, and their logs.
 */
import { TsboxError } from '../errors.ts';
import type { EventType } from '../spec/events.ts';
import { hasLabel } from '../spec/labels.ts';
import { listContainers } from '../store/containers.ts';
import { noteEvent } from '../store/events.ts';
import { logBytes, removeCounted } from '../store/freed.ts';
import { collectGarbage } from '../store/gc.ts';
import { type Locked, withStore } from '../store/lock.ts';
import { lostReferences, referencesPath } from '../store/references.ts';
import { rwDirectories } from '../store/rw-layers.ts';
import { retireUnusedMaps } from '../store/shifted.ts';
import { containerState } from '../store/state.ts';
import { containerDirectory, type Store } from '../store/store.ts';
import { removeUnusedLayers } from '../store/unused-layers.ts';
import type { Removed } from './api.ts';
import { writtenBytes } from './disk-usage.ts';
import { listImages } from './images.ts';
import type { Engine } from './open.ts';
import { removeContainer } from './remove.ts';
import { removeUnusedImage } from './remove-image.ts';
import { allUsers, mayBeUsed } from './unknown-users.ts';

/** What is old enough and has the right labels. */
export interface PruneFilter {
  /** Only what was made at this time or earlier: milliseconds since 1970. */
  until?: number;
  /** `key` or `key=value`: only what has all of them. */
  labels: readonly string[];
  /** `key` or `key=value`: not what has all of them. */
  withoutLabels: readonly string[];
}

export interface Pruned<T> {
  removed: T;
  /** What the removal has freed. */
  bytes: number;
  /** What could not be removed, and why. */
  errors: Error[];
}

/** @param created RFC 3339 */
export function fits(
  filter: PruneFilter,
  created: string,
  labels: Readonly<Record<string, string>> | null | undefined,
): boolean {
  const own = labels ?? {};
  const { until, labels: wanted, withoutLabels: unwanted } = filter;
  return (
    (until === undefined || !(Date.parse(created) > until)) &&
    wanted.every((label) => hasLabel(own, label)) &&
    (unwanted.length === 0 || !unwanted.every((label) => hasLabel(own, label)))
  );
}

/** Runs `work` for each; what is gone or in use by now is left out, other refusals are kept for the end. */
async function each<T>(items: readonly T[], errors: Error[], work: (item: T) => Promise<void> | void): Promise<void> {
  for (const item of items) {
    try {
      await work(item);
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (!['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_CONFLICT'].includes(error.code)) errors.push(error);
    }
  }
}

/** What the removal of a container frees: its files and its log. */
function containerBytes(store: Store, id: string): number {
  return writtenBytes(store, id) + logBytes(containerDirectory(store, id));
}

/** Removes every container that does not run. @returns their ids, the youngest first */
export async function pruneContainers(engine: Engine, filter: PruneFilter): Promise<Pruned<string[]>> {
  const { store } = engine;
  const pruned: Pruned<string[]> = { removed: [], bytes: collect(store), errors: [] };
  const damaged = (error: unknown) => {
    if (!(error instanceof TsboxError)) throw error;
    if (error.code !== 'ERR_TSBOX_NOT_FOUND') pruned.errors.push(error);
  };
  const stopped = listContainers(store, (_, error) => damaged(error)).filter((record) => {
    if (!fits(filter, record.Created, record.Config.Labels)) return false;
    try {
      return !containerState(store, record).Running;
    } catch (error) {
      damaged(error);
      return false;
    }
  });
  await each(stopped, pruned.errors, async ({ ID: id }) => {
    const bytes = containerBytes(store, id);
    await removeContainer(engine, id, { force: false }, (path) => {
      pruned.bytes += removeCounted(path);
    });
    pruned.removed.push(id);
    pruned.bytes += bytes;
  });
  notePrune(store, 'container', pruned.bytes);
  return pruned;
}

export interface PruneImagesOptions {
  /** Every image without a container, not only those without a tag. */
  all: boolean;
  filter: PruneFilter;
}

/** Removes images that no container was made from; none while there are containers that cannot be read. Without a filter also the layers that interrupted pulls have left.
 *  @returns what was untagged and deleted, image by image */
export async function pruneImages(engine: Engine, { all, filter }: PruneImagesOptions): Promise<Pruned<Removed[]>> {
  const { store } = engine;
  const pruned: Pruned<Removed[]> = { removed: [], bytes: collect(store), errors: [] };
  const remove = (path: string) => {
    pruned.bytes += removeCounted(path);
  };
  let nameless = all ? undefined : namesLost(store);
  const damaged = (path: string, error: TsboxError) => {
    if (path === referencesPath(store)) nameless = error;
    else pruned.errors.push(error);
  };
  const images = listImages(engine, { all: false }, damaged).filter(({ created, labels }) =>
    fits(filter, created, labels),
  );
  const { known, unknown } = allUsers(store);
  const used = new Set(known.map(({ Image }) => Image));
  const unused = images.filter(({ id, tags }) => (all || tags.length === 0) && !used.has(id));
  if (unused.length > 0 && unknown.length > 0) {
    pruned.errors.push(...unknown.map((user) => mayBeUsed('remove unused images', user)));
  } else if (unused.length > 0 && nameless !== undefined) {
    pruned.errors.push(nameless);
  } else {
    await each(unused, pruned.errors, ({ id }) => {
      pruned.removed.push(removeUnusedImage(engine, id, { tagged: all }, remove));
    });
  }
  const isFiltered = filter.until !== undefined || filter.labels.length + filter.withoutLabels.length > 0;
  if (!isFiltered) pruned.removed.push({ untagged: [], deleted: removeLayers(store, remove) });
  notePrune(store, 'image', pruned.bytes);
  return pruned;
}

/** Why no image goes for want of a name: the names were lost, or cannot be read. */
function namesLost(store: Store): TsboxError | undefined {
  const [path] = lostReferences(store);
  if (path === undefined) return undefined;
  return new TsboxError('ERR_TSBOX_DAMAGED', `remove unused images: their names were lost with ${path}`, {
    hint: 'Give names to the images that are needed (tsbox tag), then remove that file.',
  });
}

/** Copies of layers for user namespaces that no container has go too. @returns the chain ids of the layers that nothing used */
function removeLayers(store: Store, remove: (path: string) => void): string[] {
  const { chainIds, waiting } = withStore(store, (locked: Locked) => {
    const { chainIds, waiting } = removeUnusedLayers(locked);
    return { chainIds, waiting: [...waiting, ...retireUnusedMaps(store, rwDirectories(store))] };
  });
  for (const path of waiting) remove(path);
  return chainIds;
}

export function notePrune(store: Store, type: EventType, bytes: number): void {
  noteEvent(store, { type, action: 'prune', id: '', attributes: { reclaimed: String(bytes) } });
}

/** What killed processes have left. @returns bytes freed */
function collect(store: Store): number {
  let bytes = 0;
  collectGarbage(store, (path) => {
    bytes += removeCounted(path);
  });
  return bytes;
}
