/** Containers on disk: what changes and removes them. A container's lock is flock(2) on its directory. Whoever needs the store's lock too
 *  takes the container's first: a start holds it throughout, and needs the store's for its volumes. */
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { type Lock, lock } from '../sys/lock.ts';
import { noSuchContainer, readContainer, recordText } from './containers.ts';
import { attempt, unlessGone } from './io.ts';
import { sharingStore } from './lock.ts';
import { checkName, nameConflict, nameTarget, recheckName, releaseName, reserveName } from './names.ts';
import { removeMountPoint, retireRwLayer } from './rw-layers.ts';
import { containerDirectory, exitRecord, REMOVING, runDirectory, type Store, shortId, stoppedFile } from './store.ts';

/** Runs `work` while no other process changes or removes this container. Hold it for milliseconds. One that was run with --rm is removed
 *  by its monitor, which waits for nobody. @throws ERR_TSBOX_NOT_FOUND when it is gone, SyscallError */
export function withContainer<T>(store: Store, id: string, work: () => T): T {
  const held = lockContainer(store, id);
  try {
    return work();
  } catch (error) {
    throw isErrno(error, 'ENOENT') && !existsSync(containerDirectory(store, id)) ? noSuchContainer(shortId(id)) : error;
  } finally {
    held.release();
  }
}

/** The same lock for work that waits. @throws ERR_TSBOX_NOT_FOUND when the container is gone, SyscallError */
export function lockContainer(store: Store, id: string): Lock {
  const path = containerDirectory(store, id);
  try {
    return attempt(`lock container ${shortId(id)}`, () => lock(path));
  } catch (error) {
    throw isErrno(error, 'ENOENT') && !existsSync(path) ? noSuchContainer(shortId(id)) : error;
  }
}

/** Replaces a container's record in one step. Whoever has read it before to change it holds {@link withContainer}. */
export function saveContainer(store: Store, record: ContainerRecord): void {
  const path = `${containerDirectory(store, record.ID)}/config.v2.json`;
  attempt(`write ${path}`, () => writeFileAtomic(path, recordText(record), { mode: 0o600 }));
}

/** Replaces what depends on the host, under the same condition. */
export function saveHostConfig(store: Store, id: string, hostConfig: HostConfig): void {
  const path = `${containerDirectory(store, id)}/hostconfig.json`;
  attempt(`write ${path}`, () => writeFileAtomic(path, JSON.stringify(hostConfig), { mode: 0o644 }));
}

/** Gives a container another name. The record decides which is its name, should the process die in between.
 *  @throws ERR_TSBOX_CONFLICT when the name is taken, ERR_TSBOX_USAGE for a bad one, ERR_TSBOX_NOT_FOUND */
export function renameContainer(store: Store, id: string, newName: string): ContainerRecord {
  const name = newName.replace(/^\//, '');
  checkName(name);
  for (;;) {
    const renamed = withContainer(store, id, () => sharingStore(store, () => renameHeld(store, id, name)));
    if (renamed !== undefined) return renamed;
    const holder = recheckName(store, name);
    if (holder !== undefined) throw nameConflict(name, holder);
  }
}

/** @returns undefined when the name is taken */
function renameHeld(store: Store, id: string, name: string): ContainerRecord | undefined {
  const record = readContainer(store, id);
  if (record.Name === `/${name}`) throw nameConflict(name, id);
  if (!reserveName(store, name, id)) return undefined;
  try {
    const changed = { ...record, Name: `/${name}` };
    saveContainer(store, changed);
    releaseName(store, record.Name.slice(1), id);
    return changed;
  } catch (error) {
    releaseName(store, name, id);
    throw error;
  }
}

/** Names that lead to a container; more than one after a rename that was killed. */
function namesOf(store: Store, id: string): string[] {
  return readdirSync(store.names).filter((name) => nameTarget(store, name) === id);
}

/**
 * Takes a container that does not run out of use: its name, its files, its read-write layer. Also one whose record is damaged or that was
 * removed in part. For who holds the container's lock, so that nobody starts it meanwhile. Idempotent.
 * @returns what is to be given to `removeTree` without the lock, what is left in the run root among it
 * @throws SyscallError EBUSY while its tree is mounted: then it is still there
 */
export function retireContainer(store: Store, id: string): string[] {
  const retired = containerDirectory(store, id) + REMOVING;
  const waiting = sharingStore(store, () => {
    removeMountPoint(store, id);
    const path = containerDirectory(store, id);
    // Before its layers and its name: a container that is there has all of it whenever this is cut short, and what is left without its
    // container is garbage.
    unlessGone(`remove container ${shortId(id)}`, () => renameSync(path, retired));
    const directories = retireRwLayer(store, id);
    for (const name of namesOf(store, id)) releaseName(store, name, id);
    return directories;
  });
  return [...waiting, retired, runDirectory(store, id), exitRecord(store, id).first, stoppedFile(store, id)];
}
