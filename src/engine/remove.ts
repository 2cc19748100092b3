/** Removes a container and all that belongs to it. */
import { existsSync, readFileSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import { cgroupCleanup, cgroupDirectories } from '../plan/cgroup.ts';
import type { Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import type { ContainerRecord, ContainerState, HostConfig } from '../spec/container.ts';
import { retireContainer } from '../store/change-container.ts';
import { findContainerId, readHostConfig, requireContainer } from '../store/containers.ts';
import { driverOf } from '../store/drivers/choose.ts';
import { noteContainer } from '../store/events.ts';
import { collectInPassing } from '../store/gc.ts';
import { readIntact, removeTree } from '../store/io.ts';
import { withStore } from '../store/lock.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { containerState, monitorLives, readRun } from '../store/state.ts';
import {
  containerDirectory,
  imageFile,
  mappedPlace,
  mountEntry,
  runDirectory,
  type Store,
  unionLock,
} from '../store/store.ts';
import { callOffSuccession, isSuccessionAsked } from '../store/successor.ts';
import { removeUnusedChain } from '../store/unused-layers.ts';
import { monotonicMs } from '../sys/clock.ts';
import { type Lock, lock } from '../sys/lock.ts';
import { sendSignal } from '../sys/pidfd.ts';
import { type ProcessStat, processStat } from '../sys/process-stat.ts';
import { containerCgroup, containerFacts } from './cgroup-path.ts';
import { thaw } from './freeze.ts';
import { mappedLeftovers } from './mapped-volumes.ts';
import { releaseLeases } from './network-mode.ts';
import type { Engine } from './open.ts';
import { openWork } from './removal.ts';
import { unionEnds } from './served.ts';
import { hasEnded, settle } from './settle.ts';
import { shmCleanup } from './shm.ts';
import { killContainer } from './stop.ts';
import { unmountVolumes } from './volume-use.ts';
import { anonymousVolumesOf, volumesOf } from './volume-users.ts';
import { releaseVolumes } from './volumes.ts';
import { waitContainer } from './wait.ts';

const SIGKILL = 9;
const PATIENCE_MS = 10_000;
const POLL_MS = 5;

async function killAndWait(engine: Engine, id: string, { Restarting }: ContainerState): Promise<void> {
  const ended = Restarting ? undefined : waitContainer(engine, id);
  try {
    killContainer(engine, id, SIGKILL);
  } catch (error) {
    if (!(error instanceof TsboxError && error.code === 'ERR_TSBOX_CONFLICT')) throw error;
  }
  await ended;
}

/** A container whose layers are gone or damaged has nothing mounted, and must be removable all the same. */
function umountSteps(engine: Engine, id: string): Step[] {
  try {
    const layer = rwLayer(engine.store, id);
    const driver = driverOf(engine.store, layer);
    const volatile: Step = {
      op: 'remove_tree',
      path: `${layer.work}/work/incompat`,
      why: 'a volatile overlay whose files were lost would be refused; these were not: the host has not stopped meanwhile',
      see: 'overlayfs.rst, Volatile mount',
      onError: { ENOENT: 'skip' },
    };
    if (process.geteuid?.() !== 0) {
      return [...driver.unplaceSteps(layer.mountId, unionLock(engine.store, id)), ...openWork(layer.work), volatile];
    }
    return [...driver.umountSteps(layer.mountId, mappedPlace(engine.store, id)), volatile];
  } catch (error) {
    const missing = error instanceof TsboxError && ['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_DAMAGED'].includes(error.code);
    if (missing) return [];
    throw error;
  }
}

/** Without those that our PID namespace does not see: the kernel lists them as 0, which for kill(2) is our own process group. */
function processesIn(directory: string): number[] {
  if (!existsSync(directory)) return []; // as a rule there is none: to catch an error for each would be slow
  try {
    return readFileSync(`${directory}/cgroup.procs`, 'utf8')
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0);
  } catch {
    return []; // no such cgroup
  }
}

/** The state of a process; of none that has ended. */
function statOf(pid: number): Partial<ProcessStat> {
  try {
    return processStat(pid);
  } catch {
    return {};
  }
}

function isMonitor(pid: number): boolean {
  const { name, state } = statOf(pid);
  return name === 'tsbox-executor' && state !== 'Z';
}

/** Kills what is left in the container's cgroups. A monitor that is killed takes the first process with it, but not one that has
 *  executed a setuid file since. One that lives, but whose run directory somebody has removed, cleans up when they end: that is waited
 *  for, or it would take away what comes next. @see prctl(2), PR_SET_PDEATHSIG */
async function killStragglers(store: Store, id: string, directories: readonly string[]): Promise<void> {
  const monitors = new Set<number>();
  for (const end = monotonicMs() + PATIENCE_MS; monotonicMs() < end; ) {
    const pids = new Set(directories.flatMap(processesIn));
    for (const monitor of monitors) if (!isMonitor(monitor)) monitors.delete(monitor);
    if (pids.size + monitors.size === 0) return;
    for (const pid of pids) {
      const { parent } = statOf(pid);
      if (parent !== undefined && isMonitor(parent)) monitors.add(parent);
      try {
        process.kill(pid, SIGKILL);
      } catch {
        // it has just ended
      }
    }
    thaw(store, id);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What a monitor that was killed could not clean up: processes, cgroups, mount, run directory. */
export async function cleanLeftovers(engine: Engine, id: string): Promise<void> {
  const [cgroup, facts] = [containerCgroup(engine.store, id), containerFacts(engine.store, id)];
  await killStragglers(engine.store, id, cgroupDirectories(cgroup, facts));
  if (process.geteuid?.() !== 0) await unionEnds(engine.store, id);
  interpret([
    ...cgroupCleanup(cgroup, facts),
    ...umountSteps(engine, id),
    ...mappedLeftovers(engine.store, id),
    ...shmCleanup(engine, id, { IpcMode: 'shareable' }),
    {
      op: 'remove_tree',
      path: runDirectory(engine.store, id),
      why: 'what only a running container has',
      onError: { ENOENT: 'skip' },
    },
  ]);
  await releaseLeases(engine.store);
}

interface Retired {
  /** What nobody finds any more, to be deleted. */
  waiting: string[];
  /** The uppermost layer of its image. */
  top: string | undefined;
}

/** Under the container's lock from the last look at it until nobody finds it any more: it is not started in between.
 *  @returns `gone`: one that was run with --rm is removed by its monitor. `running`: somebody has started it meanwhile. */
async function retire(engine: Engine, id: string): Promise<Retired | 'gone' | 'running'> {
  const { store } = engine;
  let held: Lock;
  try {
    held = lock(containerDirectory(store, id));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 'gone';
    throw error;
  }
  try {
    await settle(engine, id);
    // It has waited for who removed it: somebody with the lock, or its monitor.
    if (!existsSync(containerDirectory(store, id))) return 'gone';
    if (readRun(store, id) !== undefined && monitorLives(store, id)) return 'running';
    await cleanLeftovers(engine, id);
    const top = readIntact(`${mountEntry(store, id)}/parent`);
    return { waiting: retireContainer(store, id), top };
  } finally {
    held.release();
  }
}

/** Ends one of which only the monitor's own word can be read. */
async function endDamaged({ store }: Engine, id: string, force: boolean): Promise<void> {
  const run = readRun(store, id);
  if (run === undefined || !monitorLives(store, id)) return;
  if (!force) throw runs(id, { Status: 'running' });
  callOffSuccession(store, id);
  sendSignal(run.Pid, SIGKILL, () => readRun(store, id)?.Pid === run.Pid && monitorLives(store, id));
  thaw(store, id);
  for (const end = monotonicMs() + PATIENCE_MS; monotonicMs() < end && monitorLives(store, id); )
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

/** What is on record of it, or only the id of a container whose files cannot be read: such a one must be removable. */
function readOrDamaged(store: Store, name: string): { record: ContainerRecord; hostConfig: HostConfig } | string {
  try {
    const record = requireContainer(store, name);
    return { record, hostConfig: readHostConfig(store, record.ID) };
  } catch (error) {
    const damaged = error instanceof TsboxError && error.code === 'ERR_TSBOX_DAMAGED';
    const id = damaged ? findContainerId(store, name) : undefined;
    if (id === undefined) throw error;
    return id;
  }
}

/** The container's files, its image's layers when it was the last to use them, and what clients that were killed have left in the
 *  store. */
function removeFiles(store: Store, { waiting, top }: Retired, remove: (path: string) => void, image?: string): void {
  waiting.forEach(removeTree);
  try {
    if (image === undefined || !existsSync(imageFile(store, image))) {
      withStore(store, (locked) => removeUnusedChain(locked, top)).waiting.forEach(remove);
    }
    collectInPassing(store, remove);
  } catch {
    // The container is removed; the next removal or prune tries again.
  }
}

function runs(id: string, { Status: how }: Pick<ContainerState, 'Status'>): TsboxError {
  return new TsboxError(
    'ERR_TSBOX_CONFLICT',
    // In Docker's words.
    `You cannot remove a ${how} container ${id}. ${how === 'paused' ? 'Unpause and then stop' : 'Stop'} the container before attempting removal or force remove`,
  );
}

/** Without its volumes, but those of a container that was run with --rm; with `volumes` those that nobody named go too.
 *  @param remove deletes what nothing refers to any more beside the container itself
 *  @throws ERR_TSBOX_CONFLICT when it runs and `force` is not given */
export async function removeContainer(
  engine: Engine,
  name: string,
  options: { force: boolean; volumes?: boolean },
  remove: (path: string) => void = removeTree,
): Promise<void> {
  const { store } = engine;
  const found = readOrDamaged(store, name);
  if (typeof found === 'string') {
    await endDamaged(engine, found, options.force);
    const retired = await retire(engine, found);
    if (typeof retired !== 'string') removeFiles(store, retired, remove);
    return;
  }
  const { record, hostConfig } = found;
  for (let waited = false; ; waited = true) {
    const state = containerState(store, record);
    // One that will be started again counts as running, and so does one that does not come to its end.
    const runsOn = state.Running && (waited || !hasEnded(state) || isSuccessionAsked(store, record.ID));
    if (runsOn && !options.force) throw runs(record.ID, state);
    if (runsOn) await killAndWait(engine, record.ID, state);
    const retired = await retire(engine, record.ID);
    if (retired === 'running') continue;
    if (retired === 'gone') return;
    const withVolumes = options.volumes === true || hostConfig.AutoRemove;
    removeFiles(store, retired, remove, record.Image);
    noteContainer(store, record, 'destroy');
    await unmountVolumes(engine, volumesOf(record));
    if (withVolumes) releaseVolumes(engine, anonymousVolumesOf(record));
    return;
  }
}
