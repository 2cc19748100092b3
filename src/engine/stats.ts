/** What containers use: two looks at the kernel's counts, a moment apart, make a percentage. */
import { TsboxError } from '../errors.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { findContainer, listContainers, readHostConfig, requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import { type Usage, usageOf } from '../sys/cgroup-usage.ts';
import { cgroupsPath, containerFacts } from './cgroup-path.ts';
import type { Engine } from './open.ts';

export interface Sample {
  id: string;
  /** Without the slash. */
  name: string;
  /** What the user called it; the id where all were asked for. */
  asked: string;
  /** Does it run, or wait to be started again? */
  running: boolean;
  /** Nanoseconds on a clock that never goes back. */
  at: bigint;
  /** Absent for a container that does not run. */
  usage?: Usage;
}

/** Processor time between two looks, in percent of one processor; 0 when there is nothing to compare. */
export function cpuPercent(before: Sample | undefined, now: Sample): number {
  if (before?.usage === undefined || now.usage === undefined || now.at <= before.at) return 0;
  const used = now.usage.cpu - before.usage.cpu;
  return used <= 0 ? 0 : (used / Number(now.at - before.at)) * 100;
}

function sampleOf(engine: Engine, record: ContainerRecord, asked: string): Sample {
  const at = process.hrtime.bigint();
  const state = containerState(engine.store, record);
  const sample: Sample = { id: record.ID, name: record.Name.slice(1), asked, at, running: state.Running };
  if (!state.Running || state.Restarting) return sample;
  const { CgroupParent, NetworkMode } = readHostConfig(engine.store, record.ID);
  const usage = usageOf(
    containerFacts(engine.store, record.ID),
    cgroupsPath(record.ID, CgroupParent),
    state.Pid,
    NetworkMode !== 'host',
  );
  return { ...sample, usage };
}

/** All those named must be there. @throws ERR_TSBOX_NOT_FOUND */
export function checkNames(engine: Engine, names: readonly string[]): void {
  for (const name of names) requireContainer(engine.store, name);
}

/** One look. Without names at those that run, or with `all` at every one; a container that is removed meanwhile is left out.
 *  @param onDamaged is told of each whose files cannot be read; the others are shown all the same */
export function sampleContainers(
  engine: Engine,
  names: readonly string[],
  all: boolean,
  onDamaged: (id: string, error: TsboxError) => void,
): Sample[] {
  const { store } = engine;
  const found: [ContainerRecord, string][] =
    names.length === 0
      ? listContainers(store, onDamaged).map((record) => [record, record.ID.slice(0, 12)])
      : names.flatMap((name) => {
          const record = findContainer(store, name);
          return record === undefined ? [] : [[record, name] as [ContainerRecord, string]];
        });
  return found.flatMap(([record, asked]) => {
    try {
      const sample = sampleOf(engine, record, asked);
      return all || names.length > 0 || sample.running ? [sample] : [];
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (error.code !== 'ERR_TSBOX_NOT_FOUND') onDamaged(record.ID, error);
      return [];
    }
  });
}
