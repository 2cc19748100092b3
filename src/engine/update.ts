/** Other limits for a container, running or not: kept for its next start, and at once in the cgroups of one that runs. */
import { TsboxError, wrapError } from '../errors.ts';
import { cgroupUpdate } from '../plan/cgroup.ts';
import { interpret } from '../runtime/interpret.ts';
import type { HostConfig } from '../spec/container.ts';
import type { HostFacts } from '../spec/host.ts';
import type { Resources } from '../spec/resources.ts';
import { saveHostConfig, withContainer } from '../store/change-container.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { noteContainer } from '../store/events.ts';
import { containerState } from '../store/state.ts';
import { cgroupFacts, currentLimits } from '../sys/cgroup.ts';
import { deviceNumbers } from '../sys/node.ts';
import { hostFacts } from '../sys/probe.ts';
import { cgroupsPath, containerFacts, parentPath } from './cgroup-path.ts';
import { updateForHost } from './limits-host.ts';
import type { Engine } from './open.ts';
import { ociLimits } from './resources.ts';

type Limits = Partial<Resources>;

const above = (value: number | null | undefined) => (value ?? 0) > 0;
const refusal = (message: string) => new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: 1 });

/** What belongs together, because it is written together. */
const TOPICS: readonly (readonly (keyof Resources)[])[] = [
  ['Memory', 'MemorySwap', 'MemoryReservation'],
  ['NanoCpus', 'CpuPeriod', 'CpuQuota'],
  ['CpuShares'],
  ['CpusetCpus', 'CpusetMems'],
  ['PidsLimit'],
  ['BlkioWeight'],
];

/** What is asked for against what the container has, in Docker's words. */
function checkConflicts(asked: Limits, has: Limits): void {
  const conflict = (one: string, other: string) =>
    refusal(`Conflicting options: ${one} cannot be updated as ${other} has already been set`);
  if (above(asked.NanoCpus) && above(has.CpuPeriod)) throw conflict('Nano CPUs', 'CPU Period');
  if (above(asked.NanoCpus) && above(has.CpuQuota)) throw conflict('Nano CPUs', 'CPU Quota');
  if (above(asked.CpuPeriod) && above(has.NanoCpus)) throw conflict('CPU Period', 'NanoCPUs');
  if (above(asked.CpuQuota) && above(has.NanoCpus)) throw conflict('CPU Quota', 'NanoCPUs');
  const { Memory: memory = 0, MemorySwap: swap = 0 } = asked;
  if (memory !== 0 && memory > (has.MemorySwap ?? 0) && swap === 0) {
    throw refusal(
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    );
  }
}

/** Zero and the empty text leave a limit as it is. A number of processes below zero is none, which Docker keeps as zero. */
function given(asked: Limits): Limits {
  const changed = Object.entries(asked).filter(([, value]) => value !== 0 && value !== '');
  return Object.fromEntries(
    changed.map(([name, value]) => (name === 'PidsLimit' ? [name, above(value as number) ? value : 0] : [name, value])),
  );
}

function applyToRunning(id: string, facts: HostFacts, hostConfig: HostConfig, changed: Limits): void {
  const topics = TOPICS.filter((topic) => topic.some((field) => changed[field] !== undefined)).flat();
  const limits = Object.fromEntries(topics.map((field) => [field, hostConfig[field]]));
  const path = cgroupsPath(id, hostConfig.CgroupParent);
  const place = { ...facts, cgroup: cgroupFacts(facts, parentPath(hostConfig.CgroupParent)) };
  const resources = ociLimits(limits, deviceNumbers);
  interpret(cgroupUpdate(path, place, resources, currentLimits(facts, path)));
}

/** @returns warnings about what this host cannot limit
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_USAGE, ERR_TSBOX_CONFLICT, SyscallError when the kernel refuses; then nothing is kept */
export function updateContainer(engine: Engine, name: string, asked: Limits): string[] {
  const { store } = engine;
  const record = requireContainer(store, name);
  const id = record.ID;
  const facts = containerState(store, record).Running ? containerFacts(store, id) : hostFacts();
  const parent = readHostConfig(store, id).CgroupParent;
  const { resources, warnings } = updateForHost(asked, parent, facts);
  const changed = given(resources);
  withContainer(store, id, () => {
    const before = readHostConfig(store, id);
    const hostConfig = { ...before, ...changed };
    try {
      checkConflicts(changed, before);
      if (containerState(store, requireContainer(store, id)).Running) {
        applyToRunning(id, containerFacts(store, id), hostConfig, changed);
      }
    } catch (error) {
      throw wrapError(`Cannot update container ${id}`, error);
    }
    saveHostConfig(store, id, hostConfig);
  });
  noteContainer(store, record, 'update');
  return warnings;
}
