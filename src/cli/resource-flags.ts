/** The flags of limits that `run`, `create` and `update` share, and how their values are read. The parsing is loaded when one is given. */
import type { ContainerRequest } from '../engine/api.ts';
import type { FlagTable } from './args.ts';

/** Those that can be changed later too. */
export const UPDATE_FLAGS = {
  'blkio-weight': { kind: 'string', value: 'uint16', help: 'Share of block devices, 10 to 1000; 0 is none' },
  'cpu-period': { kind: 'string', value: 'int', help: 'Microseconds that --cpu-quota is for' },
  'cpu-quota': { kind: 'string', value: 'int', help: 'Microseconds of processor time in each period' },
  'cpu-shares': { kind: 'string', value: 'int', short: 'c', help: 'Share of the processors; 1024 is usual' },
  cpus: { kind: 'string', value: 'decimal', help: 'Number of processors' },
  'cpuset-cpus': { kind: 'string', help: 'Processors to run on (0-3, 0,1)' },
  'cpuset-mems': { kind: 'string', help: 'Memory nodes to use (0-3, 0,1)' },
  memory: { kind: 'string', value: 'bytes', short: 'm', help: 'Limit of memory' },
  'memory-reservation': { kind: 'string', value: 'bytes', help: 'Memory that is left to it when memory is short' },
  'memory-swap': { kind: 'string', value: 'bytes', help: 'Limit of memory and swap together; -1 is unlimited' },
  'pids-limit': { kind: 'string', value: 'int', help: 'Limit of processes and threads; -1 is unlimited' },
} as const satisfies FlagTable;

export const RESOURCE_FLAGS = {
  ...UPDATE_FLAGS,
  'blkio-weight-device': { kind: 'list', help: 'Share of one block device: PATH:WEIGHT' },
  'cgroup-parent': { kind: 'string', help: "Cgroup in which the container's own is made" },
  'device-read-bps': { kind: 'list', help: 'Bytes a second read from a device: PATH:RATE' },
  'device-read-iops': { kind: 'list', help: 'Reads a second from a device: PATH:RATE' },
  'device-write-bps': { kind: 'list', help: 'Bytes a second written to a device: PATH:RATE' },
  'device-write-iops': { kind: 'list', help: 'Writes a second to a device: PATH:RATE' },
  'memory-swappiness': { kind: 'string', value: 'int', help: 'How readily its pages are swapped out: 0 to 100' },
  'oom-kill-disable': { kind: 'bool', help: 'Out of memory, wait instead of being killed' },
  'oom-score-adj': { kind: 'string', value: 'int', help: 'How readily it is killed: -1000 to 1000' },
} as const satisfies FlagTable;

type Name = keyof typeof RESOURCE_FLAGS;
export type ResourceValues = Partial<Record<Name, string | boolean | string[] | undefined>>;

/** Was one of them given? */
export function hasResourceFlags(flags: ResourceValues): boolean {
  return (Object.keys(RESOURCE_FLAGS) as Name[]).some((name) => {
    const value = flags[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
  });
}

/** The request with the limits that the flags ask for. @throws UsageError on a value that is none */
export async function withResources(request: ContainerRequest, flags: ResourceValues): Promise<ContainerRequest> {
  if (!hasResourceFlags(flags)) return request;
  const { resourceRequest } = await import('./resource-values.ts');
  const asked = resourceRequest(flags);
  return { ...request, ...asked, resources: { ...request.resources, ...asked.resources } };
}
