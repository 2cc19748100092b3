/** Containers on disk: what changes and removes them. A container's lock is flock(2) on its directory; whoever needs the store's lock
 *  too takes that first. */
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { withLock } from '../sys/lock.ts';
import { noSuchContainer, readContainer, recordText } from './containers.ts';
import { attempt, removeTree, unlessGone } from './io.ts';
import { sharingStore } from './lock.ts';
import { checkName, nameConflict, nameTarget, recheckName, releaseName, reserveName } from './names.ts';
import { retireRwLayer } from './rw-layers.ts';
import { containerDirectory, REMOVING, runDirectory, type Store, shortId } from './store.ts';

/** Runs `work` while no other process changes this container. Hold it for milliseconds. The removal of a container waits for nobody, so
 *  it may be gone before or during it. @throws ERR_TSBOX_NOT_FOUND when it is gone, SyscallError */
export function withContainer<T>(store: Store, id: string, work: () => T): T {
  const path = containerDirectory(store, id);
  try {
    return attempt(`lock container ${shortId(id)}`, () => withLock(path, 'exclusive', work));
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
    const renamed = sharingStore(store, () => {
      const record = readContainer(store, id);
      if (record.Name === `/${name}`) throw nameConflict(name, id);
      if (!reserveName(store, name, id)) return undefined;
      try {
        return withContainer(store, id, () => {
          const changed = { ...readContainer(store, id), Name: `/${name}` };
          saveContainer(store, changed);
          releaseName(store, record.Name.slice(1), id);
          return changed;
        });
      } catch (error) {
        releaseName(store, name, id);
        throw error;
      }
    });
    if (renamed !== undefined) return renamed;
    const holder = recheckName(store, name);
    if (holder !== undefined) throw nameConflict(name, holder);
  }
}

/** Names that lead to a container; more than one after a rename that was killed. */
function namesOf(store: Store, id: string): string[] {
  return readdirSync(store.names).filter((name) => nameTarget(store, name) === id);
}

/**
 * Removes a container that does not run: name, files, read-write layer, and what is left in the run root. Also one whose record is
 * damaged or that was removed in part. Idempotent.
 * @throws SyscallError EBUSY while its tree is mounted: then it is still there
 */
export function removeContainerFiles(store: Store, id: string): void {
  const retired = containerDirectory(store, id) + REMOVING;
  const waiting = sharingStore(store, () => {
    const directories = retireRwLayer(store, id);
    const path = containerDirectory(store, id);
    unlessGone(`remove container ${shortId(id)}`, () => renameSync(path, retired));
    // Last, so that a container that is there has its name whenever this is cut short.
    for (const name of namesOf(store, id)) releaseName(store, name, id);
    return directories;
  });
  for (const path of [...waiting, retired, runDirectory(store, id)]) removeTree(path);
}
