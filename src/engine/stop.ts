/** Signals to containers. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { parseSignal } from '../spec/signals.ts';
import { requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState } from '../store/state.ts';
import { sendSignal } from '../sys/pidfd.ts';
import { thaw } from './freeze.ts';
import type { Engine } from './open.ts';
import { waitContainer } from './wait.ts';

const SIGKILL = 9;
const SIGTERM = 'SIGTERM';
const DEFAULT_TIMEOUT = 10;

function signalContainer(engine: Engine, record: ContainerRecord, signal: number): boolean {
  const pid = containerState(engine.store, record).Pid;
  if (pid <= 0) return false;
  const sent = sendSignal(pid, signal, () => containerState(engine.store, record).Pid === pid);
  if (sent) noteContainer(engine.store, record, 'kill', { signal: String(signal) });
  if (sent && signal === SIGKILL) thaw(engine.store, record.ID);
  return sent;
}

/** Sends `signal` to the container's first process.
 *  @throws ERR_TSBOX_CONFLICT when it does not run */
export function killContainer(engine: Engine, name: string, signal: number): void {
  const record = requireContainer(engine.store, name);
  if (!signalContainer(engine, record, signal)) {
    throw new TsboxError('ERR_TSBOX_CONFLICT', `cannot kill container: ${name}: container ${record.ID} is not running`);
  }
}

/** Asks with the stop signal, then kills. One that does not run is left alone.
 *  @param seconds how long to wait in between; -1 waits without end; the container's own timeout, else 10, when absent */
export async function stopContainer(engine: Engine, name: string, seconds?: number): Promise<void> {
  const record = requireContainer(engine.store, name);
  if (!containerState(engine.store, record).Running) return;
  const ended = waitContainer(engine, record.ID);
  signalContainer(engine, record, parseSignal(record.Config.StopSignal ?? SIGTERM));
  const timeout = seconds ?? record.Config.StopTimeout ?? DEFAULT_TIMEOUT;
  if (timeout < 0) {
    await ended;
    noteContainer(engine.store, record, 'stop');
    return;
  }
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, timeout * 1000, 'late');
  });
  const first = await Promise.race([ended, late]);
  clearTimeout(timer);
  if (first === 'late') signalContainer(engine, record, SIGKILL);
  await ended;
  noteContainer(engine.store, record, 'stop');
}
