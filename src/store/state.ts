/**
 * What a container is doing. Nobody but its monitor knows, so this is put together from what the monitor leaves:
 * `<run-root>/<id>/state.json` from the start to the end, `<run-root>/<id>/lock` locked while the monitor lives, and
 * `containers/<id>/exit.json` at the end, or `<run-root>/<id>.exit` where the disk does not take it; the record's `State` is what was folded in last. A monitor that died without a word (SIGKILL,
 * a reboot) leaves a state.json, or a record that says "running", with no lock held.
 *
 * Between two runs by a restart policy there is no state.json either: successor.ts says that the monitor is followed by somebody who
 * will start the container again, and the lock, which he has inherited, that he is there. See engine/after-exit.ts.
 */
import { existsSync, readdirSync } from 'node:fs';
import {
  type ContainerRecord,
  type ContainerState,
  type ExitRecord,
  NEVER,
  type RunRecord,
} from '../spec/container.ts';
import { isLocked, tryLock } from '../sys/lock.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { saveContainer } from './change-container.ts';
import { readContainer } from './containers.ts';
import { noteContainer } from './events.ts';
import { attempt, readIntact, readObject } from './io.ts';
import {
  containerDirectory,
  exitRecord,
  isHexId,
  memoryEventsFile,
  runDirectory,
  type Store,
  stoppedFile,
} from './store.ts';
import { isFollowed, isSuccessionAsked } from './successor.ts';

/** 128 + SIGKILL: what a shell would say of a process whose end nobody saw. */
export const DIED = { ExitCode: 137, Error: 'monitor died' } as const;

/** The monitor's word on the running process, if there is one. */
export function readRun(store: Store, id: string): RunRecord | undefined {
  const value = readObject(`${runDirectory(store, id)}/state.json`);
  if (typeof value?.['Pid'] !== 'number' || typeof value['StartedAt'] !== 'string') return undefined;
  return { Pid: value['Pid'], Monitor: Number(value['Monitor'] ?? 0), StartedAt: value['StartedAt'] };
}

/** The monitor's last word, if it is not folded into the record yet. */
export function readExit(store: Store, id: string, isLikely = false): ExitRecord | undefined {
  const { first, kept } = exitRecord(store, id);
  const value = readObject(kept, isLikely) ?? readObject(first);
  if (typeof value?.['ExitCode'] !== 'number' || typeof value['FinishedAt'] !== 'string') return undefined;
  return { Pid: Number(value['Pid'] ?? 0), ExitCode: value['ExitCode'], FinishedAt: value['FinishedAt'] };
}

/** Has the kernel killed one of its processes for want of memory? By what the monitor kept of the cgroup: `memory.events` of version 2,
 *  `memory.oom_control` of version 1; both have a line `oom_kill`. */
function wasOomKilled(store: Store, id: string): boolean {
  const count = /^oom_kill (\d+)$/m.exec(readIntact(memoryEventsFile(store, id)) ?? '')?.[1];
  return Number(count ?? 0) > 0;
}

/** Does the container's monitor live? */
export function monitorLives(store: Store, id: string): boolean {
  return isLocked(`${runDirectory(store, id)}/lock`, 'shared');
}

function running(store: Store, last: ContainerState, id: string, run: RunRecord): ContainerState {
  const paused = existsSync(`${runDirectory(store, id)}/paused`);
  return {
    ...last,
    Status: paused ? 'paused' : 'running',
    Running: true,
    Paused: paused,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: run.Pid,
    ExitCode: 0,
    Error: '',
    StartedAt: run.StartedAt,
    FinishedAt: NEVER,
  };
}

export function ended(
  last: ContainerState,
  how: Pick<ContainerState, 'ExitCode' | 'Error' | 'StartedAt' | 'FinishedAt' | 'OOMKilled'>,
): ContainerState {
  return { ...last, ...how, Status: 'exited', Running: false, Paused: false, Restarting: false, Pid: 0 };
}

/** As Docker: between two runs it counts as running. */
export function restarting(state: ContainerState): ContainerState {
  return { ...state, Status: 'restarting', Running: true, Paused: false, Restarting: true, Pid: 0 };
}

/** Will the monitor's successor start it again? */
function isSucceeded(store: Store, id: string): boolean {
  return (isFollowed(store, id) || isSuccessionAsked(store, id)) && monitorLives(store, id);
}

/** A container's state at this moment.
 *  @param held whether the caller holds the container's lock; else somebody who holds it may be about to start it again
 *  @param now the time that is given as the end of a container whose monitor died unseen */
export function containerState(
  store: Store,
  record: Pick<ContainerRecord, 'ID' | 'State'>,
  held = false,
  now = new Date(),
): ContainerState {
  const { ID: id, State: last } = record;
  // In this order: the monitor leaves exit.json before it lets go of its lock and takes state.json away.
  const run = readRun(store, id);
  if (run !== undefined && monitorLives(store, id)) return running(store, last, id, run);
  const exit = readExit(store, id);
  const StartedAt = run?.StartedAt ?? last.StartedAt;
  if (exit !== undefined && !isOlder(exit, run)) {
    const { ExitCode, FinishedAt } = exit;
    const state = ended(last, { ExitCode, Error: '', StartedAt, FinishedAt, OOMKilled: wasOomKilled(store, id) });
    return isSucceeded(store, id) ? restarting(state) : state;
  }
  if (run === undefined && last.Restarting) {
    const goesOn = isSucceeded(store, id) || (!held && isLocked(containerDirectory(store, id)));
    return goesOn ? restarting(last) : ended(last, { ...last });
  }
  if (run === undefined && !last.Running) return last;
  // A damaged state.json: the record knows as much.
  if (existsSync(`${runDirectory(store, id)}/state.json`) && monitorLives(store, id)) {
    return running(store, last, id, { Pid: last.Pid, Monitor: 0, StartedAt: last.StartedAt });
  }
  return ended(last, { ...DIED, StartedAt, FinishedAt: now.toISOString(), OOMKilled: false });
}

/** Has somebody ended its last run, and not the process itself? */
export function wasStopped(store: Store, record: Pick<ContainerRecord, 'ID' | 'HasBeenManuallyStopped'>): boolean {
  return record.HasBeenManuallyStopped === true || existsSync(stoppedFile(store, record.ID));
}

/** May the last run of a container that does not run have left something? Its run directory is there, or has gone, by the monitor's host
 *  or somebody's hand, and nobody saw its end. */
export function mayHaveLeft(store: Store, id: string, last: Pick<ContainerState, 'Error'>): boolean {
  return existsSync(runDirectory(store, id)) || last.Error === DIED.Error;
}

/** Ids of the containers that have a directory in the run root: they run, or are about to, or have lost their monitor. */
export function runIds(store: Store): Set<string> {
  const elsewhere = (store.otherRunRoots ?? []).flatMap(namesInOther);
  return new Set([...readdirSync(store.runRoot), ...elsewhere].filter(isHexId));
}

/** Another run root may be somebody else's, or gone a moment ago: then nothing is known of it. */
function namesInOther(root: string): string[] {
  try {
    return readdirSync(root);
  } catch {
    return [];
  }
}

/** {@link containerState} of a container without a run directory, by one file or two; for lists of a thousand. Without `OOMKilled`, which
 *  takes one more. Undefined where that does not tell all. */
export function stateAtRest(
  store: Store,
  { ID: id, State: last }: Pick<ContainerRecord, 'ID' | 'State'>,
): Rest | undefined {
  const exit = readExit(store, id, last.Running);
  if (exit !== undefined) {
    const { ExitCode, FinishedAt } = exit;
    return ended(last, { ExitCode, Error: '', StartedAt: last.StartedAt, FinishedAt, OOMKilled: false });
  }
  return last.Running ? undefined : last;
}

type Rest = Omit<ContainerState, 'OOMKilled'>;

/** Is this the end of an earlier run? Its process tells, for a clock may have been set back meanwhile. */
function isOlder(exit: ExitRecord, run: RunRecord | undefined): boolean {
  if (run === undefined || exit.Pid === run.Pid) return false;
  return Date.parse(exit.FinishedAt) < Date.parse(run.StartedAt);
}

/** Writes the state of a container that has ended into its record and takes away what the monitor left, so that the next start begins
 *  afresh. One that runs, was never started, or is locked by somebody who is changing it, is left alone.
 *  @returns the record with the state of this moment @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_DAMAGED */
export function foldState(store: Store, id: string): ContainerRecord {
  const seen = readContainer(store, id);
  const held = tryLock(containerDirectory(store, id));
  if (held === undefined) return { ...seen, State: containerState(store, seen) };
  try {
    return foldHeld(store, id);
  } finally {
    held.release();
  }
}

/** {@link foldState} for who holds the container's lock. */
export function foldHeld(store: Store, id: string): ContainerRecord {
  const record = readContainer(store, id);
  const state = containerState(store, record, true);
  const folded = { ...record, State: state, HasBeenManuallyStopped: wasStopped(store, record) };
  const { first, kept } = exitRecord(store, id);
  const isPending = existsSync(kept) || existsSync(first) || readRun(store, id) !== undefined || record.State.Running;
  if (state.Running || !isPending) return folded;
  saveFolded(store, folded);
  // Its monitor could not tell it any more.
  if (state.Error === DIED.Error) noteContainer(store, folded, 'die', { exitCode: String(state.ExitCode) });
  return folded;
}

/** Writes a state that was put together into the record, and takes away what it was put together from. */
export function saveFolded(store: Store, record: ContainerRecord): void {
  saveContainer(store, record);
  const { first, kept } = exitRecord(store, record.ID);
  for (const file of [kept, first, memoryEventsFile(store, record.ID), stoppedFile(store, record.ID)])
    attempt(`remove ${file}`, () => removeWholeTree(file));
  for (const file of ['state.json', 'paused']) removeWholeTree(`${runDirectory(store, record.ID)}/${file}`);
}
