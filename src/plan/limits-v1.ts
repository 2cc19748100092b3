/** Limits in the words of version 1. Pure. @see cgroup-v1/memory.rst, scheduler/sched-bwc.rst, cgroup-v1/cpusets.rst, cgroup-v1/pids.rst,
 *  cgroup-v1/blkio-controller.rst */
import type { OciBlockIO, OciCpu, OciMemory, OciResources } from '../spec/oci-runtime.ts';
import type { CurrentLimits, LimitFile } from './limits.ts';

const MEMORY = { controller: 'memory', see: 'cgroup-v1/memory.rst' } as const;
const CPU = { controller: 'cpu', see: 'scheduler/sched-bwc.rst' } as const;
const CPUSET = { controller: 'cpuset', see: 'cpuset(7)' } as const;
const BLKIO = { controller: 'io', see: 'cgroup-v1/blkio-controller.rst' } as const;
const PIDS = { controller: 'pids', see: 'cgroup-v1/pids.rst' } as const;

/** What a version 1 cpuset is given when nothing was asked for is the matter of cgroup.ts. */
export function limitFilesV1(resources: OciResources, current: CurrentLimits = {}): LimitFile[] {
  const { memory, cpu, pids, blockIO } = resources;
  const files: LimitFile[] = [];
  if (memory !== undefined) files.push(...memoryFiles(memory, current));
  if (cpu !== undefined) files.push(...cpuFiles(cpu, current), ...cpusetFiles(cpu));
  if (pids !== undefined) {
    const data = pids.limit > 0 ? String(pids.limit) : 'max';
    files.push({ ...PIDS, file: 'pids.max', data, why: 'so many processes and threads, and no more' });
  }
  if (blockIO !== undefined) files.push(...blockFiles(blockIO));
  return files;
}

/** The limit without swap may never be above the one with swap: what is raised, is raised from the outside in. */
function memoryFiles(memory: OciMemory, current: CurrentLimits): LimitFile[] {
  const { limit, swap, reservation, swappiness, disableOOMKiller } = memory;
  const files: LimitFile[] = [];
  if (limit !== undefined) {
    const why = 'bytes of memory: who wants more is killed';
    files.push({ ...MEMORY, file: 'memory.limit_in_bytes', data: String(limit), why });
  }
  if (swap !== undefined) {
    const why = 'bytes of memory and swap together';
    const file: LimitFile = { ...MEMORY, file: 'memory.memsw.limit_in_bytes', data: String(swap), why };
    const isRaised = current.memory !== undefined && (swap === -1 || swap > current.memory);
    if (isRaised) files.unshift(file);
    else files.push(file);
  }
  if (reservation !== undefined) {
    const why = 'bytes that it is brought down to when memory is short';
    files.push({ ...MEMORY, file: 'memory.soft_limit_in_bytes', data: String(reservation), why });
  }
  if (disableOOMKiller === true) {
    files.push({ ...MEMORY, file: 'memory.oom_control', data: '1', why: 'out of memory nobody is killed: all wait' });
  }
  if (swappiness !== undefined) {
    const why = 'how readily its pages are swapped out, 0 to 100';
    files.push({ ...MEMORY, file: 'memory.swappiness', data: String(swappiness), why });
  }
  return files;
}

/** A group's share of its parent may not be exceeded in between either, so a longer period comes before a larger quota. */
function cpuFiles({ shares, period, quota }: OciCpu, current: CurrentLimits): LimitFile[] {
  const files: LimitFile[] = [];
  if (shares !== undefined) {
    const why = 'its share when others want the processors too; 1024 is usual';
    files.push({ ...CPU, file: 'cpu.shares', data: String(shares), why, see: 'scheduler/sched-design-CFS.rst' });
  }
  if (period !== undefined) {
    files.push({ ...CPU, file: 'cpu.cfs_period_us', data: String(period), why: 'microseconds that the quota is for' });
  }
  if (quota !== undefined) {
    const why = 'microseconds of processor time in each period';
    const file: LimitFile = { ...CPU, file: 'cpu.cfs_quota_us', data: String(quota), why };
    if (period !== undefined && current.period !== undefined && period < current.period) files.splice(-1, 0, file);
    else files.push(file);
  }
  return files;
}

export function cpusetFiles({ cpus, mems }: Pick<OciCpu, 'cpus' | 'mems'>): LimitFile[] {
  const files: LimitFile[] = [];
  if (cpus !== undefined) {
    files.push({ ...CPUSET, file: 'cpuset.cpus', data: cpus, why: 'the processors that it may run on' });
  }
  if (mems !== undefined) {
    files.push({ ...CPUSET, file: 'cpuset.mems', data: mems, why: 'the nodes that its memory comes from' });
  }
  return files;
}

const THROTTLES = [
  ['throttleReadBpsDevice', 'blkio.throttle.read_bps_device', 'bytes a second that are read from this device'],
  ['throttleWriteBpsDevice', 'blkio.throttle.write_bps_device', 'bytes a second that are written to this device'],
  ['throttleReadIOPSDevice', 'blkio.throttle.read_iops_device', 'reads a second from this device'],
  ['throttleWriteIOPSDevice', 'blkio.throttle.write_iops_device', 'writes a second to this device'],
] as const;

/** Weights are the scheduler's: kernels since 5.0 have them for BFQ alone. */
function blockFiles(block: OciBlockIO): LimitFile[] {
  const files: LimitFile[] = [];
  if (block.weight !== undefined) {
    const why = 'its share of devices whose scheduler is BFQ';
    files.push({ ...BLKIO, file: 'blkio.bfq.weight', data: String(block.weight), why });
  }
  for (const { major, minor, weight = 0 } of block.weightDevice ?? []) {
    const data = `${major}:${minor} ${weight === 0 ? 'default' : weight}`;
    files.push({ ...BLKIO, file: 'blkio.bfq.weight_device', data, why: 'its share of this device' });
  }
  for (const [field, file, why] of THROTTLES) {
    for (const { major, minor, rate } of block[field] ?? []) {
      files.push({ ...BLKIO, file, data: `${major}:${minor} ${rate}`, why });
    }
  }
  return files;
}
