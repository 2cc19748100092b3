/** Limits in the words of version 2. Pure. @see cgroup-v2.rst, Controllers */
import { TsboxError } from '../errors.ts';
import type { OciBlockIO, OciCpu, OciMemory, OciResources } from '../spec/oci-runtime.ts';
import type { Controller, LimitFile } from './limits.ts';

const MEMORY = { controller: 'memory', see: 'cgroup-v2.rst, Memory' } as const;
const CPU = { controller: 'cpu', see: 'cgroup-v2.rst, CPU' } as const;
const CPUSET = { controller: 'cpuset', see: 'cgroup-v2.rst, Cpuset' } as const;
const IO = { controller: 'io', see: 'cgroup-v2.rst, IO' } as const;

const CONTROLLERS: readonly Controller[] = ['cpu', 'cpuset', 'io', 'memory', 'pids'];

/** cpu.weight for the shares of version 1, as runc and Docker count it: 2 is 1, 1024 is 39, 262144 is 10000. */
export function cpuWeight(shares: number): number {
  const within = Math.min(Math.max(shares, 2), 262144);
  return 1 + Math.floor(((within - 2) * 9999) / 262142);
}

/** io.weight for a weight of version 1: 10 is 1, 1000 is 10000. */
export function ioWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/** memory.swap.max is swap alone, what is asked for is memory and swap together.
 *  @throws ERR_TSBOX_USAGE for swap without a limit of memory, or with a larger one */
export function swapAlone(swap: number, limit: number | undefined): string {
  if (swap === -1) return 'max';
  if (limit === undefined || limit <= 0 || swap < limit) {
    const message =
      limit === undefined || limit <= 0 ? 'needs a limit of memory' : `is less than the limit of memory, ${limit}`;
    throw new TsboxError('ERR_TSBOX_USAGE', `limit memory and swap to ${swap}: ${message}`, { exitCode: 125 });
  }
  return String(swap - limit);
}

/** @param has files that the host's cgroups surely have beside the usual ones: with `io.bfq.weight` that takes the weight */
export function limitFilesV2(resources: OciResources, has: ReadonlySet<string>): LimitFile[] {
  const { memory, cpu, pids, blockIO, unified = {} } = resources;
  const files: LimitFile[] = [];
  if (memory !== undefined) files.push(...memoryFiles(memory));
  if (cpu !== undefined) files.push(...cpuFiles(cpu));
  if (pids !== undefined) {
    const data = pids.limit > 0 ? String(pids.limit) : 'max';
    const why = 'so many processes and threads, and no more';
    files.push({ controller: 'pids', file: 'pids.max', data, why, see: 'cgroup-v2.rst, PID' });
  }
  if (blockIO !== undefined) files.push(...blockFiles(blockIO, has));
  for (const [file, data] of Object.entries(unified)) files.push(unifiedFile(file, data));
  return files;
}

/** @throws ERR_TSBOX_SPEC when it is no file of a controller that can be limited */
function unifiedFile(file: string, data: string): LimitFile {
  const controller = CONTROLLERS.find((one) => file.startsWith(`${one}.`));
  if (controller === undefined || file.includes('/')) {
    throw new TsboxError('ERR_TSBOX_SPEC', `linux.resources.unified: ${file} is not a file of a controller`);
  }
  return { controller, file, data, why: 'a file of version 2 that was asked for by name', see: 'cgroup-v2.rst' };
}

const bytes = (value: number) => (value === -1 ? 'max' : String(value));

/** Swappiness and the OOM killer are not a group's own in version 2. */
function memoryFiles({ limit, swap, reservation }: OciMemory): LimitFile[] {
  const files: LimitFile[] = [];
  if (limit !== undefined) {
    files.push({ ...MEMORY, file: 'memory.max', data: bytes(limit), why: 'bytes of memory: who wants more is killed' });
  }
  if (swap !== undefined) {
    files.push({ ...MEMORY, file: 'memory.swap.max', data: swapAlone(swap, limit), why: 'bytes of swap' });
  }
  if (reservation !== undefined) {
    const why = 'bytes that are left to it when memory is short';
    files.push({ ...MEMORY, file: 'memory.low', data: bytes(reservation), why });
  }
  return files;
}

function cpuFiles({ shares, period, quota, cpus, mems }: OciCpu): LimitFile[] {
  const files: LimitFile[] = [];
  if (shares !== undefined) {
    const why = `its share when others want the processors too; ${shares} of version 1`;
    files.push({ ...CPU, file: 'cpu.weight', data: String(cpuWeight(shares)), why });
  }
  if (quota !== undefined || period !== undefined) {
    const most = quota === undefined || quota < 0 ? 'max' : String(quota);
    const data = period === undefined ? most : `${most} ${period}`;
    files.push({ ...CPU, file: 'cpu.max', data, why: 'microseconds of processor time in each period of so many' });
  }
  if (cpus !== undefined) {
    files.push({ ...CPUSET, file: 'cpuset.cpus', data: cpus, why: 'the processors that it may run on' });
  }
  if (mems !== undefined) {
    files.push({ ...CPUSET, file: 'cpuset.mems', data: mems, why: 'the nodes that its memory comes from' });
  }
  return files;
}

const LIMITS = [
  ['throttleReadBpsDevice', 'rbps', 'bytes a second that are read from this device'],
  ['throttleWriteBpsDevice', 'wbps', 'bytes a second that are written to this device'],
  ['throttleReadIOPSDevice', 'riops', 'reads a second from this device'],
  ['throttleWriteIOPSDevice', 'wiops', 'writes a second to this device'],
] as const;

function blockFiles(block: OciBlockIO, has: ReadonlySet<string>): LimitFile[] {
  const isBfq = has.has('io.bfq.weight');
  const file = isBfq ? 'io.bfq.weight' : 'io.weight';
  const value = (weight: number) => (weight === 0 ? 'default' : String(isBfq ? weight : ioWeight(weight)));
  const files: LimitFile[] = [];
  if (block.weight !== undefined)
    files.push({ ...IO, file, data: value(block.weight), why: 'its share of each device' });
  for (const { major, minor, weight = 0 } of block.weightDevice ?? []) {
    files.push({ ...IO, file, data: `${major}:${minor} ${value(weight)}`, why: 'its share of this device' });
  }
  for (const [field, key, why] of LIMITS) {
    for (const { major, minor, rate } of block[field] ?? []) {
      files.push({ ...IO, file: 'io.max', data: `${major}:${minor} ${key}=${rate}`, why });
    }
  }
  return files;
}
