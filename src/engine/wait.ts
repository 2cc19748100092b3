/** Waits for a container's end. */
import { isErrno, TsboxError } from '../errors.ts';
import { connectMonitor } from '../runtime/session.ts';
import type { ContainerState } from '../spec/container.ts';
import { findContainer, requireContainer } from '../store/containers.ts';
import { openEvents } from '../store/events.ts';
import { containerState, DIED } from '../store/state.ts';
import { runDirectory, type Store } from '../store/store.ts';
import type { Engine } from './open.ts';
import { hasEnded } from './settle.ts';

const GONE_MS = 10;
const RESTARTING_MS = 50;
const GONE_TRIES = 500;

/** The exit code of a container whose monitor has just left without telling it to us: from its record, once that is there; of one that is
 *  removed by now from the journal. */
async function recordedExit({ store }: Engine, id: string): Promise<number> {
  for (let tries = 0; ; tries++) {
    const record = findContainer(store, id);
    const told = record === undefined ? journaledExit(store, id) : undefined;
    if (told !== undefined) return told;
    const state = containerState(store, record ?? requireContainer(store, id));
    if (!state.Running || state.Restarting || tries === GONE_TRIES) return state.ExitCode;
    await new Promise((resolve) => setTimeout(resolve, GONE_MS));
  }
}

/** For who was connected, and lost the connection before he heard anything.
 *  @throws `error` when the container runs on, or nobody saw its end */
export async function exitAfterLoss(engine: Engine, id: string, error: unknown): Promise<{ code: number }> {
  const record = findContainer(engine.store, id);
  if (record !== undefined) {
    const state = containerState(engine.store, record);
    if ((!state.Restarting && !hasEnded(state)) || state.Error === DIED.Error) throw error;
  }
  return { code: await recordedExit(engine, id) };
}

function journaledExit(store: Store, id: string): number | undefined {
  const events = openEvents(store);
  try {
    const ends = [...events.next()].filter((event) => event.id === id && event.action === 'die');
    const code = ends.at(-1)?.attributes['exitCode'];
    return code === undefined ? undefined : Number(code);
  } finally {
    events.close();
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
