/** How healthy a container is, as its probes have found: `containers/<id>/health.json`. There only for one that has a health check. */
import type { ContainerRecord, ContainerState, Health, HealthResult } from '../spec/container.ts';
import type { Healthcheck } from '../spec/oci-image.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { attempt, isObject, readObject } from './io.ts';
import { containerDirectory, type Store } from './store.ts';

const healthFile = (store: Store, id: string) => `${containerDirectory(store, id)}/health.json`;

function isResult(value: unknown): value is HealthResult {
  if (!isObject(value)) return false;
  const { Start, End, ExitCode, Output } = value;
  return [Start, End, Output].every((field) => typeof field === 'string') && typeof ExitCode === 'number';
}

/** What the probes have left. A damaged file counts as none: the next probe writes it anew. */
export function readHealth(store: Store, id: string): Health {
  const { Status, FailingStreak, Log } = readObject(healthFile(store, id)) ?? {};
  return {
    Status: Status === 'healthy' || Status === 'unhealthy' ? Status : 'starting',
    FailingStreak: typeof FailingStreak === 'number' ? FailingStreak : 0,
    Log: Array.isArray(Log) ? Log.filter(isResult) : [],
  };
}

export function saveHealth(store: Store, id: string, health: Health): void {
  const path = healthFile(store, id);
  attempt(`write ${path}`, () => writeFileAtomic(path, JSON.stringify(health), { mode: 0o600 }));
}

/** For a start: nothing is known yet, earlier probes stay to be read. */
export function beginHealth(store: Store, id: string): void {
  saveHealth(store, id, { Status: 'starting', FailingStreak: 0, Log: readHealth(store, id).Log });
}

/** What a record says of probes. */
interface Probed {
  Config: { Healthcheck?: Healthcheck | undefined };
}

/** Is it probed? `NONE` turns the image's check off. */
export function isProbed({ Config }: Probed): boolean {
  const [kind] = Config.Healthcheck?.Test ?? [];
  return kind === 'CMD' || kind === 'CMD-SHELL';
}

/** undefined for one that has no check, or was never started. As Docker: one that does not run is unhealthy. */
export function healthOf(
  store: Store,
  record: Probed & Pick<ContainerRecord, 'ID'>,
  state: Omit<ContainerState, 'OOMKilled'>,
): Health | undefined {
  if (!isProbed(record) || state.Status === 'created') return undefined;
  const health = readHealth(store, record.ID);
  return state.Running && !state.Restarting ? health : { ...health, Status: 'unhealthy' };
}
