/** What Docker's daemon does when it starts: containers go on by their restart policies, and those of --rm are removed. */
import { existsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { listContainers, readHostConfig } from '../store/containers.ts';
import { foldState } from '../store/state.ts';
import type { Store } from '../store/store.ts';
import type { Engine } from './open.ts';
import { removeContainer } from './remove.ts';
import { wantsRestart } from './restart-policy.ts';
import { startDetached } from './start.ts';

export interface Started {
  name: string;
  /** Why it was not. */
  error?: unknown;
}

/** Does its policy ask for it, by how its last run ended? What was never started waits for somebody. */
function isDue(store: Store, id: string): boolean {
  const record = foldState(store, id);
  const { State, HasBeenStartedBefore, HasBeenManuallyStopped, RestartCount } = record;
  if (State.Running || !HasBeenStartedBefore) return false;
  return wantsRestart(readHostConfig(store, id), {
    exitCode: State.ExitCode,
    restarts: RestartCount,
    manuallyStopped: HasBeenManuallyStopped === true,
  });
}

/** One of --rm that ran when the host stopped had nobody to remove it. What was only created is another's, who may be about to start it:
 *  the first start makes the files for its /etc. @returns whether it was one */
async function removeLeft(engine: Engine, { ID: id, HostnamePath }: ContainerRecord): Promise<boolean> {
  if (!readHostConfig(engine.store, id).AutoRemove || !existsSync(HostnamePath)) return false;
  try {
    await removeContainer(engine, id, { force: false });
  } catch (error) {
    // It runs, or has been started meanwhile.
    if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_CONFLICT') throw error;
  }
  return true;
}

/** Starts them one after the other, the oldest first: who shares a namespace is younger than whose it is. One that fails, or whose
 *  files are damaged, does not keep the others from it. */
export async function* startByPolicy(engine: Engine): AsyncGenerator<Started> {
  const damaged: Started[] = [];
  const records = listContainers(engine.store, (name, error) => damaged.push({ name, error }));
  for (const record of records.reverse()) {
    const { ID: id } = record;
    const name = record.Name.slice(1);
    try {
      if (await removeLeft(engine, record)) continue;
      if (!isDue(engine.store, id)) continue;
      await startDetached(engine, id);
      yield { name };
    } catch (error) {
      // Removed meanwhile.
      if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_NOT_FOUND') yield { name, error };
    }
  }
  yield* damaged;
}
