/** Attach to a container that runs. */

import { TsboxError } from '../errors.ts';
import { connectMonitor, type MonitorClient } from '../runtime/session.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState } from '../store/state.ts';
import { runDirectory, type Store } from '../store/store.ts';
import type { Session, StartOptions } from './api.ts';
import type { Engine } from './open.ts';
import { hasEnded } from './settle.ts';
import { exitAfterLoss } from './wait.ts';

/** A monitor's client as the engine's callers see it. */
export function session(id: string, pid: number, client: MonitorClient): Session {
  return { ...client, id, pid: () => pid };
}

/** The same of a container's own process: that its window changes is an event. */
export function containerSession(store: Store, record: ContainerRecord, pid: number, client: MonitorClient): Session {
  return {
    ...session(record.ID, pid, client),
    // As with Docker, what was started with -d -i goes on reading when one of its clients has nothing more to say.
    ...(!record.Config.StdinOnce && { closeStdin: () => undefined }),
    resize(size) {
      client.resize(size);
      noteResize(store, record, size);
    },
  };
}

export function noteResize(store: Store, record: ContainerRecord, size: { rows: number; columns: number }): void {
  noteContainer(store, record, 'resize', { height: String(size.rows), width: String(size.columns) });
}

/** Of a container that waits to be started again. */
export function isRestarting(id: string): TsboxError {
  const message = `Container ${id} is restarting, wait until the container is running`;
  return new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: 1 });
}

/** One that comes while the monitor ends hears nothing of it: its exit code is the recorded one. Who has heard of the container has missed
 *  something when the connection is lost. */
function connect(engine: Engine, id: string, stdin: boolean): MonitorClient {
  let heard = false;
  const started = () => {
    heard = true;
  };
  const client = connectMonitor(runDirectory(engine.store, id), { output: true, stdin }, { started });
  const exited = client.exited.catch((error: unknown) => {
    if (heard) throw error;
    return exitAfterLoss(engine, id, error);
  });
  exited.catch(() => {}); // whoever awaits it hears of it
  return { ...client, exited };
}

function isStopped(): TsboxError {
  const message = 'You cannot attach to a stopped container, start it first';
  return new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: 1 });
}

/** @param options as for `startContainer`
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT when it does not run */
export async function attachContainer(
  engine: Engine,
  name: string,
  options: Pick<StartOptions, 'stdin' | 'attach'> = {},
): Promise<Session> {
  const record = requireContainer(engine.store, name);
  const state = containerState(engine.store, record);
  if (!state.Running) throw isStopped();
  if (state.Paused) {
    const message = 'You cannot attach to a paused container, unpause it first';
    throw new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: 1 });
  }
  if (state.Restarting) {
    const message = 'You cannot attach to a restarting container, wait until it is running';
    throw new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: 1 });
  }
  if (options.attach === true) noteContainer(engine.store, record, 'attach');
  const stdin = record.Config.OpenStdin && options.stdin !== false;
  try {
    const client = connect(engine, record.ID, stdin);
    return containerSession(engine.store, record, state.Pid, client);
  } catch (error) {
    throw hasEnded(containerState(engine.store, record)) ? isStopped() : error;
  }
}
