/**
 * What Docker says about limits before it takes them: refuses what makes no sense, leaves out with a warning what the host cannot do.
 * Pure. The words are Docker's.
 */
import { TsboxError } from '../errors.ts';
import type { LimitSupport } from '../spec/host.ts';
import type { Resources } from '../spec/resources.ts';

type Limits = Partial<Resources>;

export interface CheckedLimits {
  resources: Limits;
  warnings: string[];
}

const LEAST_MEMORY = 6 * 1024 * 1024;

const refusal = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);
const set = (value: number | null | undefined): value is number => (value ?? 0) !== 0;
const above = (value: number | null | undefined): number => Math.max(value ?? 0, 0);

/** What was asked for as far as this host can do it. @param update an update may leave out what the container has already
 *  @throws ERR_TSBOX_USAGE on a value or a combination that Docker refuses */
export function checkLimits(asked: Limits, host: LimitSupport, update: boolean): CheckedLimits {
  const resources = { ...asked };
  const warnings: string[] = [];
  checkMemory(resources, host, update, warnings);
  checkOomAndPids(resources, host, warnings);
  checkCpu(resources, host, warnings);
  checkCpuset(resources, host, warnings);
  checkBlock(resources, host, warnings);
  return { resources, warnings };
}

/** As Docker does once all is checked: swap that nobody spoke of is as much as the memory. */
export function withDefaultSwap(resources: Limits): Limits {
  if (above(resources.Memory) === 0 || set(resources.MemorySwap)) return resources;
  return { ...resources, MemorySwap: resources.Memory! * 2 };
}

function checkMemory(limits: Limits, host: LimitSupport, update: boolean, warnings: string[]): void {
  const unsupported = (what: string, then: string) =>
    warnings.push(`Your kernel does not support ${what} or the cgroup is not mounted. ${then}`);
  if (set(limits.Memory) && limits.Memory < LEAST_MEMORY) throw refusal('Minimum memory limit allowed is 6MB');
  if (above(limits.Memory) > 0 && !host.memory) {
    unsupported('memory limit capabilities', 'Limitation discarded.');
    delete limits.Memory;
    limits.MemorySwap = -1;
  }
  if (above(limits.Memory) > 0 && limits.MemorySwap !== -1 && !host.swap) {
    unsupported('swap limit capabilities', 'Memory limited without swap.');
    limits.MemorySwap = -1;
  }
  const { Memory: memory = 0, MemorySwap: swap = 0 } = limits;
  if (memory > 0 && swap > 0 && swap < memory) {
    throw refusal('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (memory === 0 && swap > 0 && !update) {
    throw refusal('You should always set the Memory limit when using Memoryswap limit, see usage');
  }
  if (limits.MemorySwappiness === -1) limits.MemorySwappiness = null;
  if ((limits.MemorySwappiness ?? undefined) !== undefined && !host.swappiness) {
    unsupported('memory swappiness capabilities', 'Memory swappiness discarded.');
    limits.MemorySwappiness = null;
  }
  if (above(limits.MemoryReservation) > 0 && !host.reservation) {
    unsupported('memory soft limit capabilities', 'Limitation discarded.');
    delete limits.MemoryReservation;
  }
  const reservation = above(limits.MemoryReservation);
  if (reservation > 0 && reservation < LEAST_MEMORY) throw refusal('Minimum memory reservation allowed is 6MB');
  if (memory > 0 && reservation > memory) {
    throw refusal('Minimum memory limit can not be less than memory reservation limit, see usage');
  }
}

function checkOomAndPids(limits: Limits, host: LimitSupport, warnings: string[]): void {
  if (limits.OomKillDisable === true && !host.oomKillDisable) {
    warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.');
    limits.OomKillDisable = null;
  }
  if (limits.OomKillDisable === true && above(limits.Memory) === 0) {
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  }
  if ((limits.PidsLimit ?? undefined) !== undefined && !host.pids) {
    if (above(limits.PidsLimit) > 0) {
      warnings.push(
        'Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.',
      );
    }
    limits.PidsLimit = null;
  }
}

function checkCpu(limits: Limits, host: LimitSupport, warnings: string[]): void {
  const { NanoCpus: nano = 0 } = limits;
  if (nano > 0 && above(limits.CpuPeriod) > 0) {
    throw refusal('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  }
  if (nano > 0 && above(limits.CpuQuota) > 0) {
    throw refusal('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  }
  if (nano > 0 && !host.quota) {
    throw refusal(
      'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    );
  }
  const { processors } = host;
  if (nano < 0 || nano > processors * 1e9) {
    throw refusal(`Range of CPUs is from 0.01 to ${processors}.00, as there are only ${processors} CPUs available`);
  }
  if (above(limits.CpuShares) > 0 && !host.shares) {
    warnings.push('Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.');
    delete limits.CpuShares;
  }
  if ((set(limits.CpuPeriod) || set(limits.CpuQuota)) && !host.quota) {
    warnings.push('Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.');
    delete limits.CpuPeriod;
    delete limits.CpuQuota;
  }
  if (set(limits.CpuPeriod) && (limits.CpuPeriod < 1000 || limits.CpuPeriod > 1_000_000)) {
    throw refusal('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  }
  if (above(limits.CpuQuota) > 0 && above(limits.CpuQuota) < 1000) {
    throw refusal('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  }
}

/** `0-2,5` as numbers. @returns undefined when it is no such list */
export function parseCpuList(list: string): Set<number> | undefined {
  const found = new Set<number>();
  for (const part of list.split(',').filter((one) => one !== '')) {
    const [, first = '', last = first] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    if (first === '' || Number(last) < Number(first)) return undefined;
    for (let one = Number(first); one <= Number(last); one++) found.add(one);
  }
  return found;
}

function checkList(asked: string, available: string, name: string, what: string): void {
  if (asked === '') return;
  const wanted = parseCpuList(asked);
  if (wanted === undefined) throw refusal(`Invalid value ${asked} for cpuset ${name}: invalid format: ${asked}`);
  const has = parseCpuList(available) ?? new Set<number>();
  if ([...wanted].some((one) => !has.has(one))) {
    throw refusal(`Requested ${what} are not available - requested ${asked}, available: ${available}`);
  }
}

function checkCpuset(limits: Limits, host: LimitSupport, warnings: string[]): void {
  const { CpusetCpus: cpus = '', CpusetMems: mems = '' } = limits;
  if ((cpus !== '' || mems !== '') && !host.cpuset) {
    warnings.push('Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.');
    delete limits.CpusetCpus;
    delete limits.CpusetMems;
    return;
  }
  checkList(cpus, host.cpus, 'cpus', 'CPUs');
  checkList(mems, host.mems, 'mems', 'memory nodes');
}

const THROTTLES = [
  ['BlkioDeviceReadBps', 'BPS Block I/O read limit', 'Block I/O BPS read limit discarded.'],
  ['BlkioDeviceWriteBps', 'BPS Block I/O write limit', 'Block I/O BPS write limit discarded.'],
  ['BlkioDeviceReadIOps', 'IOPS Block read limit', 'Block I/O IOPS read limit discarded.'],
  ['BlkioDeviceWriteIOps', 'IOPS Block write limit', 'Block I/O IOPS write limit discarded.'],
] as const;

function checkBlock(limits: Limits, host: LimitSupport, warnings: string[]): void {
  const unsupported = (what: string, then: string) =>
    warnings.push(`Your kernel does not support ${what} or the cgroup is not mounted. ${then}`);
  const weight = above(limits.BlkioWeight);
  if (weight > 0 && !host.weight) {
    unsupported('Block I/O weight', 'Weight discarded.');
    delete limits.BlkioWeight;
  } else if (weight > 0 && (weight < 10 || weight > 1000)) {
    throw refusal('Range of blkio weight is from 10 to 1000');
  }
  if ((limits.BlkioWeightDevice ?? []).length > 0 && !host.weightDevice) {
    unsupported('Block I/O weight_device', 'Weight-device discarded.');
    delete limits.BlkioWeightDevice;
  }
  for (const [field, what, then] of THROTTLES) {
    if ((limits[field] ?? []).length === 0 || host.throttle) continue;
    unsupported(what, then);
    delete limits[field];
  }
}
