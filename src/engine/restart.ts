/** Stops a container and starts it again. */
import { TsboxError, wrapError } from '../errors.ts';
import { withContainer } from '../store/change-container.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState } from '../store/state.ts';
import { askSuccession } from '../store/successor.ts';
import type { Engine } from './open.ts';
import { startDetached } from './start.ts';
import { type StopOptions, stopContainer } from './stop.ts';

/** One that is removed when it has ended is not, this time. */
function keep({ store }: Engine, name: string): void {
  const { ID: id } = requireContainer(store, name);
  if (!readHostConfig(store, id).AutoRemove) return;
  withContainer(store, id, () => {
    if (containerState(store, requireContainer(store, id), true).Running)
      askSuccession(store, id, { Delay: 0, Keep: true });
  });
}

/** Also one that does not run is started.
 *  @throws ERR_TSBOX_NOT_FOUND; what stopping or starting throws, in Docker's frame */
export async function restartContainer(engine: Engine, name: string, options?: StopOptions): Promise<void> {
  const { ID: id } = requireContainer(engine.store, name);
  try {
    keep(engine, id);
    await stopContainer(engine, id, options);
    await startDetached(engine, id);
    noteContainer(engine.store, requireContainer(engine.store, id), 'restart');
  } catch (error) {
    if (error instanceof TsboxError && error.code === 'ERR_TSBOX_NOT_FOUND') throw error;
    throw wrapError(`Cannot restart container ${name}`, error);
  }
}
