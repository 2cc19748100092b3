/** An image as `inspect` shows it: Docker's fields in Docker's order, with those that have no value, for templates that ask for them. */
import { dirname } from 'node:path';
import { goTime } from '../spec/go-time.ts';
import type { ContainerConfig, ImageConfig } from '../spec/oci-image.ts';
import { chainIds } from '../store/chain.ts';
import { LAYOUT } from '../store/drivers/driver.ts';
import { type ImageRecord, imageLastUpdated } from '../store/images.ts';
import { readLayer } from '../store/layers.ts';
import { summarizeImage } from './images.ts';
import type { Engine } from './open.ts';

const NEVER = '0001-01-01T00:00:00Z';

/** Go's `omitempty`: false, 0, "", an empty list or map. */
function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === undefined || value === null || value === false || value === 0 || value === '';
}

/** The field with its value; an empty one is left out of JSON, and there for a template that asks for it. */
function optional<T extends object>(fields: T, name: string, value: unknown): T {
  return Object.defineProperty(fields, name, { value, enumerable: !isEmpty(value) });
}

/** A list or map that is not there, as Go has it: `null` in JSON, empty in a template. */
function nil<T extends object>(empty: T): T {
  return Object.defineProperty(empty, 'toJSON', { value: () => null, enumerable: false });
}

function list(items: readonly string[] | null | undefined): readonly string[] {
  return items ?? nil([]);
}

/** As Go writes a map. */
function map<T>(entries: Readonly<Record<string, T>> | null | undefined): Record<string, T> {
  if (!entries) return nil({});
  return Object.fromEntries(Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** In Docker's order. */
function healthcheck({ Test, Interval, Timeout, StartPeriod, ...rest }: NonNullable<ContainerConfig['Healthcheck']>) {
  const given = Object.entries({ Test, Interval, Timeout, StartPeriod }).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), ...rest };
}

/** What containers of the image start with, the container that the image was made from, or what a container has. */
export function containerConfig(config: ContainerConfig): object {
  const fields = {
    Hostname: config.Hostname ?? '',
    Domainname: config.Domainname ?? '',
    User: config.User ?? '',
    AttachStdin: config.AttachStdin ?? false,
    AttachStdout: config.AttachStdout ?? false,
    AttachStderr: config.AttachStderr ?? false,
  };
  optional(fields, 'ExposedPorts', config.ExposedPorts ? map(config.ExposedPorts) : nil({}));
  Object.assign(fields, {
    Tty: config.Tty ?? false,
    OpenStdin: config.OpenStdin ?? false,
    StdinOnce: config.StdinOnce ?? false,
    Env: list(config.Env),
    Cmd: list(config.Cmd),
  });
  optional(fields, 'Healthcheck', config.Healthcheck && healthcheck(config.Healthcheck));
  optional(fields, 'ArgsEscaped', config.ArgsEscaped ?? false);
  Object.assign(fields, {
    Image: config.Image ?? '',
    Volumes: map(config.Volumes),
    WorkingDir: config.WorkingDir ?? '',
    Entrypoint: list(config.Entrypoint),
  });
  optional(fields, 'NetworkDisabled', config.NetworkDisabled ?? false);
  optional(fields, 'MacAddress', config.MacAddress ?? '');
  Object.assign(fields, { OnBuild: list(config.OnBuild), Labels: map(config.Labels) });
  optional(fields, 'StopSignal', config.StopSignal ?? '');
  optional(fields, 'StopTimeout', config.StopTimeout);
  return optional(fields, 'Shell', list(config.Shell));
}

/** Where its files are: what a container of it would have below its own layer. */
function graphDriver(engine: Engine, config: ImageConfig): object {
  const layers = chainIds(config.rootfs.diff_ids).map((id) => readLayer(engine.store, id).diffDir);
  const [top, ...lower] = layers.reverse();
  if (top === undefined) return { Data: null, Name: LAYOUT };
  const below = lower.length === 0 ? {} : { LowerDir: lower.join(':') };
  const directory = dirname(top);
  const data = { ...below, MergedDir: `${directory}/merged`, UpperDir: top, WorkDir: `${directory}/work` };
  return { Data: data, Name: LAYOUT };
}

/** Fields that Docker has and OCI does not, or not as a word. */
interface MoreFields {
  comment?: unknown;
  'os.version'?: unknown;
}

/** @throws ERR_TSBOX_DAMAGED; ERR_TSBOX_NOT_FOUND when a layer is missing */
export function inspectImage(engine: Engine, image: ImageRecord): object {
  const { tags, digests, size, created, parent } = summarizeImage(engine, image.id);
  const config: ImageConfig & MoreFields = image.config;
  const fields = {
    Id: image.id,
    RepoTags: tags,
    RepoDigests: digests,
    Parent: parent,
    // OCI has it in the history only; there it is of the last step.
    Comment: config.comment ?? config.history?.at(-1)?.comment ?? '',
    Created: goTime(created),
    Container: config.container ?? '',
    ContainerConfig: containerConfig(config.container_config ?? {}),
    DockerVersion: config.docker_version ?? '',
    Author: config.author ?? '',
    Config: config.config ? containerConfig(config.config) : null,
    Architecture: config.architecture,
  };
  optional(fields, 'Variant', config.variant ?? '');
  Object.assign(fields, { Os: config.os });
  optional(fields, 'OsVersion', config['os.version'] ?? '');
  return Object.assign(fields, {
    Size: size,
    VirtualSize: size,
    GraphDriver: graphDriver(engine, config),
    RootFS: optional({ Type: config.rootfs.type }, 'Layers', config.rootfs.diff_ids),
    Metadata: { LastTagTime: goTime(imageLastUpdated(engine.store, image.id) ?? NEVER) },
  });
}
