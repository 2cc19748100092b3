/** The flags of namespaces, devices and the like that `run` and `create` share. The parsing is loaded when one is given. */
import type { ContainerRequest } from '../engine/api.ts';
import type { FlagTable } from './args.ts';

export const ISOLATION_FLAGS = {
  cgroupns: { kind: 'string', help: "Cgroup namespace: 'host' or 'private'" },
  device: { kind: 'list', help: 'Give a device of the host: PATH[:PATH-INSIDE][:rwm]' },
  'device-cgroup-rule': { kind: 'list', help: "Allow more devices: 'c 189:* rmw'" },
  'group-add': { kind: 'list', help: 'Supplementary group, by name or number' },
  ipc: { kind: 'string', help: "IPC namespace: 'none', 'private', 'shareable', 'host', 'container:NAME'" },
  pid: { kind: 'string', help: "PID namespace: 'host', 'container:NAME'" },
  'shm-size': { kind: 'string', value: 'bytes', help: 'Size of /dev/shm' },
  sysctl: { kind: 'list', help: 'Kernel parameter of a namespace: NAME=VALUE' },
  ulimit: { kind: 'list', help: 'Limit of a process: NAME=SOFT[:HARD]' },
  uts: { kind: 'string', help: "Names of the host: 'host'" },
} as const satisfies FlagTable;

type Name = keyof typeof ISOLATION_FLAGS;
export type IsolationValues = Partial<Record<Name, string | string[] | undefined>>;

/** The request with what the flags ask for. @throws UsageError on a value that is none */
export async function withIsolation(request: ContainerRequest, flags: IsolationValues): Promise<ContainerRequest> {
  const isGiven = (Object.keys(ISOLATION_FLAGS) as Name[]).some((name) => {
    const value = flags[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined;
  });
  if (!isGiven) return request;
  const { isolationRequest } = await import('./isolation-values.ts');
  const asked = isolationRequest(flags);
  return { ...request, ...asked, resources: { ...request.resources, ...asked.resources } };
}
