/** Containers on disk: read side. `containers/<id>/config.v2.json` and `hostconfig.json`, as Docker has them. */
import { existsSync, readdirSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import {
  type ContainerRecord,
  type ContainerState,
  type HostConfig,
  type MountPoint,
  NEVER,
  type Status,
} from '../spec/container.ts';
import { isMaps, isObject, parseStored, readIntact, readText } from './io.ts';
import { isName, nameTarget } from './names.ts';
import { containerDirectory, isHexId, type Store } from './store.ts';

/** The error for a container that is not there. */
export function noSuchContainer(name: string): TsboxError {
  return new TsboxError('ERR_TSBOX_NOT_FOUND', `No such container: ${name}`, {
    hint: '`tsbox ps -a` lists all containers.',
  });
}

/** At the end of work that reads a container's files without its lock, and for the errors it met: whoever removes a container takes its
 *  directory away first, so what was read while that was there is whole.
 *  @throws ERR_TSBOX_NOT_FOUND when it has been removed */
export function checkThere(store: Store, id: string, name: string): void {
  if (!existsSync(containerDirectory(store, id))) throw noSuchContainer(name);
}

function damaged(path: string, field: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: ${field} is missing or of a wrong type`, {
    hint: 'The file was cut or edited. The container can only be removed, by its full id.',
  });
}

/** A container's directory comes and goes with all that is in it: a file that is not there was taken away. */
function lost(path: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: ENOENT (No such file or directory)`, {
    hint: 'The file was removed. The container can only be removed, by its full id.',
  });
}

/** What tsbox cannot do without; the rest has defaults, since Docker writes `null` for what is empty. */
const NEEDED = ['ID', 'Created', 'Path', 'Image', 'Name'] as const;
const OBJECTS = ['Config', 'State'] as const;
const LISTS = ['Env', 'Cmd', 'Entrypoint', 'OnBuild'] as const;

function isList(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function checkRecord(value: unknown, id: string, path: string): ContainerRecord {
  if (!isObject(value)) throw damaged(path, 'the object');
  for (const field of NEEDED) if (typeof value[field] !== 'string') throw damaged(path, field);
  for (const field of OBJECTS) if (!isObject(value[field])) throw damaged(path, field);
  if (value['ID'] !== id) throw damaged(path, 'ID');
  const config = value['Config'] as Record<string, unknown>;
  for (const field of LISTS) {
    if (config[field] !== undefined && config[field] !== null && !isList(config[field]))
      throw damaged(path, `Config.${field}`);
  }
  const args = value['Args'] ?? [];
  if (!isList(args)) throw damaged(path, 'Args');
  const record = value as unknown as ContainerRecord;
  record.Args = args as string[];
  record.Config.Env ??= [];
  record.Config.Labels ??= {};
  record.State = checkState(record.State);
  record.MountPoints = readMountPoints(record.MountPoints, path);
  return record;
}

/** Docker calls the mode `Relabel`, and leaves out what is empty. */
function readMountPoints(value: unknown, path: string): ContainerRecord['MountPoints'] {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw damaged(path, 'MountPoints');
  const points = Object.entries(value).map(([place, point]) => {
    if (!isObject(point) || typeof point['Type'] !== 'string' || typeof point['Source'] !== 'string') {
      throw damaged(path, `MountPoints[${JSON.stringify(place)}]`);
    }
    const { Relabel: mode, ...rest } = point as Record<string, unknown> & MountPoint;
    const text = (one: unknown) => (typeof one === 'string' ? one : '');
    return [place, { ...rest, Mode: text(mode ?? rest.Mode), Propagation: text(rest.Propagation) }] as const;
  });
  return Object.fromEntries(points);
}

/** A record as it is written, in Docker's words. */
export function recordText(record: ContainerRecord): string {
  const points = Object.entries(record.MountPoints ?? {}).map(([place, { Mode: mode, ...point }]) => {
    const rest = { Spec: {}, SkipMountpointCreation: false, Name: '', Driver: '', ...point };
    return [place, mode === '' ? rest : { ...rest, Relabel: mode }];
  });
  // What knows nothing of copies would mount it as what has changed in the layers.
  const form = record.Driver === 'vfs' ? { FormatVersion: 2 } : {};
  return JSON.stringify({ ...form, ...record, MountPoints: Object.fromEntries(points) });
}

/** Docker does not write the status as a word. */
function checkState(state: Partial<ContainerState>): ContainerState {
  const flag = (value: unknown) => value === true;
  const time = (value: unknown) => (typeof value === 'string' ? value : NEVER);
  const [running, paused, dead] = [flag(state.Running), flag(state.Paused), flag(state.Dead)];
  const restarting = running && flag(state.Restarting);
  const startedAt = time(state.StartedAt);
  const ended: Status = startedAt === NEVER && time(state.FinishedAt) === NEVER ? 'created' : 'exited';
  return {
    Status: running ? (paused ? 'paused' : restarting ? 'restarting' : 'running') : dead ? 'dead' : ended,
    Running: running,
    Paused: paused,
    Restarting: restarting,
    OOMKilled: flag(state.OOMKilled),
    Dead: dead,
    Pid: Number(state.Pid ?? 0),
    ExitCode: Number(state.ExitCode ?? 0),
    Error: String(state.Error ?? ''),
    StartedAt: startedAt,
    FinishedAt: time(state.FinishedAt),
  };
}

/** A container's record by its full id. Its `State` is the one that was written last; for the truth see state.ts.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED naming the file and the field */
export function readContainer(store: Store, id: string): ContainerRecord {
  const path = `${containerDirectory(store, id)}/config.v2.json`;
  const text = isHexId(id) ? readText(path) : undefined;
  if (text === undefined)
    throw isHexId(id) && existsSync(containerDirectory(store, id)) ? lost(path) : noSuchContainer(id);
  return checkRecord(parseStored(text, path), id, path);
}

const NUMBERS = [
  'Memory',
  'MemorySwap',
  'MemoryReservation',
  'NanoCpus',
  'CpuPeriod',
  'CpuQuota',
  'CpuShares',
  'OomScoreAdj',
];
const TEXTS = ['CgroupParent', 'CpusetCpus', 'CpusetMems'];
const OBJECT_LISTS = [
  'BlkioWeightDevice',
  'BlkioDeviceReadBps',
  'BlkioDeviceWriteBps',
  'BlkioDeviceReadIOps',
  'BlkioDeviceWriteIOps',
  'Devices',
  'Mounts',
  'Ulimits',
];

/** Limits that are not there were not asked for. @throws ERR_TSBOX_DAMAGED */
function checkResources(value: Record<string, unknown>, path: string): void {
  const isObjects = (found: unknown) => Array.isArray(found) && found.every(isObject);
  const check = (fields: readonly string[], is: (found: unknown) => boolean) => {
    for (const field of fields) {
      const found = value[field];
      if (found !== undefined && found !== null && !is(found)) throw damaged(path, field);
    }
  };
  check(NUMBERS, (found) => typeof found === 'number');
  check(TEXTS, (found) => typeof found === 'string');
  check(OBJECT_LISTS, isObjects);
}

/** @throws as {@link readContainer} */
export function readHostConfig(store: Store, id: string): HostConfig {
  const path = `${containerDirectory(store, id)}/hostconfig.json`;
  const text = readText(path);
  if (text === undefined) throw existsSync(containerDirectory(store, id)) ? lost(path) : noSuchContainer(id);
  const value = parseStored(text, path);
  if (!isObject(value)) throw damaged(path, 'the object');
  if (typeof value['NetworkMode'] !== 'string') throw damaged(path, 'NetworkMode');
  for (const field of ['Binds', 'VolumesFrom', 'CapAdd', 'CapDrop', 'SecurityOpt', 'MaskedPaths', 'ReadonlyPaths']) {
    if (value[field] !== undefined && value[field] !== null && !isList(value[field])) throw damaged(path, field);
  }
  const policy = value['RestartPolicy'];
  if (policy !== undefined && policy !== null && !isObject(policy)) throw damaged(path, 'RestartPolicy');
  if (value['IDMaps'] !== undefined && !isMaps(value['IDMaps'])) throw damaged(path, 'IDMaps');
  checkResources(value, path);
  const config = value as unknown as HostConfig;
  return { ...config, MaskedPaths: config.MaskedPaths ?? [], ReadonlyPaths: config.ReadonlyPaths ?? [] };
}

/** Ids of all containers, sorted. */
export function containerIds(store: Store): string[] {
  return readdirSync(store.containers).filter(isHexId).sort();
}

/** The id that a full id, a name (with or without its slash) or the beginning of an id stands for, in Docker's order.
 *  @throws ERR_TSBOX_USAGE when several ids begin so */
export function findContainerId(store: Store, nameOrId: string): string | undefined {
  if (isHexId(nameOrId) && existsSync(containerDirectory(store, nameOrId))) return nameOrId;
  const name = nameOrId.startsWith('/') ? nameOrId.slice(1) : nameOrId;
  const target = isName(name) ? nameTarget(store, name) : undefined;
  if (target !== undefined && isNamed(store, target, name)) return target;
  const ids = /^[0-9a-f]{1,64}$/.test(nameOrId) ? containerIds(store).filter((id) => id.startsWith(nameOrId)) : [];
  if (ids.length > 1) {
    throw new TsboxError('ERR_TSBOX_USAGE', `Multiple IDs found with provided prefix: ${nameOrId}`, {
      hint: 'Give more digits of the id.',
    });
  }
  return ids[0];
}

/** A link that a killed rename or removal left is not the container's name. A damaged record is found by the link it has. */
function isNamed(store: Store, id: string, name: string): boolean {
  const text = readIntact(`${containerDirectory(store, id)}/config.v2.json`);
  if (text === undefined) return existsSync(containerDirectory(store, id));
  try {
    const { Name } = JSON.parse(text) as { Name?: unknown };
    return typeof Name !== 'string' || Name === `/${name}`;
  } catch {
    return true;
  }
}

/** The container that a name or an id stands for. @throws as {@link findContainerId} and {@link readContainer} */
export function findContainer(store: Store, nameOrId: string): ContainerRecord | undefined {
  const id = findContainerId(store, nameOrId);
  return id === undefined ? undefined : readContainer(store, id);
}

/** As {@link findContainer}. @throws also ERR_TSBOX_NOT_FOUND: `No such container: x` */
export function requireContainer(store: Store, nameOrId: string): ContainerRecord {
  const record = findContainer(store, nameOrId);
  if (record === undefined) throw noSuchContainer(nameOrId);
  return record;
}

/** All containers, the youngest first. One that is removed meanwhile is left out; so is one whose files cannot be read.
 *  @param onDamaged is told of the latter */
export function listContainers(store: Store, onDamaged?: (id: string, error: TsboxError) => void): ContainerRecord[] {
  return listParts(store, (record) => record, onDamaged);
}

/** {@link listContainers}, of each only a part: of a thousand records what stays is what costs the garbage collector.
 *  @param among only those with one of these ids */
export function listParts<Part extends Pick<ContainerRecord, 'Created'>>(
  store: Store,
  part: (record: ContainerRecord) => Part,
  onDamaged?: (id: string, error: TsboxError) => void,
  among?: ReadonlySet<string>,
): Part[] {
  const parts: Part[] = [];
  for (const id of containerIds(store)) {
    if (among?.has(id) === false) continue;
    try {
      parts.push(part(readContainer(store, id)));
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (existsSync(containerDirectory(store, id))) onDamaged?.(id, error);
    }
  }
  const times = new Map(parts.map((one) => [one, Date.parse(one.Created)]));
  return parts.sort((a, b) => times.get(b)! - times.get(a)!);
}
