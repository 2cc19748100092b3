/** `inspect`: everything that is known of a container or an image, in Docker's shape. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { chainIds } from '../store/chain.ts';
import { findContainer, readHostConfig } from '../store/containers.ts';
import { findImage, type ImageRecord } from '../store/images.ts';
import { readLayer } from '../store/layers.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import { summarizeImage } from './images.ts';
import { HOST_CONFIG_DEFAULTS, networkSettings } from './inspect-defaults.ts';
import type { Engine } from './open.ts';

function graphDriver(name: string, layer: RwLayer) {
  const [, ...lower] = layer.stack;
  return {
    Data: { LowerDir: lower.join(':'), MergedDir: layer.merged, UpperDir: layer.upper, WorkDir: layer.work },
    Name: name,
  };
}

function inspectContainer(engine: Engine, record: ContainerRecord): object {
  const { store } = engine;
  const { Status, ...state } = containerState(store, record);
  const hostConfig = readHostConfig(store, record.ID);
  return {
    Id: record.ID,
    Created: record.Created,
    Path: record.Path,
    Args: record.Args,
    State: { Status, ...state },
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
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: { ...HOST_CONFIG_DEFAULTS, ...hostConfig },
    GraphDriver: graphDriver(record.Driver, rwLayer(store, record.ID)),
    Mounts: Object.values(record.MountPoints),
    Config: record.Config,
    NetworkSettings: networkSettings(hostConfig.NetworkMode, state.Pid),
  };
}

function inspectImage(engine: Engine, image: ImageRecord): object {
  const summary = summarizeImage(engine, image.id);
  const { config } = image;
  const chain = chainIds(config.rootfs.diff_ids);
  const directories = chain.map((id) => readLayer(engine.store, id).diffDir).reverse();
  const [upper = '', ...lower] = directories;
  return {
    Id: image.id,
    RepoTags: summary.tags,
    RepoDigests: summary.digests,
    Parent: summary.parent,
    Comment: (config as { comment?: string }).comment ?? '',
    Created: summary.created,
    DockerVersion: (config as { docker_version?: string }).docker_version ?? '',
    Author: config.author ?? '',
    Config: config.config ?? {},
    Architecture: config.architecture,
    Os: config.os,
    Size: summary.size,
    VirtualSize: summary.size,
    GraphDriver: {
      Data: { ...(lower.length === 0 ? {} : { LowerDir: lower.join(':') }), UpperDir: upper },
      Name: engine.store.driver.name,
    },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
  };
}

/** A container by that name, else an image; `type` asks for one of the two only.
 *  @throws ERR_TSBOX_NOT_FOUND */
export function inspectObject(engine: Engine, name: string, type?: 'container' | 'image'): object {
  if (type !== 'image') {
    const record = findContainer(engine.store, name);
    if (record !== undefined) return inspectContainer(engine, record);
  }
  if (type !== 'container') {
    const image = findImage(engine.store, name);
    if (image !== undefined) return inspectImage(engine, image);
  }
  const kind = type === undefined ? 'object' : type;
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `No such ${kind}: ${name}`);
}
