/** Lets a container stand still, and go on. `<run-root>/<id>/paused` says that it does; see store/state.ts. */
import { writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { ContainerRecord, ContainerState } from '../spec/container.ts';
import { lockContainer } from '../store/change-container.ts';
import { requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState } from '../store/state.ts';
import { runDirectory, type Store } from '../store/store.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { freeze, thaw } from './freeze.ts';
import type { Engine } from './open.ts';

const pausedFile = (store: Store, id: string) => `${runDirectory(store, id)}/paused`;

/** Of a container that goes on. */
export function forgetPause(store: Store, id: string): void {
  removeWholeTree(pausedFile(store, id));
}

/** Runs `work` with the container's state while nobody else changes that. */
async function withState<T>(
  { store }: Engine,
  name: string,
  work: (record: ContainerRecord, state: ContainerState) => T,
): Promise<Awaited<T>> {
  const record = requireContainer(store, name);
  const held = lockContainer(store, record.ID);
  try {
    return await work(record, containerState(store, record, true));
  } finally {
    held.release();
  }
}

const refused = (message: string) => new TsboxError('ERR_TSBOX_CONFLICT', message);

/** @throws ERR_TSBOX_CONFLICT when it does not run or is paused; ERR_TSBOX_UNSUPPORTED when this host cannot freeze */
export function pauseContainer(engine: Engine, name: string): Promise<void> {
  return withState(engine, name, async (record, state) => {
    const { ID: id } = record;
    if (!state.Running) throw refused(`Container ${id} is not running`);
    if (state.Paused) throw refused(`Container ${id} is already paused`);
    if (state.Restarting) throw refused(`Container ${id} is restarting, wait until the container is running`);
    const file = pausedFile(engine.store, id);
    // Said first: what is said to be paused can be let go, whoever is killed in between.
    writeFileSync(file, '', { mode: 0o600 });
    try {
      if (!(await freeze(engine.store, id))) throw refused(`Container ${id} is not running`);
      noteContainer(engine.store, record, 'pause');
    } catch (error) {
      removeWholeTree(file);
      throw error;
    }
  });
}

/** @throws ERR_TSBOX_CONFLICT when it is not paused */
export function unpauseContainer(engine: Engine, name: string): Promise<void> {
  return withState(engine, name, (record, state) => {
    const { ID: id } = record;
    if (!state.Paused) throw refused(`Container ${id} is not paused`);
    thaw(engine.store, id);
    forgetPause(engine.store, id);
    noteContainer(engine.store, record, 'unpause');
  });
}
