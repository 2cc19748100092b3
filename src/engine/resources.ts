/** From Docker's limits to those of the runtime specification. Pure but for the numbers of devices, which the caller looks up. */
import type { HostConfig } from '../spec/container.ts';
import type {
  OciBlockIO,
  OciCpu,
  OciDeviceRule,
  OciMemory,
  OciResources,
  OciThrottleDevice,
} from '../spec/oci-runtime.ts';
import type { Resources, ThrottleDevice } from '../spec/resources.ts';

export type DeviceNumbers = (path: string) => { major: number; minor: number };

/** Microseconds: what `--cpus` is counted in. */
const PERIOD = 100_000;

/** What every container may use, as Docker has it. @see runtime-spec config-linux.md, Default Devices */
export const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' },
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

const set = (value: number | null | undefined): value is number => (value ?? 0) !== 0;

function memory(limits: Partial<Resources>): OciMemory {
  const { Memory, MemorySwap, MemoryReservation, MemorySwappiness, OomKillDisable } = limits;
  return {
    ...(set(Memory) && { limit: Memory }),
    ...(set(MemorySwap) && { swap: MemorySwap }),
    ...(set(MemoryReservation) && { reservation: MemoryReservation }),
    ...((MemorySwappiness ?? undefined) !== undefined && { swappiness: MemorySwappiness! }),
    ...(OomKillDisable === true && { disableOOMKiller: true }),
  };
}

function cpu(limits: Partial<Resources>): OciCpu {
  const { CpuShares, NanoCpus, CpuPeriod, CpuQuota, CpusetCpus = '', CpusetMems = '' } = limits;
  const time = set(NanoCpus)
    ? { period: PERIOD, quota: Math.trunc((NanoCpus * PERIOD) / 1e9) }
    : { ...(set(CpuPeriod) && { period: CpuPeriod }), ...(set(CpuQuota) && { quota: CpuQuota }) };
  return {
    ...(set(CpuShares) && { shares: CpuShares }),
    ...time,
    ...(CpusetCpus !== '' && { cpus: CpusetCpus }),
    ...(CpusetMems !== '' && { mems: CpusetMems }),
  };
}

const THROTTLES = [
  ['BlkioDeviceReadBps', 'throttleReadBpsDevice'],
  ['BlkioDeviceWriteBps', 'throttleWriteBpsDevice'],
  ['BlkioDeviceReadIOps', 'throttleReadIOPSDevice'],
  ['BlkioDeviceWriteIOps', 'throttleWriteIOPSDevice'],
] as const;

function block(limits: Partial<Resources>, numbers: DeviceNumbers): OciBlockIO {
  const found: OciBlockIO = { ...(set(limits.BlkioWeight) && { weight: limits.BlkioWeight }) };
  const weights = limits.BlkioWeightDevice ?? [];
  if (weights.length > 0)
    found.weightDevice = weights.map(({ Path, Weight }) => ({ ...numbers(Path), weight: Weight }));
  const rate = ({ Path, Rate }: ThrottleDevice): OciThrottleDevice => ({ ...numbers(Path), rate: Rate });
  for (const [field, name] of THROTTLES) {
    const devices = limits[field] ?? [];
    if (devices.length > 0) found[name] = devices.map(rate);
  }
  return found;
}

/** Limits without devices. @throws what `numbers` throws for a device that is not there */
export function ociLimits(limits: Partial<Resources>, numbers: DeviceNumbers): OciResources {
  const parts = { memory: memory(limits), cpu: cpu(limits), blockIO: block(limits, numbers) };
  const asked = Object.fromEntries(Object.entries(parts).filter(([, part]) => Object.keys(part).length > 0));
  const { PidsLimit: pids } = limits;
  return { ...asked, ...((pids ?? undefined) !== undefined && { pids: { limit: pids! > 0 ? pids! : -1 } }) };
}

/** All that a container's cgroup is to be. @param rules for devices beside those that every container has */
export function ociResources(
  hostConfig: HostConfig,
  rules: readonly OciDeviceRule[],
  numbers: DeviceNumbers,
): OciResources {
  // What a cgroup has when it is made need not be asked for: Docker notes it where memory cannot be limited.
  const isUnlimited = !set(hostConfig.Memory) && hostConfig.MemorySwap === -1;
  const limits = isUnlimited ? { ...hostConfig, MemorySwap: 0 } : hostConfig;
  return { devices: [...DEFAULT_DEVICE_RULES, ...rules], ...ociLimits(limits, numbers) };
}
