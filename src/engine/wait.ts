/** Waits for a container's end. */
import { isErrno, TsboxError } from '../errors.ts';
import { connectMonitor } from '../runtime/session.ts';
import type { ContainerState } from '../spec/container.ts';
import { requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import { runDirectory } from '../store/store.ts';
import type { Engine } from './open.ts';

const GONE_MS = 10;
const RESTARTING_MS = 50;
const GONE_TRIES = 500;

/** The exit code of a container whose monitor has just left without telling it to us: from its record, once that is there. */
async function recordedExit(engine: Engine, name: string): Promise<number> {
  for (let tries = 0; ; tries++) {
    const record = requireContainer(engine.store, name);
    const state = containerState(engine.store, record);
    if (!state.Running || state.Restarting || tries === GONE_TRIES) return state.ExitCode;
    await new Promise((resolve) => setTimeout(resolve, GONE_MS));
  }
}

/** The state of one that is not between two runs. */
async function afterRestart(engine: Engine, id: string): Promise<ContainerState> {
  for (;;) {
    const state = containerState(engine.store, requireContainer(engine.store, id));
    if (!state.Restarting) return state;
    await new Promise((resolve) => setTimeout(resolve, RESTARTING_MS));
  }
}

/** @returns the exit code, 128+n when killed by signal n; at once when the container does not run
 *  @throws ERR_TSBOX_NOT_FOUND */
export async function waitContainer(engine: Engine, name: string): Promise<number> {
  const record = requireContainer(engine.store, name);
  const state = await afterRestart(engine, record.ID);
  if (!state.Running) return state.ExitCode;
  try {
    const client = connectMonitor(runDirectory(engine.store, record.ID), { output: false, stdin: false });
    return (await client.exited).code;
  } catch (error) {
    const lost = error instanceof TsboxError && error.code === 'ERR_TSBOX_EXECUTOR';
    if (!lost && !isErrno(error, 'ENOENT')) throw error;
    return recordedExit(engine, record.ID);
  }
}
