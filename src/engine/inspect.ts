/** `inspect`: everything that is known of a container or an image, in Docker's shape. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord, MountPoint } from '../spec/container.ts';
import { securityOptions } from '../spec/security-options.ts';
import { findContainer, readHostConfig } from '../store/containers.ts';
import { healthOf } from '../store/health.ts';
import { findImage } from '../store/images.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import { readVolume } from '../store/volumes.ts';
import { containerSize } from './disk-usage.ts';
import { HOST_CONFIG_DEFAULTS } from './inspect-defaults.ts';
import { containerConfig, inspectImage } from './inspect-image.ts';
import { shownLinks } from './links.ts';
import { networkSettings } from './network-settings.ts';
import { inspectNetwork } from './networks.ts';
import type { Engine } from './open.ts';
import { isUnserved } from './served.ts';
import { inspectVolume } from './volumes.ts';

/** Docker's fields of a mount, in its order. */
function shownMount({ Type, Name, Source, Destination, Driver, Mode, RW, Propagation }: MountPoint) {
  return { Type, ...(Name && { Name }), Source, Destination, ...(Driver && { Driver }), Mode, RW, Propagation };
}

function graphDriver(name: string, layer: RwLayer) {
  // Docker's vfs tells nothing of its own.
  if (layer.whole === true) return { Data: { MergedDir: layer.merged, UpperDir: layer.upper }, Name: name };
  return {
    Data: { LowerDir: layer.below.join(':'), MergedDir: layer.merged, UpperDir: layer.upper, WorkDir: layer.work },
    Name: name,
  };
}

/** Bytes that it has written, and those with its image. */
function shownSize(engine: Engine, record: ContainerRecord) {
  const { written, withImage } = containerSize(engine, record);
  return { SizeRw: written, SizeRootFs: withImage };
}

function inspectContainer(engine: Engine, record: ContainerRecord, size: boolean): object {
  const { store } = engine;
  const now = containerState(store, record);
  const { Status, ...state } = now;
  const layer = rwLayer(store, record.ID);
  if (now.Running && isUnserved(store, record.ID)) state.Error = 'the process that serves its files has ended';
  const Health = healthOf(store, record, now);
  const hostConfig = readHostConfig(store, record.ID);
  return {
    Id: record.ID,
    Created: record.Created,
    Path: record.Path,
    Args: record.Args,
    State: { Status, ...state, ...(Health !== undefined && { Health }) },
    Image: record.Image,
    ResolvConfPath: record.ResolvConfPath,
    HostnamePath: record.HostnamePath,
    HostsPath: record.HostsPath,
    LogPath: record.LogPath,
    Name: record.Name,
    RestartCount: record.RestartCount,
    Driver: record.Driver,
    Platform: record.OS,
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: securityOptions(hostConfig.SecurityOpt ?? []).apparmor ?? '',
    ExecIDs: null,
    HostConfig: {
      ...HOST_CONFIG_DEFAULTS,
      ...hostConfig,
      ...(hostConfig.Links !== undefined && { Links: shownLinks(store, record.Name, hostConfig.Links) }),
    },
    GraphDriver: graphDriver(record.Driver, layer),
    ...(size && shownSize(engine, record)),
    Mounts: Object.values(record.MountPoints).map(shownMount),
    Config: containerConfig(record.Config),
    NetworkSettings: networkSettings(store, record, hostConfig, now),
  };
}

export type ObjectType = 'container' | 'image' | 'network' | 'volume';

export interface InspectOptions {
  /** Look for one of these only. */
  type?: ObjectType | undefined;
  /** Of a container, how much it has written too; that takes a look at every file of it. */
  size?: boolean;
}

/** A container by that name, else an image, else a network, else a volume. @throws ERR_TSBOX_NOT_FOUND */
export function inspectObject(
  engine: Engine,
  name: string,
  { type, size = false }: InspectOptions = {},
): { type: ObjectType; object: object } {
  if (type === undefined || type === 'container') {
    const record = findContainer(engine.store, name);
    if (record !== undefined) return { type: 'container', object: inspectContainer(engine, record, size) };
  }
  if (type === undefined || type === 'image') {
    const image = findImage(engine.store, name);
    if (image !== undefined) return { type: 'image', object: inspectImage(engine, image) };
  }
  const isVolume = (type === undefined || type === 'volume') && readVolume(engine.store, name) !== undefined;
  if (type === undefined || type === 'network') {
    const network = found(() => inspectNetwork(engine, name));
    // A volume's name may be how the id of some network begins.
    if (network !== undefined && (!isVolume || [network.Name, network.Id].includes(name)))
      return { type: 'network', object: network };
  }
  if (isVolume) return { type: 'volume', object: inspectVolume(engine, name) };
  const kind = type === undefined ? 'object' : type;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such ${kind}: ${name}`);
}

function found<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof TsboxError && error.code === 'ERR_TSBOX_NOT_FOUND') return undefined;
    throw error;
  }
}
