/** Who has a volume, and the lock of its content. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerRecord } from '../spec/container.ts';
import { containerState, monitorLives } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import { contentLock } from '../store/volumes.ts';
import { type Lock, type LockMode, tryLock } from '../sys/lock.ts';
import { allUsers, type UnknownUser } from './unknown-users.ts';

const POLL_MS = 10;

/** Names of the volumes of a container, each once. */
export function volumesOf({ MountPoints }: Pick<ContainerRecord, 'MountPoints'>): string[] {
  const names = Object.values(MountPoints).flatMap(({ Type, Name = '' }) => (Type === 'volume' ? [Name] : []));
  return [...new Set(names)].sort();
}

/** Those of them that nobody gave a name to, and that go with it. */
export function anonymousVolumesOf({ MountPoints }: Pick<ContainerRecord, 'MountPoints'>): string[] {
  const points = Object.values(MountPoints).filter(({ Type, Spec }) => Type === 'volume' && !Spec?.Source);
  return volumesOf({ MountPoints: Object.fromEntries(points.map((point) => [point.Destination, point])) });
}

export interface VolumeUsers {
  /** By volume the ids of the containers that have it, the youngest first. */
  byVolume: Map<string, string[]>;
  /** They may have any. */
  unknown: UnknownUser[];
}

/** Who has which volume. */
export function volumeUsers(store: Store): VolumeUsers {
  const byVolume = new Map<string, string[]>();
  const { known, unknown } = allUsers(store);
  for (const record of known) {
    for (const name of volumesOf(record)) byVolume.set(name, [...(byVolume.get(name) ?? []), record.ID]);
  }
  return { byVolume, unknown };
}

/** Runs somebody who has the volume, or may have it? To be asked under the lock of its content.
 *  @param except a container that does not count */
export function isRunningWith(store: Store, name: string, except?: string): boolean {
  const { known, unknown } = allUsers(store);
  return (
    unknown.some(({ id }) => id !== except && monitorLives(store, id)) ||
    known.some(
      (record) =>
        record.ID !== except &&
        volumesOf(record).includes(name) &&
        (containerState(store, record).Running || monitorLives(store, record.ID)),
    )
  );
}

/** The lock of a volume's content; others may hold it for as long as a copy takes. */
export async function lockContent(store: Store, name: string, mode: LockMode): Promise<Lock> {
  const path = contentLock(store, name);
  for (;;) {
    const held = tryLock(path, mode);
    if (held !== undefined) return held;
    await sleep(POLL_MS);
  }
}
