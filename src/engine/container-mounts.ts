/** The mount points of a container that is being made, and the volumes that they need. */
import { existsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { MountPoint } from '../spec/container.ts';
import { tmpfsOptions } from '../spec/tmpfs-options.ts';
import { checkVolumeDriver, checkVolumeName, checkVolumeOptions, LOCAL_DRIVER } from '../spec/volume.ts';
import { requireContainer } from '../store/containers.ts';
import { removeTree } from '../store/io.ts';
import { withStore } from '../store/lock.ts';
import {
  isLeased,
  type LeasedVolume,
  leaseNewVolume,
  leaseVolume,
  retireVolume,
  volumeData,
} from '../store/volumes.ts';
import type { ContainerRequest } from './api.ts';
import {
  anonymousDestination,
  anonymousPaths,
  bindSpecs,
  duplicateMountPoint,
  parseBind,
  parseVolumesFrom,
  withPropagation,
} from './binds.ts';
import { checkDestination, mountPoint, noSuchSource } from './mount-spec.ts';
import type { Engine } from './open.ts';
import { volumeUsers } from './volume-users.ts';
import { anonymousName } from './volumes.ts';

type MountRequest = Pick<ContainerRequest, 'volumes' | 'mounts' | 'tmpfs' | 'volumesFrom' | 'volumeDriver'>;

/** Mount points by their destinations. */
export type MountPoints = Record<string, MountPoint>;

export interface ContainerMounts {
  points: MountPoints;
  /** Those of {@link points} that show the files of the image, while their volumes are empty. */
  copied: MountPoint[];
  /** Lets go of the volumes: the container has them, or is not there. */
  release(): void;
  /** After a failure: removes the volumes that were made for the container. */
  discard(): void;
}

/** What of the request can be refused before anything is looked up. @throws ERR_TSBOX_USAGE, ERR_TSBOX_NOT_FOUND in Docker's words */
export function checkMounts(request: MountRequest): void {
  for (const [path, data] of Object.entries(request.tmpfs ?? {})) {
    checkDestination(path);
    tmpfsOptions(data);
  }
  for (const spec of request.volumesFrom ?? []) parseVolumesFrom(spec);
  anonymousPaths(request);
  for (const point of asked(request)) checkPoint(point);
}

/** `-v` and `--mount`, in that order; no two at one place. */
function asked(request: MountRequest): MountPoint[] {
  const points = [
    ...bindSpecs(request).map((spec) => parseBind(spec, request.volumeDriver)),
    ...(request.mounts ?? []).map((spec) => {
      const point = mountPoint(spec);
      return point.Type === 'bind' ? { ...point, SkipMountpointCreation: true } : point;
    }),
  ];
  const taken = new Set<string>();
  const tmpfs = new Set(Object.keys(request.tmpfs ?? {}));
  for (const [index, { Destination: place }] of points.entries()) {
    const isBind = index < points.length - (request.mounts?.length ?? 0);
    if (taken.has(place) || (isBind && tmpfs.has(place))) throw duplicateMountPoint(place);
    taken.add(place);
  }
  return points;
}

function checkPoint({ Type, Name = '', Driver = '', Source, Spec, SkipMountpointCreation }: MountPoint): void {
  if (SkipMountpointCreation === true && !existsSync(Source)) throw noSuchSource(Source);
  if (Type !== 'volume') return;
  checkVolumeDriver(Name, Driver);
  if (Name !== '') checkVolumeName(Name);
  checkVolumeOptions(Name, Spec?.VolumeOptions?.DriverConfig?.Options ?? {});
}

/** The mounts of other containers, with their own sources. */
function inherited(engine: Engine, request: MountRequest): MountPoint[] {
  return (request.volumesFrom ?? []).flatMap((spec) => {
    const { container, writable } = parseVolumesFrom(spec);
    const { MountPoints } = requireContainer(engine.store, container);
    return Object.values(MountPoints).map(({ SkipMountpointCreation: _, ...point }) => ({
      ...point,
      Mode: '',
      RW: point.RW && writable,
    }));
  });
}

/** All mount points of the container, in Docker's order: a later one takes the place of an earlier one. Volumes without a name get one.
 *  @param imageVolumes the image's `VOLUME`s */
function wanted(engine: Engine, request: MountRequest, imageVolumes: readonly string[]) {
  const { dataRoot, runRoot } = engine.options;
  const points: MountPoints = {};
  const others = new Set(inherited(engine, request));
  for (const point of others) points[point.Destination] = point;
  const copied: MountPoints = {};
  for (const point of asked(request)) {
    const named = withName(withPropagation(point, [dataRoot, runRoot]));
    points[named.Destination] = named;
    if (named.Type === 'volume' && named.Spec?.VolumeOptions?.NoCopy !== true) copied[named.Destination] = named;
  }
  const driver = request.volumeDriver || LOCAL_DRIVER;
  for (const path of [...anonymousPaths(request), ...imageVolumes.map(anonymousDestination)]) {
    if (points[path] !== undefined) continue;
    checkVolumeDriver('', driver);
    const name = anonymousName();
    const rest = { Mode: '', RW: true, Propagation: '', Spec: {} };
    points[path] = { Type: 'volume', Name: name, Source: '', Destination: path, Driver: driver, ...rest };
    copied[path] = points[path];
  }
  return { points, copied: Object.values(copied), others };
}

/** Docker's driver labels what it made for SELinux unless told otherwise; the mode says so everywhere. */
function withName(point: MountPoint): MountPoint {
  if (point.Type !== 'volume') return point;
  return { ...point, Name: point.Name || anonymousName(), Mode: point.Mode || 'z' };
}

/** What the mount points would be; makes no volume. @throws as {@link makeMounts} */
export function plannedMounts(engine: Engine, request: MountRequest, imageVolumes: readonly string[]): MountPoints {
  const { points } = wanted(engine, request, imageVolumes);
  return withSources(engine, points);
}

function withSources({ store }: Engine, points: MountPoints): MountPoints {
  const source = ({ Type, Name = '', Source }: MountPoint) => (Type === 'volume' ? volumeData(store, Name) : Source);
  return Object.fromEntries(Object.entries(points).map(([path, point]) => [path, { ...point, Source: source(point) }]));
}

/** Makes the volumes that are not there, and holds them all until the container is there.
 *  @throws ERR_TSBOX_NOT_FOUND for a container of `--volumes-from`; SyscallError; then no volume is left that was made */
export function makeMounts(engine: Engine, request: MountRequest, imageVolumes: readonly string[]): ContainerMounts {
  const { points, copied, others } = wanted(engine, request, imageVolumes);
  const held: LeasedVolume[] = [];
  const release = () => {
    for (const { lease } of held) lease.release();
  };
  const discard = () => {
    release();
    for (const { made, volume } of held) if (made) removeUnused(engine, volume.name);
  };
  try {
    for (const point of Object.values(points)) {
      if (point.Type !== 'volume') continue;
      held.push(hold(engine, point, others.has(point)));
    }
  } catch (error) {
    discard();
    throw error;
  }
  return { points: withSources(engine, points), copied, release, discard };
}

function hold({ store }: Engine, { Name: name = '', Spec }: MountPoint, isThere: boolean): LeasedVolume {
  const { Labels: labels = {}, DriverConfig } = Spec?.VolumeOptions ?? {};
  if (name === '') throw new TsboxError('ERR_TSBOX_DAMAGED', 'a volume without a name');
  return isThere
    ? leaseVolume(store, name)
    : leaseNewVolume(store, { name, labels, options: DriverConfig?.Options ?? {} });
}

/** Nobody else may have taken a liking to it meanwhile. */
function removeUnused({ store }: Engine, name: string): void {
  const waiting = withStore(store, (locked) => {
    const { byVolume, unknown } = volumeUsers(store);
    if (isLeased(store, name) || byVolume.has(name) || unknown.length > 0) return undefined;
    return retireVolume(locked, name);
  });
  if (waiting !== undefined) removeTree(waiting);
}
