/** Containers as `ps` shows them. */
import { TsboxError } from '../errors.ts';
import { listContainers as listRecords, readHostConfig } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
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
  for (const record of listRecords(store, onDamaged)) {
    const state = containerState(store, record);
    if (!options.all && !state.Running) continue;
    try {
      summaries.push({ record, state, hostConfig: readHostConfig(store, record.ID) });
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (error.code !== 'ERR_TSBOX_NOT_FOUND') onDamaged?.(record.ID, error);
    }
  }
  return summaries;
}
