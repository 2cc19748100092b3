/** One probe of a container's health, by the program that its monitor starts for that. */
import type { ContainerState, Health, HealthResult } from '../spec/container.ts';
import { withContainer } from '../store/change-container.ts';
import { readContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { readHealth, saveHealth } from '../store/health.ts';
import { containerState } from '../store/state.ts';
import { sendSignal } from '../sys/pidfd.ts';
import { processAge } from '../sys/process-age.ts';
import { execContainer } from './exec.ts';
import { afterProbe, type Probe, probeOf } from './health.ts';
import type { Engine } from './open.ts';

const SIGKILL = 9;
const OUTPUT_MOST = 4096;
/** Of one that did not come to an exit code. */
const NONE = -1;

/** As Go writes a duration: `1.5s`. */
const seconds = (milliseconds: number) => (milliseconds < 1000 ? `${milliseconds}ms` : `${milliseconds / 1000}s`);

function collect(chunks: Buffer[]): string {
  const bytes = Buffer.concat(chunks);
  return bytes.length > OUTPUT_MOST ? `${bytes.subarray(0, OUTPUT_MOST).toString('utf8')}...` : bytes.toString('utf8');
}

/** Runs the command in the container. @returns its exit code and output; never throws */
async function ask(
  engine: Engine,
  id: string,
  { command, timeout }: Probe,
): Promise<Omit<HealthResult, 'Start' | 'End'>> {
  const chunks: Buffer[] = [];
  let length = 0;
  let timer: NodeJS.Timeout | undefined;
  try {
    const session = await execContainer(engine, {
      container: id,
      command,
      env: [],
      tty: false,
      openStdin: false,
      detach: false,
    });
    session.output((_, data) => {
      if (length <= OUTPUT_MOST) chunks.push(data);
      length += data.length;
      return true;
    });
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, timeout, undefined);
    });
    const status = await Promise.race([session.exited, late]);
    if (status !== undefined) return { ExitCode: status.code, Output: collect(chunks) };
    sendSignal(session.pid(), SIGKILL, () => true);
    session.detach();
    return { ExitCode: NONE, Output: `Health check exceeded timeout (${seconds(timeout)})` };
  } catch (error) {
    return { ExitCode: NONE, Output: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

/** The run that was probed still goes on? What comes after its end says nothing. */
const isSame = (now: ContainerState, probed: ContainerState) => now.Running && now.Pid === probed.Pid;

/** Probes once and keeps what was found. One that does not run, stands still or has no check is left alone.
 *  @returns whether its health is known by now */
export async function probeContainer(engine: Engine, id: string): Promise<boolean> {
  const { store } = engine;
  const record = readContainer(store, id);
  const state = containerState(store, record);
  const check = record.Config.Healthcheck;
  const probe = probeOf(check);
  if (check === undefined || probe === undefined || state.Status !== 'running') return false;
  const age = processAge(state.Pid);
  if (age === undefined) return false;
  const Start = new Date().toISOString();
  const answer = await ask(engine, id, probe);
  const result = { Start, End: new Date().toISOString(), ...answer };
  const changed = withContainer(store, id, (): Health | undefined => {
    if (!isSame(containerState(store, readContainer(store, id), true), state)) return undefined;
    const before = readHealth(store, id);
    const health = afterProbe(before, result, check, age);
    saveHealth(store, id, health);
    return health.Status === before.Status ? undefined : health;
  });
  if (changed !== undefined) noteContainer(store, record, `health_status: ${changed.Status}`);
  return readHealth(store, id).Status !== 'starting';
}
