/** `volume create|ls|inspect|rm|prune`: what there is of volumes, who uses them, and their end. */
import { TsboxError } from '../errors.ts';
import { hasLabel } from '../spec/labels.ts';
import {
  checkVolumeDriver,
  checkVolumeName,
  checkVolumeOptions,
  LOCAL_DRIVER,
  noSuchVolume,
  type Volume,
} from '../spec/volume.ts';
import { treeBytes } from '../store/freed.ts';
import { removeTree } from '../store/io.ts';
import { withStore } from '../store/lock.ts';
import type { Store } from '../store/store.ts';
import {
  isLeased,
  leaseNewVolume,
  readVolume,
  releasedFile,
  releasedNames,
  requireVolume,
  retireVolume,
  volumeNames,
} from '../store/volumes.ts';
import { randomHex } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { unmountForRemoval } from './local-volume.ts';
import type { Engine } from './open.ts';
import { notePrune, type Pruned, type PruneFilter } from './prune.ts';
import { mayBeUsed, type UnknownUser } from './unknown-users.ts';
import { volumeUsers } from './volume-users.ts';

export interface VolumeRequest {
  /** Empty for one that nobody named. */
  name: string;
  driver: string;
  labels: Readonly<Record<string, string>>;
  options: Readonly<Record<string, string>>;
}

export interface VolumeUsage {
  volume: Volume;
  /** Ids of the containers that have it, running or not. */
  users: string[];
}

/** A name that nobody chose, as Docker makes it. */
export function anonymousName(): string {
  return randomHex(32);
}

/** What is wrong with it is told in Docker's words. @throws ERR_TSBOX_USAGE, ERR_TSBOX_NOT_FOUND for another driver */
export function checkVolumeRequest({ name, driver, options }: VolumeRequest): void {
  checkVolumeDriver(name, driver);
  if (name !== '') checkVolumeName(name);
  checkVolumeOptions(name, options);
}

/** Makes a volume. As Docker: one that is there is left as it is. @returns its name @throws ERR_TSBOX_USAGE, SyscallError */
export function createVolume(engine: Engine, request: VolumeRequest): string {
  checkVolumeRequest(request);
  const name = request.name === '' ? anonymousName() : request.name;
  const { labels, options } = request;
  leaseNewVolume(engine.store, { name, labels, options }).lease.release();
  return name;
}

/** All volumes by their names. @param onDamaged is told of each that cannot be read; the others are listed all the same
 *  @param onUnknown is told of containers that cannot be read: they are not among the users of any */
export function listVolumes(
  { store }: Engine,
  onDamaged?: (name: string, error: TsboxError) => void,
  onUnknown?: (user: UnknownUser) => void,
): VolumeUsage[] {
  const { byVolume: users, unknown } = volumeUsers(store);
  for (const user of unknown) onUnknown?.(user);
  return volumeNames(store).flatMap((name) => {
    try {
      const volume = readVolume(store, name);
      return volume === undefined ? [] : [{ volume, users: users.get(name) ?? [] }];
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      onDamaged?.(name, error);
      return [];
    }
  });
}

/** Everything about a volume, in Docker's shape. @throws ERR_TSBOX_NOT_FOUND */
export function inspectVolume({ store }: Engine, name: string): object {
  const { created, labels, mountpoint, options } = requireVolume(store, name);
  return {
    CreatedAt: created,
    Driver: LOCAL_DRIVER,
    Labels: labels,
    Mountpoint: mountpoint,
    Name: name,
    Options: options,
    Scope: 'local',
  };
}

function inUse(name: string, users: readonly string[]): TsboxError {
  const by = users.length === 0 ? 'a container that is being created' : users.join(', ');
  return new TsboxError('ERR_TSBOX_CONFLICT', `remove ${name}: volume is in use - [${by}]`, {
    hint: 'Remove its containers first: `tsbox ps -a --filter volume=NAME` lists them.',
  });
}

/** A volume whose files cannot be made sense of can be removed all the same. @returns undefined where it is not */
function isThere(store: Store, name: string): boolean {
  return volumeNames(store).includes(name);
}

/** Takes a volume that nobody uses out of use. @returns where it waits for its removal
 *  @throws ERR_TSBOX_NOT_FOUND; ERR_TSBOX_CONFLICT while a container has it or is being made with it; ERR_TSBOX_DAMAGED,
 *  ERR_TSBOX_UNSUPPORTED when a container cannot be read, which may have it */
function retireUnused(store: Store, name: string): string {
  return withStore(store, (locked) => {
    if (!isThere(store, name)) throw noSuchVolume(name);
    const { byVolume, unknown } = volumeUsers(store);
    const users = byVolume.get(name) ?? [];
    if (users.length > 0 || isLeased(store, name)) throw inUse(name, users);
    if (unknown[0] !== undefined) throw mayBeUsed(`remove volume ${name}`, unknown[0]);
    unmountForRemoval(store, name);
    return retireVolume(locked, name);
  });
}

/** Removes a volume and all that is in it. @throws as Docker, when a container has it; ERR_TSBOX_NOT_FOUND */
export function removeVolume({ store }: Engine, name: string): void {
  removeTree(retireUnused(store, name));
}

/** Removes those of the volumes that nobody uses any more; what is gone or in use by now is left out. @returns what it has removed */
export function releaseVolumes(engine: Engine, names: readonly string[]): string[] {
  const removed: string[] = [];
  for (const name of names) {
    try {
      removeVolume(engine, name);
      removed.push(name);
    } catch (error) {
      const expected = ['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_CONFLICT'];
      if (!(error instanceof TsboxError) || !expected.includes(error.code)) throw error;
    }
    removeWholeTree(releasedFile(engine.store, name));
  }
  return removed;
}

/** Does what the end of containers of `--rm` has found no process for. @returns what was removed, and what refused it */
export function releaseForgotten(engine: Engine): Pick<Pruned<string[]>, 'removed' | 'errors'> {
  const done: { removed: string[]; errors: TsboxError[] } = { removed: [], errors: [] };
  for (const name of releasedNames(engine.store)) {
    try {
      done.removed.push(...releaseVolumes(engine, [name]));
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      done.errors.push(error);
    }
  }
  return done;
}

/** As Docker 20.10: all volumes that no container has, but those that are mounts of something else. None goes while there are containers
 *  that cannot be read. @returns their names */
export function pruneVolumes(engine: Engine, filter: PruneFilter): Pruned<string[]> {
  const pruned: Pruned<string[]> = { ...releaseForgotten(engine), bytes: 0 };
  const { labels, withoutLabels } = filter;
  const unknown: UnknownUser[] = [];
  const all = listVolumes(
    engine,
    (_, error) => pruned.errors.push(error),
    (user) => unknown.push(user),
  );
  const unused = all.filter(({ volume, users }) => {
    const own = volume.labels ?? {};
    const unwanted = withoutLabels.length > 0 && withoutLabels.every((label) => hasLabel(own, label));
    return users.length === 0 && volume.options === null && !unwanted && labels.every((label) => hasLabel(own, label));
  });
  if (unused.length > 0 && unknown.length > 0) {
    pruned.errors.push(...unknown.map((user) => mayBeUsed('remove unused volumes', user)));
    return pruned;
  }
  for (const { volume } of unused) {
    try {
      const retired = retireUnused(engine.store, volume.name);
      const bytes = treeBytes(`${retired}/_data`);
      removeTree(retired);
      pruned.removed.push(volume.name);
      pruned.bytes += bytes;
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (!['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_CONFLICT'].includes(error.code)) pruned.errors.push(error);
    }
  }
  notePrune(engine.store, 'volume', pruned.bytes);
  return pruned;
}
