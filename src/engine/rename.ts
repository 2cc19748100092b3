/** Gives a container another name. */
import { TsboxError, wrapError } from '../errors.ts';
import { renameContainer as renameRecord, withContainer } from '../store/change-container.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { renameInNetworks } from '../store/network-run.ts';
import { containerState } from '../store/state.ts';
import { askSuccession, isSuccessionAsked } from '../store/successor.ts';
import type { Engine } from './open.ts';

/** The monitor of one that is removed when it has ended knows its old name, which may be another container's by then: tsbox itself shall
 *  remove it. */
function removeByName({ store }: Engine, id: string): void {
  if (!readHostConfig(store, id).AutoRemove) return;
  withContainer(store, id, () => {
    const runs = containerState(store, requireContainer(store, id), true).Running;
    if (runs && !isSuccessionAsked(store, id)) askSuccession(store, id, { Delay: 0 });
  });
}

/** @throws ERR_TSBOX_NOT_FOUND; ERR_TSBOX_CONFLICT and ERR_TSBOX_USAGE in Docker's words */
export function renameContainer(engine: Engine, oldName: string, newName: string): void {
  const record = requireContainer(engine.store, oldName);
  if (record.Name === `/${newName.replace(/^\//, '')}`) {
    throw new TsboxError('ERR_TSBOX_CONFLICT', 'Renaming a container with the same name as its current name');
  }
  removeByName(engine, record.ID);
  try {
    const renamed = renameRecord(engine.store, record.ID, newName);
    withContainer(engine.store, record.ID, () =>
      renameInNetworks(engine.store, record.ID, record.Name.slice(1), renamed.Name.slice(1)),
    );
    noteContainer(engine.store, renamed, 'rename', { oldName: record.Name });
  } catch (error) {
    throw wrapError('Error when allocating new name', error);
  }
}
