/** A further process in a container that runs. */
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno, TsboxError } from '../errors.ts';
import { compileEnter, type EnterInput } from '../plan/enter.ts';
import type { Plan } from '../plan/step.ts';
import { encodePlan } from '../plan/wire.ts';
import { FAILED, startError } from '../runtime/failure.ts';
import { launch } from '../runtime/launch.ts';
import type { FailedStep } from '../runtime/session.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import type { OciProcess } from '../spec/oci-runtime.ts';
import { securityOptions } from '../spec/security-options.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { eventPlace, noteContainer } from '../store/events.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { containerState, readRun } from '../store/state.ts';
import { runDirectory, type Store } from '../store/store.ts';
import { monotonicMs } from '../sys/clock.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { mapsInUse } from '../sys/probe.ts';
import { AGE_STEP_MS, processAge } from '../sys/process-age.ts';
import { randomHex } from '../sys/random.ts';
import type { ExecRequest, Session } from './api.ts';
import { isRestarting, session } from './attach.ts';
import { cgroupsPath, checkEntrance, containerFacts } from './cgroup-path.ts';
import { lookUpUser } from './container-plan.ts';
import { processEnv } from './merge.ts';
import { namespaceFiles } from './namespaces.ts';
import { boundingSet, oomScore, processCapabilities, rlimits } from './oci.ts';
import type { Engine } from './open.ts';
import { compileReplay, keepReplay } from './replay.ts';
import { seccompFilter } from './seccomp.ts';
import { hasEnded } from './settle.ts';

function execProcess(
  engine: Engine,
  record: ContainerRecord,
  hostConfig: HostConfig,
  request: Asked,
  capabilities: readonly string[],
): OciProcess {
  const user = lookUpUser(
    rwLayer(engine.store, record.ID),
    request.user ?? record.Config.User,
    hostConfig.GroupAdd ?? [],
  );
  const { size } = request;
  const cwd = request.workdir || record.Config.WorkingDir || '/';
  if (!cwd.startsWith('/')) {
    throw new TsboxError(
      'ERR_TSBOX_USAGE',
      `the working directory '${cwd}' is invalid, it needs to be an absolute path`,
      {
        exitCode: 126,
      },
    );
  }
  return {
    terminal: request.tty,
    ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: [...request.command],
    env: processEnv(record.Config, user.home, request.env, request.tty),
    cwd,
    capabilities: processCapabilities(capabilities, user.uid),
    rlimits: rlimits(hostConfig),
    noNewPrivileges: securityOptions(hostConfig.SecurityOpt ?? []).noNewPrivileges,
    ...oomScore(hostConfig),
  };
}

/** Of a request: what its process is made of. */
type Asked = Omit<ExecRequest, 'container' | 'openStdin' | 'detach'>;

/** What a command gets in a container that runs, and what the plan is compiled from. */
interface Entrance {
  record: ContainerRecord;
  input: Omit<EnterInput, 'events' | 'stdin'>;
  /** That of a command which is given nothing of its own but a user. */
  plain(): Entrance['input'];
}

const isNotRunning = (id: string) =>
  new TsboxError('ERR_TSBOX_CONFLICT', `container ${id} is not running`, { exitCode: 1 });

/** How long an end takes to be seen by all. */
const ENDING_MS = 1000;

/** Steps fail in many ways when the container ends meanwhile: its processes and cgroups are gone, a PID namespace without its first process
 *  gives no more (ENOMEM), or ours is killed with the others. */
function mayBeEnd(error: unknown): boolean {
  if (['ESRCH', 'ENOENT', 'ENODEV', 'ENOMEM'].some((name) => isErrno(error, name))) return true;
  return error instanceof TsboxError && error.code === 'ERR_TSBOX_START' && error.exitCode === FAILED;
}

/** @param since when the command was asked for: by {@link monotonicMs}
 *  @throws always: that the container does not run, if that is why it failed; else the error */
async function toldAsEnd(engine: Engine, name: string, since: number, error: unknown): Promise<never> {
  if (!mayBeEnd(error)) throw error;
  for (const end = monotonicMs() + ENDING_MS; ; await sleep(10)) {
    const record = requireContainer(engine.store, name);
    const state = containerState(engine.store, record);
    if (state.Restarting) throw isRestarting(record.ID);
    if (hasEnded(state) || startedSince(state.Pid, since)) throw isNotRunning(record.ID);
    if (monotonicMs() > end) throw error;
  }
}

/** What was tried then was tried in an earlier run. */
function startedSince(pid: number, since: number): boolean {
  return (processAge(pid) ?? 0) < monotonicMs() - since - AGE_STEP_MS;
}

/** @throws ERR_TSBOX_CONFLICT when the container does not run */
async function entrance(engine: Engine, request: ExecRequest): Promise<Entrance> {
  const record = requireContainer(engine.store, request.container);
  const state = containerState(engine.store, record);
  if (!state.Running) throw isNotRunning(record.ID);
  if (state.Restarting) throw isRestarting(record.ID);
  if (state.Paused) {
    throw new TsboxError(
      'ERR_TSBOX_CONFLICT',
      `Container ${request.container} is paused, unpause the container before exec`,
      {
        exitCode: 1,
      },
    );
  }
  const hostConfig = readHostConfig(engine.store, record.ID);
  const facts = containerFacts(engine.store, record.ID);
  checkEntrance(facts, record.ID);
  const own = boundingSet(hostConfig, facts.capabilities);
  const seccomp = await seccompFilter(engine, hostConfig, facts, own);
  const maps = mapsInUse(state.Pid);
  const input = {
    pid: state.Pid,
    monitor: readRun(engine.store, record.ID)?.Monitor ?? 0,
    process: execProcess(engine, record, hostConfig, request, request.privileged === true ? facts.capabilities : own),
    ...(seccomp === undefined ? {} : { seccomp }),
    facts,
    cgroupsPath: cgroupsPath(record.ID, hostConfig.CgroupParent),
    namespaces: [...(maps === undefined ? [] : ['user' as const]), ...namespaceFiles(hostConfig)],
    ...(maps === undefined ? {} : { maps }),
  };
  const { user } = request;
  const nothing: Asked = { command: [], env: [], tty: false, ...(user !== undefined && { user }) };
  const plain = () => ({ ...input, process: execProcess(engine, record, hostConfig, nothing, own) });
  return { record, input, plain };
}

function execPlan(
  { record, input }: Entrance,
  store: Store,
  execID: string,
  request: Pick<ExecRequest, 'tty' | 'openStdin'>,
): Plan {
  return compileEnter({
    ...input,
    events: eventPlace(store, record, { execID }),
    ...(request.tty ? {} : { stdin: request.openStdin ? ('STDIN_ONCE' as const) : ('STDIN_NULL' as const) }),
  });
}

/** Would tsbox-replay take one like this? */
function isUsual({ user, privileged }: ExecRequest): boolean {
  return user !== '' && privileged !== true;
}

/** As a rule there was no plan that could have been used, or this would not be Node. */
function keepForNext({ store }: Engine, { record, plain }: Entrance, user: string | undefined, since: Date): void {
  const input = plain();
  const replay = compileReplay(store, record, input, user);
  if (replay === undefined) return;
  // Root of the host sees the tree where it is mounted, others only by a process in it.
  const root = isHostRoot() ? rwLayer(store, record.ID).merged : `/proc/${input.pid}/root`;
  const { pid, monitor } = input;
  keepReplay(store, replay, { pid, monitor, root, capabilities: input.facts.capabilities, since, locked: false });
}

/** Starts the command in the container's namespaces and cgroup, with its capabilities.
 *  @throws ERR_TSBOX_CONFLICT when the container does not run; exit codes 126 and 127 as for a container's own command */
export function execContainer(engine: Engine, request: ExecRequest): Promise<Session> {
  const since = monotonicMs();
  return startExec(engine, request).catch((error: unknown) => toldAsEnd(engine, request.container, since, error));
}

async function startExec(engine: Engine, request: ExecRequest): Promise<Session> {
  const since = new Date();
  const found = await entrance(engine, request);
  const { record } = found;
  const execID = randomHex(32);
  const plan = execPlan(found, engine.store, execID, request);
  const command = request.command.join(' ');
  noteContainer(engine.store, record, `exec_create: ${command}`, { execID });
  noteContainer(engine.store, record, `exec_start: ${command}`, { execID });
  const planFile = `${runDirectory(engine.store, record.ID)}/exec-${randomHex(6)}.plan`;
  try {
    const { client, pid } = await launch(plan, { planFile });
    if (isUsual(request)) keepForNext(engine, found, request.user, since);
    return session(record.ID, pid, client);
  } finally {
    rmSync(planFile, { force: true });
  }
}

/** For an exec whose steps this process has run, before it became Node: what to say of the one that failed.
 *  @throws always, as {@link execContainer} does */
export async function explainExec(engine: Engine, request: ExecRequest, failed: FailedStep): Promise<never> {
  const since = monotonicMs() - (processAge(process.pid) ?? 0);
  const plan = execPlan(await entrance(engine, request), engine.store, randomHex(32), request);
  return toldAsEnd(engine, request.container, since, startError(encodePlan(plan).lists, failed));
}
