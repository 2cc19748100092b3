/** Starts a container that was created. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { Replay } from '../plan/replay.ts';
import { initList, type Plan, type Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import { launch } from '../runtime/launch.ts';
import type { StepDone } from '../runtime/session.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { lockContainer, saveContainer } from '../store/change-container.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { noteContainer, noteMounts } from '../store/events.ts';
import { beginHealth, isProbed } from '../store/health.ts';
import { noteRunRoot } from '../store/run-roots.ts';
import { containerState, foldHeld, mayHaveLeft, readRun } from '../store/state.ts';
import { exitRecord, memoryEventsFile, runDirectory, type Store } from '../store/store.ts';
import { askSuccession } from '../store/successor.ts';
import type { Lock } from '../sys/lock.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import type { Session, StartOptions, StepEvent } from './api.ts';
import { attachContainer, containerSession, noteResize } from './attach.ts';
import { cgroupsPath } from './cgroup-path.ts';
import { cleanUp } from './clean-up.ts';
import { type ContainerPlan, containerPlan } from './container-plan.ts';
import { namespaceFiles } from './namespaces.ts';
import { wantedNetworks } from './network-mode.ts';
import type { Engine } from './open.ts';
import { readyLayer } from './ready-layer.ts';
import { compileReplay, keepReplay, makeReplay } from './replay.ts';
import { restarts } from './restart-policy.ts';
import { hasEnded, settle } from './settle.ts';
import { phase } from './timing.ts';
import { letGoOfVolumes, type UsedVolumes, useVolumes } from './volume-use.ts';

const FAILED = 125;

/** Runs the setup list. */
function runSetup(plan: Plan, explain: StartOptions['explain']): void {
  const number = new Map(plan.setup.map((step, index) => [step, index + 1]));
  const onStep =
    explain === undefined
      ? undefined
      : ({ step, errno, ns }: { step: Step; errno: number; ns: number }) =>
          explain({ list: 'setup', number: number.get(step) ?? 0, depth: 0, step, errno, ns });
  interpret(plan.setup, onStep === undefined ? {} : { onStep });
}

/** After a start that stopped half-way. The executor has cleaned up already when it came so far; the error that led here is the one to
 *  tell. */
async function undo(engine: Engine, record: ContainerRecord, volumes: UsedVolumes | undefined): Promise<void> {
  const { ID: id } = record;
  volumes?.release();
  try {
    if (existsSync(runDirectory(engine.store, id))) await cleanUp(engine, id);
    await letGoOfVolumes(engine, record);
  } catch {
    // What cannot be taken away now is taken away by the next start or by `rm`.
  }
}

/** From the executor's report to the event that a reader is shown. */
function explainer(plan: Plan, explain: NonNullable<StartOptions['explain']>) {
  const names = new Map<readonly Step[], StepEvent['list']>([
    [plan.monitor, 'monitor'],
    [plan.cleanup, 'cleanup'],
    [initList(plan), 'init'],
  ]);
  const below = new Map<readonly Step[], StepEvent['list']>();
  for (const [list, name] of names) for (const step of list) if ('list' in step) below.set(step.list, name);
  return (list: readonly Step[], { index, errno, ns }: StepDone) => {
    const step = list[index];
    const name = names.get(list);
    const place = { list: name ?? below.get(list) ?? 'init', depth: name === undefined ? 1 : 0 };
    if (step !== undefined) explain({ ...place, number: index + 1, step, errno, ns });
  };
}

function recordStart(engine: Engine, record: ContainerRecord, pid: number, startedAt: string): void {
  record.HasBeenStartedBefore = true;
  record.HasBeenManuallyStopped = false;
  record.State = {
    ...record.State,
    Status: 'running',
    Running: true,
    Restarting: false,
    OOMKilled: false,
    Pid: pid,
    ExitCode: 0,
    Error: '',
    StartedAt: startedAt,
  };
  saveContainer(engine.store, record);
}

/** Docker's exit code of a container that could not be started, where its command is not to blame; tsbox itself ends with another. */
const UNSTARTED = 128;

function recordFailure(engine: Engine, record: ContainerRecord, error: unknown): void {
  const exitCode = error instanceof TsboxError ? (error.exitCode ?? FAILED) : FAILED;
  const message = error instanceof Error ? error.message : String(error);
  record.State = {
    ...record.State,
    Status: 'created',
    Running: false,
    Restarting: false,
    Pid: 0,
    ExitCode: exitCode === FAILED ? UNSTARTED : exitCode,
    Error: message,
  };
  saveContainer(engine.store, record);
  const { first, kept } = exitRecord(engine.store, record.ID);
  for (const file of [first, kept, memoryEventsFile(engine.store, record.ID)]) removeWholeTree(file);
}

/** The plan of an exec: what a command gets there is what the container's own process gets. That is not quite so with a terminal or a user
 *  namespace; there the first exec keeps one. */
function firstReplay(
  store: Store,
  record: ContainerRecord,
  hostConfig: HostConfig,
  { config, facts, seccomp, maps }: ContainerPlan,
): Replay | undefined {
  if (record.Config.Tty || maps !== undefined) return undefined;
  return compileReplay(store, record, {
    pid: 0,
    monitor: 0,
    process: config.process,
    ...(seccomp === undefined ? {} : { seccomp }),
    facts,
    cgroupsPath: cgroupsPath(record.ID, hostConfig.CgroupParent),
    namespaces: namespaceFiles(hostConfig),
  });
}

/** For who holds the container's lock and knows that it does not run.
 *  @param held that lock
 *  @param delay milliseconds for which its restart policy has held it back; 0 when somebody starts it */
export async function startLocked(
  engine: Engine,
  record: ContainerRecord,
  held: Lock,
  options: StartOptions,
  delay = 0,
): Promise<Session> {
  const { store } = engine;
  const hostConfig = readHostConfig(store, record.ID);
  let volumes: UsedVolumes | undefined;
  try {
    const layer = await readyLayer(store, record.ID, held);
    const size = options.size === undefined ? {} : { size: options.size };
    volumes = await useVolumes(engine, record);
    if (mayHaveLeft(store, record.ID, record.State)) await cleanUp(engine, record.ID);
    const run = runDirectory(store, record.ID);
    noteRunRoot(store);
    if (wantedNetworks(record, hostConfig).length > 0) mkdirSync(run, { recursive: true, mode: 0o700 });
    const since = new Date();
    const compiled = await containerPlan(engine, { record: volumes.record, hostConfig, layer, ...size });
    const { plan, config } = compiled;
    phase('plan');
    runSetup(plan, options.explain);
    writeFileSync(`${run}/config.json`, JSON.stringify(config, null, 2), { mode: 0o600 });
    // Before there is a process, whose end may come at once.
    if (restarts(hostConfig)) askSuccession(store, record.ID, { Delay: delay });
    if (isProbed(record)) beginHealth(store, record.ID);
    phase('setup');
    const trace = options.explain === undefined ? {} : { onStep: explainer(plan, options.explain) };
    const startedAt = new Date().toISOString();
    noteMounts(store, record);
    makeReplay(store, record.ID);
    // What cleans up after a failure lets go of the volumes, too, and would wait for us.
    const onFailure = () => volumes?.release();
    const launching = launch(plan, { planFile: `${run}/plan`, onFailure, ...trace });
    // While the executor is at work there is nothing else to do.
    const replay = firstReplay(store, record, hostConfig, compiled);
    const { client, pid } = await launching;
    if (options.stdin === false) client.want({ output: true, stdin: false });
    if (!hostConfig.AutoRemove) recordStart(engine, record, pid, startedAt);
    phase('launch');
    if (replay !== undefined) {
      const monitor = readRun(store, record.ID)?.Monitor ?? 0;
      const { capabilities } = compiled.facts;
      keepReplay(store, replay, { pid, monitor, root: layer.merged, capabilities, since, locked: true });
    }
    phase('replay');
    if (options.size !== undefined) noteResize(store, record, options.size);
    return containerSession(store, record, pid, client);
  } catch (error) {
    await undo(engine, record, volumes);
    if (!hostConfig.AutoRemove) recordFailure(engine, record, error);
    throw process.geteuid?.() === 0 ? error : (await import('./rootless.ts')).explained(error);
  } finally {
    volumes?.release();
  }
}

/** A container that was made with --rm is not kept when it does not start. */
async function removeUnstarted(engine: Engine, id: string): Promise<void> {
  try {
    if (!readHostConfig(engine.store, id).AutoRemove) return;
    const { removeContainer } = await import('./remove.ts');
    await removeContainer(engine, id, { force: false, volumes: true });
  } catch {
    // Gone already, by its monitor; or the error that led here is the one to tell.
  }
}

/** @returns undefined when it runs already, or waits to be started again */
async function startStopped(engine: Engine, ID: string, options: StartOptions): Promise<Session | undefined> {
  const held = lockContainer(engine.store, ID);
  let attempted = false;
  try {
    await settle(engine, ID);
    const record = foldHeld(engine.store, ID);
    if (record.State.Paused) {
      throw new TsboxError('ERR_TSBOX_CONFLICT', 'cannot start a paused container, try unpause instead', {
        exitCode: FAILED,
      });
    }
    if (record.State.Running) return undefined;
    attempted = true;
    record.RestartCount = 0;
    if (options.attach === true) noteContainer(engine.store, record, 'attach');
    return await startLocked(engine, record, held, options);
  } catch (error) {
    held.release();
    if (attempted) await removeUnstarted(engine, ID);
    throw error;
  } finally {
    held.release();
  }
}

/** Mounts, launches, and waits until the command runs. One that runs already is attached to.
 *  @throws TsboxError with an exit code of 125, 126 or 127; nothing of the attempt stays behind */
export async function startContainer(engine: Engine, name: string, options: StartOptions = {}): Promise<Session> {
  const { ID } = requireContainer(engine.store, name);
  for (;;) {
    const started = await startStopped(engine, ID, options);
    if (started !== undefined) return started;
    try {
      return await attachContainer(engine, ID, options);
    } catch (error) {
      // One that has ended since we looked is started.
      if (!hasEnded(containerState(engine.store, requireContainer(engine.store, ID)))) throw error;
    }
  }
}

/** As {@link startContainer}, for who does not stay. One that runs, or waits to be restarted, is left alone, as with Docker. */
export async function startDetached(engine: Engine, name: string, options: StartOptions = {}): Promise<void> {
  const record = requireContainer(engine.store, name);
  if (containerState(engine.store, record).Restarting) return;
  (await startStopped(engine, record.ID, { ...options, stdin: false }))?.detach();
}
