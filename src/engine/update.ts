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
import type { Store } from '../store/store.ts';
import { askSuccession, callOffSuccession, isSuccessionAsked } from '../store/successor.ts';
import { cgroupFacts, currentLimits } from '../sys/cgroup.ts';
import { deviceNumbers } from '../sys/node.ts';
import { hostFacts } from '../sys/probe.ts';
import { cgroupsPath, containerFacts, parentPath } from './cgroup-path.ts';
import { updateForHost } from './limits-host.ts';
import type { Engine } from './open.ts';
import { ociLimits } from './resources.ts';
import { checkRestartPolicy, parseRestartPolicy, restarts } from './restart-policy.ts';
import { hasEnded } from './settle.ts';

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

/** Has it cgroups? Not between two runs. */
function runs(store: Store, id: string): boolean {
  const state = containerState(store, requireContainer(store, id));
  return !state.Restarting && !hasEnded(state);
}

/** Its cgroups go when it ends: then its next start takes the limits. */
function applyWhileItRuns(store: Store, id: string, hostConfig: HostConfig, changed: Limits): void {
  try {
    applyToRunning(id, containerFacts(store, id), hostConfig, changed);
  } catch (error) {
    if (runs(store, id)) throw error;
  }
}

/** Of one that runs: whether its end will be followed. One that is being stopped stays so. */
function followPolicy(store: Store, id: string, hostConfig: HostConfig): void {
  const record = requireContainer(store, id);
  const state = containerState(store, record, true);
  if (!state.Running || state.Restarting) return;
  if (!restarts(hostConfig)) callOffSuccession(store, id);
  else if (!isSuccessionAsked(store, id) && record.HasBeenManuallyStopped !== true)
    askSuccession(store, id, { Delay: 0 });
}

/** @param restart another restart policy
 *  @returns warnings about what this host cannot limit
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_USAGE, ERR_TSBOX_CONFLICT, SyscallError when the kernel refuses; then nothing is kept */
export function updateContainer(engine: Engine, name: string, asked: Limits, restart?: string): string[] {
  const { store } = engine;
  const record = requireContainer(store, name);
  const id = record.ID;
  const facts = runs(store, id) ? containerFacts(store, id) : hostFacts();
  const parent = readHostConfig(store, id).CgroupParent;
  const policy = restart === undefined ? undefined : parseRestartPolicy(restart);
  if (policy !== undefined) checkRestartPolicy(policy);
  const { resources, warnings } = updateForHost(asked, parent, facts);
  const changed = given(resources);
  withContainer(store, id, () => {
    const before = readHostConfig(store, id);
    const hostConfig = { ...before, ...changed, ...(policy !== undefined && { RestartPolicy: policy }) };
    try {
      if (policy !== undefined && restarts(hostConfig) && before.AutoRemove) {
        throw refusal('Restart policy cannot be updated because AutoRemove is enabled for the container');
      }
      checkConflicts(changed, before);
      if (runs(store, id)) applyWhileItRuns(store, id, hostConfig, changed);
    } catch (error) {
      throw wrapError(`Cannot update container ${id}`, error);
    }
    saveHostConfig(store, id, hostConfig);
    if (policy !== undefined && !before.AutoRemove) followPolicy(store, id, hostConfig);
  });
  noteContainer(store, record, 'update');
  return warnings;
}
