/** Containers as `ps` shows them. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { findContainer, listParts, readContainer, readHostConfig } from '../store/containers.ts';
import { healthOf } from '../store/health.ts';
import { findImageId } from '../store/images.ts';
import { readRunNetwork } from '../store/network-run.ts';
import { containerState, runIds, stateAtRest } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import type { ContainerSummary, ListedRecord } from './api.ts';
import type { Engine } from './open.ts';

export interface ListOptions {
  /** Those too that do not run. */
  all: boolean;
  /** How each is connected. */
  networks?: boolean;
  /** Of those that run. */
  ports?: boolean;
}

/** The newest first. One that vanishes meanwhile is left out.
 *  @param onDamaged is told of each container whose files cannot be read; the others are listed all the same */
export function listContainers(
  engine: Engine,
  options: ListOptions,
  onDamaged?: (id: string, error: TsboxError) => void,
): ContainerSummary[] {
  const { store } = engine;
  const summaries: ContainerSummary[] = [];
  const imageName = imageNamer(store);
  // One that does not run has no run directory: of a thousand records only a few are read.
  const records = listParts(store, listed, onDamaged, options.all ? undefined : runIds(store));
  // After the records: who has begun to run since then was at rest when they were read.
  const begun = runIds(store);
  for (const record of records) {
    try {
      const state = begun.has(record.ID)
        ? containerState(store, record)
        : (stateAtRest(store, record) ?? containerState(store, readContainer(store, record.ID)));
      if (!options.all && !state.Running) continue;
      const health = healthOf(store, record, state);
      const network = options.networks ? readHostConfig(store, record.ID).NetworkMode : undefined;
      summaries.push({
        record,
        image: imageName(record),
        state,
        ...(network !== undefined && { network }),
        ...(options.ports && state.Running && { ports: portsOf(store, record) }),
        ...(health !== undefined && { health }),
      });
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (error.code !== 'ERR_TSBOX_NOT_FOUND') onDamaged?.(record.ID, error);
    }
  }
  return summaries;
}

/** Of a container by name or id; undefined when there is none. */
export function whenCreated({ store }: Engine, nameOrId: string): Pick<ContainerRecord, 'ID' | 'Created'> | undefined {
  return findContainer(store, nameOrId);
}

function listed(record: ContainerRecord): ListedRecord {
  const { ID, Created, Path, Args, Image, Name, State, MountPoints, NetworkSettings, Config } = record;
  const { Image: image, Labels, ExposedPorts, Healthcheck } = Config;
  const config = { Image: image, Labels, ExposedPorts, Healthcheck };
  return { ID, Created, Path, Args, Image, Name, State, MountPoints, NetworkSettings, Config: config };
}

/** As with Docker one without a network of its own shows none: not those either that are only exposed. */
function portsOf(store: Store, { ID, Config }: ListedRecord): NonNullable<ContainerSummary['ports']> {
  const { endpoints, ports } = readRunNetwork(store, ID);
  const isConnected = endpoints.length > 0 || ports.length > 0;
  return { published: ports, exposed: isConnected ? (Config.ExposedPorts ?? {}) : {} };
}

/** Finds out whether the names that containers have for their images still hold; each name is looked up once. */
function imageNamer(store: Store): (record: ListedRecord) => string {
  const ids = new Map<string, string | undefined>();
  const find = (name: string): string | undefined => {
    if (!ids.has(name)) ids.set(name, findImageId(store, name));
    return ids.get(name);
  };
  return ({ Image: id, Config: { Image: name } }) => {
    try {
      return find(name) === id ? name : id;
    } catch {
      return id; // no name of an image, or the beginning of several ids by now
    }
  };
}
