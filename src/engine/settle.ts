/** Before a container is started or removed: nobody is in the middle of its start or end. */
import type { ContainerState } from '../spec/container.ts';
import { monitorLives, readRun } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import { isFollowed } from '../store/successor.ts';
import { monotonicMs } from '../sys/clock.ts';
import { isEnding } from '../sys/process-stat.ts';
import type { Engine } from './open.ts';

const PATIENCE_MS = 10_000;
const POLL_MS = 5;

/** Does it run no more, even if its monitor has not cleaned up yet? Not so of one that waits to be started again. */
export function hasEnded({
  Running,
  Restarting,
  Pid,
}: Pick<ContainerState, 'Running' | 'Restarting' | 'Pid'>): boolean {
  return !Restarting && (!Running || isEnding(Pid));
}

/** The same of what is on record of a run; also before there is one. */
export function runHasEnded(store: Store, id: string): boolean {
  const run = readRun(store, id);
  return run === undefined || isEnding(run.Pid);
}

/** Waits while a monitor lives and its container does not run: then it is about to start it, for a client that was killed meanwhile, or
 *  it cleans up. Its successor is not waited for: that waits for us. Gives up after ten seconds: what is to be done next then meets what is in its way. */
export async function settle({ store }: Engine, id: string): Promise<void> {
  for (const end = monotonicMs() + PATIENCE_MS; monotonicMs() < end; ) {
    if (!monitorLives(store, id) || isFollowed(store, id) || !runHasEnded(store, id)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
