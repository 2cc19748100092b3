/** Containers as `ps` shows them. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { listContainers as listRecords, readHostConfig } from '../store/containers.ts';
import { healthOf } from '../store/health.ts';
import { findImageId } from '../store/images.ts';
import { containerState } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import type { ContainerSummary } from './api.ts';
import type { Engine } from './open.ts';

/** The newest first; those that do not run only with `all`. One that vanishes meanwhile is left out.
 *  @param onDamaged is told of each container whose files cannot be read; the others are listed all the same */
export function listContainers(
  engine: Engine,
  options: { all: boolean },
  onDamaged?: (id: string, error: TsboxError) => void,
): ContainerSummary[] {
  const { store } = engine;
  const summaries: ContainerSummary[] = [];
  const imageName = imageNamer(store);
  for (const record of listRecords(store, onDamaged)) {
    try {
      const state = containerState(store, record);
      if (!options.all && !state.Running) continue;
      const health = healthOf(store, record, state);
      const hostConfig = readHostConfig(store, record.ID);
      summaries.push({ record, image: imageName(record), state, hostConfig, ...(health !== undefined && { health }) });
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (error.code !== 'ERR_TSBOX_NOT_FOUND') onDamaged?.(record.ID, error);
    }
  }
  return summaries;
}

/** Finds out whether the names that containers have for their images still hold; each name is looked up once. */
function imageNamer(store: Store): (record: ContainerRecord) => string {
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
