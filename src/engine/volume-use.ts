/** Volumes around the life of a container: filled when it is made, mounted and held while it starts, let go of when it has ended. */
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import type { Step } from '../plan/step.ts';
import { hostRoot } from '../plan/userns.ts';
import type { ContainerRecord, HostConfig, MountPoint } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { resolveInStack } from '../store/lookup.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { containerDirectory, type Store } from '../store/store.ts';
import { readVolume, releasedFile, releasedNames, requireVolume, volumeDirectory } from '../store/volumes.ts';
import type { Lock } from '../sys/lock.ts';
import { hostFacts } from '../sys/probe.ts';
import { isMountedForUse, mountVolume, unmountUnused, volumeSource } from './local-volume.ts';
import type { Engine } from './open.ts';
import { ownCommand } from './own-command.ts';
import { mapsOf } from './userns.ts';
import { anonymousVolumesOf, lockContent, volumesOf } from './volume-users.ts';

/** By which map files on disk have the owners of outside; undefined where they have those of the container: the kernel maps them. */
async function diskMaps(store: Store, hostConfig: HostConfig): Promise<IdMaps | undefined> {
  const maps = process.geteuid?.() === 0 ? mapsOf(hostConfig) : undefined;
  if (maps === undefined) return undefined;
  const { mapsOwners } = await import('./maps-owners.ts');
  const { mapsVolumes } = await import('./mapped-volumes.ts');
  return store.driver.mapsOwners && mapsOwners(store, hostFacts().kernel, true) && mapsVolumes(store)
    ? undefined
    : maps;
}

/** Has the container something to put there? What an ordinary user may not look at is left to root of his namespace. */
function hasDirectory({ stack }: RwLayer, path: string): boolean {
  try {
    const found = resolveInStack(stack, path);
    return found !== undefined && found.path !== '/';
  } catch (error) {
    if (isErrno(error, 'EACCES')) return true;
    throw error;
  }
}

function isFilled(store: Store, name: string): boolean {
  const volume = readVolume(store, name);
  if (volume === undefined || existsSync(`${volumeDirectory(store, name)}/copied`)) return false;
  if (volume.options !== null) return false;
  try {
    return readdirSync(volume.mountpoint).length > 0;
  } catch (error) {
    if (isErrno(error, 'EACCES')) return true;
    throw error;
  }
}

/** Puts the image's files into the new volumes of a container that was just made. Those that have something in them stay as they are.
 *  @throws as fillVolumes */
export async function fillNewVolumes(
  engine: Engine,
  record: ContainerRecord,
  points: readonly MountPoint[],
): Promise<void> {
  const { store } = engine;
  const empty = points.filter(({ Name = '' }) => !isFilled(store, Name));
  if (empty.length === 0) return;
  const layer = rwLayer(store, record.ID);
  const wanted = empty.filter(({ Destination }) => hasDirectory(layer, Destination));
  if (wanted.length === 0) return;
  if (process.geteuid?.() === 0) {
    // With the maps that `--userns auto` has given it.
    const maps = layer.owners === undefined ? await diskMaps(store, readHostConfig(store, record.ID)) : undefined;
    return (await import('./copy-up.ts')).fillVolumes(store, layer, wanted, maps);
  }
  const { runInUserNamespace } = await import('./rootless.ts');
  const words = ['volume-fill', record.ID, ...wanted.map(({ Destination }) => Destination)];
  if (!runInUserNamespace(engine.options, words)) {
    throw new TsboxError('ERR_TSBOX_SYSCALL', 'fill the volumes with files of the image: that failed');
  }
}

/** The part of {@link fillNewVolumes} that root of a user namespace does. @param places of the mount points */
export async function fillPlaces({ store }: Engine, id: string, places: readonly string[]): Promise<void> {
  const { MountPoints } = requireContainer(store, id);
  const points = places.map((place) => MountPoints[place]).filter((point) => point !== undefined);
  await (await import('./copy-up.ts')).fillVolumes(store, rwLayer(store, id), points, undefined);
}

export interface UsedVolumes {
  /** The record with what its volumes are on the host as the sources of their mounts. */
  record: ContainerRecord;
  release(): void;
}

/** Mounts the volumes that are mounts, and holds all of them until the container runs, so that nobody fills or unmounts them meanwhile.
 *  @throws ERR_TSBOX_NOT_FOUND for a volume that is gone */
export async function useVolumes(engine: Engine, record: ContainerRecord): Promise<UsedVolumes> {
  const { store } = engine;
  const names = volumesOf(record);
  const held: Lock[] = [];
  const release = () => {
    for (const lock of held) lock.release();
  };
  if (names.length === 0) return { record, release };
  if (releasedNames(store).length > 0) (await import('./volumes.ts')).releaseForgotten(engine);
  try {
    for (const name of names) {
      const volume = requireVolume(store, name);
      await settle(store, name);
      held.push(await lockContent(store, name, isMountedForUse(volume) ? 'exclusive' : 'shared'));
      // What a release that could not be started has left: a tmpfs begins empty.
      unmountUnused(store, volume, record.ID);
      await mountVolume(volume);
    }
    return { record: { ...record, MountPoints: withSources(store, record) }, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** A copy that somebody was killed over is brought to its end. */
async function settle(store: Store, name: string): Promise<void> {
  if (!existsSync(`${volumeDirectory(store, name)}/copied`)) return;
  const held = await lockContent(store, name, 'exclusive');
  try {
    (await import('./copy-up.ts')).settleCopy(store, name);
  } finally {
    held.release();
  }
}

/** The mount points with what their volumes are on the host. @throws ERR_TSBOX_NOT_FOUND for a volume that is gone */
export function withSources(store: Store, { MountPoints }: ContainerRecord): ContainerRecord['MountPoints'] {
  const points = Object.entries(MountPoints).map(([place, point]) => {
    if (point.Type !== 'volume') return [place, point] as const;
    const { source, readonly } = volumeSource(requireVolume(store, point.Name ?? ''));
    return [place, { ...point, Source: source, RW: point.RW && !readonly }] as const;
  });
  return Object.fromEntries(points);
}

/** A volume that nobody has written to yet belongs to the container's root.
 *  @param maps by which files on disk have the owners of outside */
export function ownerSteps(points: readonly MountPoint[], maps: IdMaps): Step[] {
  const { uid, gid } = hostRoot(maps);
  const isNew = ({ Source }: MountPoint) => lstatSync(Source).uid === 0 && readdirSync(Source).length === 0;
  return points
    .filter((point) => point.Type === 'volume' && isNew(point))
    .map(({ Source: path, Destination }) => ({
      op: 'chown',
      path,
      uid,
      gid,
      why: `a new volume at ${Destination} belongs to the container's root`,
    }));
}

/** What the monitor does about volumes when the container has ended: one program call, where there is something to do. */
export function releaseSteps(engine: Engine, record: ContainerRecord, autoRemove: boolean): Step[] {
  const removed = autoRemove ? anonymousVolumesOf(record) : [];
  const mounted = volumesOf(record).filter((name) => {
    const volume = readVolume(engine.store, name);
    return volume !== undefined && isMountedForUse(volume);
  });
  if (removed.length + mounted.length === 0) return [];
  const remove = removed.flatMap((name) => ['--remove', name]);
  return [
    ...removed.map((name): Step => {
      const why = 'whoever uses volumes next removes it, should there be no process for that now';
      const path = releasedFile(engine.store, name);
      return { op: 'write', path, data: '', flags: ['O_CREAT'], mode: 0o600, why };
    }),
    {
      op: 'run',
      args: ownCommand(engine.options, ['volume-release', ...remove, record.ID, ...mounted]),
      why: 'whether others use its volumes is for tsbox to say: those that nobody has any more are unmounted, those without a name removed',
      onError: { EAGAIN: 'retry' },
    },
  ];
}

/** What {@link releaseSteps} would have done: where the executor did not come so far, or has not had a process for it. */
export async function letGoOfVolumes(engine: Engine, record: ContainerRecord): Promise<void> {
  const { store } = engine;
  await unmountVolumes(engine, volumesOf(record), record.ID);
  // One that was run with --rm, and that its monitor has removed.
  if (existsSync(containerDirectory(store, record.ID))) return;
  const anonymous = anonymousVolumesOf(record);
  if (anonymous.length > 0) (await import('./volumes.ts')).releaseVolumes(engine, anonymous);
}

/** Unmounts the volumes that no container runs with any more. @param except a container that has just ended */
export async function unmountVolumes({ store }: Engine, names: readonly string[], except?: string): Promise<void> {
  for (const name of names) {
    const volume = readVolume(store, name);
    if (volume === undefined || !isMountedForUse(volume)) continue;
    const held = await lockContent(store, name, 'exclusive');
    try {
      unmountUnused(store, volume, except);
    } finally {
      held.release();
    }
  }
}
