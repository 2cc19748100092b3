/**
 * What follows a container's end, by tsbox in its monitor's place: the same process, which has inherited the monitor's lock. Mostly that is
 * its restart policy. Killed at any moment it leaves a container that has ended: nobody holds the lock any more.
 * @see docs/monitor.md, What follows
 */
import { existsSync, fstatSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno, SyscallError, TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { saveContainer } from '../store/change-container.ts';
import { readContainer, readHostConfig } from '../store/containers.ts';
import { containerState, ended, foldHeld, readExit, restarting, saveFolded, wasStopped } from '../store/state.ts';
import { containerDirectory, runDirectory, type Store } from '../store/store.ts';
import { readFollowed, saveFollowed } from '../store/successor.ts';
import { builtFile } from '../sys/built-file.ts';
import { type Lock, lock } from '../sys/lock.ts';
import { execve } from '../sys/process.ts';
import { processAge } from '../sys/process-age.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { cleanUp } from './clean-up.ts';
import { releaseLeases } from './network-mode.ts';
import type { Engine } from './open.ts';
import { ownCommand } from './own-command.ts';
import { nextRestart } from './restart-policy.ts';

/** Where the monitor leaves its lock to us. */
const LOCK_FD = 3;

/** Has nobody started the container anew since the run whose end we follow? Then its lock is the one that we have. */
function isOurs(store: Store, id: string): boolean {
  try {
    const [held, there] = [fstatSync(LOCK_FD), statSync(`${runDirectory(store, id)}/lock`)];
    return held.ino === there.ino && held.dev === there.dev;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'EBADF')) return false;
    throw error;
  }
}

/** Runs `work` under the container's lock, unless the run is no longer ours to follow or the container is gone. */
async function following<T>(
  { store }: Engine,
  id: string,
  work: (held: Lock) => Promise<T> | T,
): Promise<T | undefined> {
  if (!existsSync(containerDirectory(store, id))) return undefined;
  try {
    const held = lock(containerDirectory(store, id));
    try {
      return isOurs(store, id) ? await work(held) : undefined;
    } finally {
      held.release();
    }
  } catch (error) {
    const gone = isErrno(error, 'ENOENT') || (error instanceof TsboxError && error.code === 'ERR_TSBOX_NOT_FOUND');
    if (gone && !existsSync(containerDirectory(store, id))) return undefined;
    throw error;
  }
}

/** The end of all runs: what the monitor would have done. */
async function finish(store: Store, id: string): Promise<void> {
  removeWholeTree(runDirectory(store, id));
  foldHeld(store, id);
  await releaseLeases(store);
}

/** Decides, and puts the decision on record. How long the run lasted is told by our own age, since we were its monitor: not by two times of
 *  day, for a clock may have been set in between. What cleaning up took counts too.
 *  @returns milliseconds until the next start; `finished` when there is none */
async function decide({ store }: Engine, id: string): Promise<number | 'finished'> {
  const record = readContainer(store, id);
  const exit = readExit(store, id);
  const succession = readFollowed(store, id);
  const delay =
    succession === undefined || exit === undefined
      ? undefined
      : nextRestart(readHostConfig(store, id), {
          exitCode: exit.ExitCode,
          ran: processAge(process.pid) ?? 0,
          restarts: record.RestartCount,
          manuallyStopped: wasStopped(store, record),
          delay: succession.Delay,
        });
  if (delay === undefined) {
    await finish(store, id);
    return 'finished';
  }
  saveFollowed(store, id, { Delay: delay, Pid: process.pid });
  const state = restarting(containerState(store, record, true));
  saveFolded(store, { ...record, RestartCount: record.RestartCount + 1, State: state });
  return delay;
}

/** As Docker: one that cannot be started is given up. */
async function startAgain(
  engine: Engine,
  record: ContainerRecord,
  held: Lock,
  delay: number,
): Promise<'finished' | undefined> {
  const { startLocked } = await import('./start.ts');
  const { State: before } = record;
  try {
    (await startLocked(engine, record, held, { stdin: false }, delay)).detach();
    return undefined;
  } catch (error) {
    const { ExitCode, Error: told } = record.State;
    const state = ended(before, { ...before, ExitCode, Error: told || String(error) });
    saveContainer(engine.store, { ...record, State: state });
    return 'finished';
  }
}

/** For a shorter pause it is not worth while to start Node a second time. */
const NODE_WAITS_MS = 300;

/** Waits in place of Node, which has 45 MB, as the executor, which has next to none, and comes back as another Node in {@link afterPause}.
 *  With the same pid and the same lock: whoever calls it off ends it. Returns when that cannot be done. */
function waitOutside(engine: Engine, id: string, delay: number): void {
  const executor = builtFile('tsbox-executor');
  if (executor === undefined) return;
  const then = ownCommand(engine.options, ['system', 'after-exit', id, String(delay)]);
  const env = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  try {
    execve(executor, [executor, '--after', String(delay), ...then], env, [LOCK_FD]);
  } catch (error) {
    // It is being replaced, say: then Node waits.
    if (!(error instanceof SyscallError)) throw error;
  }
}

/** To be called by a monitor's successor only: descriptor 3 is the lock of the run that has ended.
 *  @throws what reading and writing the container's files throws */
export async function afterExit(engine: Engine, id: string): Promise<void> {
  const { store } = engine;
  const what = await following(engine, id, async () => {
    if (!readHostConfig(store, id).AutoRemove) return decide(engine, id);
    if (readFollowed(store, id)?.Keep === true) {
      await cleanUp(engine, id);
      return undefined;
    }
    removeWholeTree(runDirectory(store, id));
    await releaseLeases(store);
    return 'remove';
  });
  if (what === 'remove') {
    const { removeContainer } = await import('./remove.ts');
    await removeContainer(engine, id, { force: false });
  }
  if (what === 'finished') await letGoOfVolumes(engine, id);
  if (typeof what !== 'number') return;
  if (what > NODE_WAITS_MS) waitOutside(engine, id, what);
  await sleep(what);
  await afterPause(engine, id, what);
}

/** What comes after the pause. @param delay which has passed, milliseconds */
export async function afterPause(engine: Engine, id: string, delay: number): Promise<void> {
  const { store } = engine;
  const then = await following(engine, id, async (held) => {
    const record = readContainer(store, id);
    // Called off meanwhile.
    if (record.State.Restarting && readFollowed(store, id) !== undefined)
      return startAgain(engine, record, held, delay);
    await finish(store, id);
    return 'finished';
  });
  if (then === 'finished') await letGoOfVolumes(engine, id);
}

async function letGoOfVolumes(engine: Engine, id: string): Promise<void> {
  const { unmountVolumes } = await import('./volume-use.ts');
  const { volumesOf } = await import('./volume-users.ts');
  await unmountVolumes(engine, volumesOf(readContainer(engine.store, id)), id);
}
