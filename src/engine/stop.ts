/** Signals to containers. */
import { writeFileSync } from 'node:fs';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { parseSignal } from '../spec/signals.ts';
import { saveContainer, withContainer } from '../store/change-container.ts';
import { readContainer, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState, ended, monitorLives, saveFolded } from '../store/state.ts';
import { runDirectory, type Store, stoppedFile } from '../store/store.ts';
import { callOffSuccession, readFollowed } from '../store/successor.ts';
import { sendSignal } from '../sys/pidfd.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { thaw } from './freeze.ts';
import type { Engine } from './open.ts';
import { forgetPause } from './pause.ts';
import { waitContainer } from './wait.ts';

const SIGKILL = 9;
const SIGTERM = 'SIGTERM';
const DEFAULT_TIMEOUT = 10;

/** Is the process to end with this signal, as Docker sees it, when nobody has said so? */
function endsIt(record: ContainerRecord, signal: number): boolean {
  const { StopSignal = '' } = record.Config;
  return signal === SIGKILL || StopSignal === '' || parseSignal(StopSignal) === signal;
}

const UNWRITABLE = ['EROFS', 'ENOSPC', 'EDQUOT'];

/** A data root that is full or has become read-only keeps nobody from ending what runs on it: then the run root says that somebody has. */
function noteStopped(store: Store, id: string, save: () => void): void {
  try {
    save();
  } catch (error) {
    if (!UNWRITABLE.some((name) => isErrno(error, name))) throw error;
    writeFileSync(stoppedFile(store, id), '', { mode: 0o600 });
  }
}

/** Notes that somebody has ended it, before the signal is sent: its end may come at once.
 *  @returns false when there is no process to send a signal to: it was between two runs and stays as it is */
function noteSignal({ store }: Engine, id: string, ends: boolean): boolean {
  return withContainer(store, id, () => {
    const record = readContainer(store, id);
    const state = containerState(store, record, true);
    if (!state.Running) return true;
    const noted = { ...record, HasBeenManuallyStopped: true };
    if (state.Restarting) {
      const waiting = readFollowed(store, id)?.Pid;
      noteStopped(store, id, () => saveFolded(store, { ...noted, State: ended(state, state) }));
      // One that does not wait yet will find out by itself.
      if (waiting !== undefined) sendSignal(waiting, SIGKILL, () => monitorLives(store, id));
      removeWholeTree(runDirectory(store, id));
      return false;
    }
    // One that is removed at its end, which has no record of its start, has a successor only to be kept, or to be removed by another name.
    if (record.HasBeenStartedBefore) {
      if (ends) callOffSuccession(store, id);
      if (record.HasBeenManuallyStopped !== true) noteStopped(store, id, () => saveContainer(store, noted));
    }
    return true;
  });
}

/** @param ends is the process to end with it? Then it goes on if it was paused, and no restart policy brings it back. */
function signalContainer(engine: Engine, record: ContainerRecord, signal: number, ends: boolean): boolean {
  const { store } = engine;
  if (!noteSignal(engine, record.ID, ends)) return true;
  const pid = containerState(store, record).Pid;
  if (pid <= 0) return false;
  const sent = sendSignal(pid, signal, () => containerState(store, record).Pid === pid);
  if (sent) noteContainer(store, record, 'kill', { signal: String(signal) });
  if (sent && ends) {
    thaw(store, record.ID);
    forgetPause(store, record.ID);
  }
  return sent;
}

/** Sends `signal` to the container's first process; one that waits to be restarted is not.
 *  @throws ERR_TSBOX_CONFLICT when it does not run */
export function killContainer(engine: Engine, name: string, signal: number): void {
  try {
    const record = requireContainer(engine.store, name);
    if (!signalContainer(engine, record, signal, endsIt(record, signal))) {
      throw new TsboxError('ERR_TSBOX_CONFLICT', `Container ${record.ID} is not running`);
    }
  } catch (error) {
    throw wrapError(`Cannot kill container: ${name}`, error);
  }
}

export interface StopOptions {
  /** How long to wait before it is killed; -1 waits without end; the container's own timeout, else 10, when absent. */
  seconds?: number | undefined;
  /** What asks it to end; the container's own stop signal, else SIGTERM, when absent. */
  signal?: number | undefined;
}

/** Asks with the stop signal, then kills. One that does not run is left alone; one that waits to be restarted is not. Done too when it is
 *  removed meanwhile, as `--rm` does. No restart policy brings it back, whichever signal it was.
 *  @throws ERR_TSBOX_NOT_FOUND */
export async function stopContainer(engine: Engine, name: string, options: StopOptions = {}): Promise<void> {
  const record = requireContainer(engine.store, name);
  const state = containerState(engine.store, record);
  if (!state.Running) return;
  const timeout = options.seconds ?? record.Config.StopTimeout ?? DEFAULT_TIMEOUT;
  const ended = (state.Restarting ? Promise.resolve(0) : waitContainer(engine, record.ID)).catch(unlessRemoved);
  try {
    signalContainer(engine, record, options.signal ?? parseSignal(record.Config.StopSignal || SIGTERM), true);
    if (timeout >= 0 && (await isLate(ended, timeout))) signalContainer(engine, record, SIGKILL, true);
  } catch (error) {
    unlessRemoved(error);
  }
  await ended;
  noteContainer(engine.store, record, 'stop');
}

/** Of a container that was there. */
function unlessRemoved(error: unknown): void {
  if (!(error instanceof TsboxError && error.code === 'ERR_TSBOX_NOT_FOUND')) throw error;
}

async function isLate(ended: Promise<unknown>, seconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, seconds * 1000, 'late');
  });
  const first = await Promise.race([ended, late]);
  clearTimeout(timer);
  return first === 'late';
}
