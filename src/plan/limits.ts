/**
 * Limits as files of a cgroup and what is written into them, the same for a start and for an update. Pure. Version 1 and version 2 have a
 * file each that knows their words; a controller is in one hierarchy of the host, of either version.
 */
import { TsboxError } from '../errors.ts';
import { DELEGATE, IN_USER_SCOPE } from '../spec/delegation.ts';
import type { CgroupHierarchy, HostFacts } from '../spec/host.ts';
import type { OciResources } from '../spec/oci-runtime.ts';
import { limitFilesV1 } from './limits-v1.ts';
import { limitFilesV2 } from './limits-v2.ts';
import type { OnError, Step } from './step.ts';

/** As version 2 calls them; in version 1 `io` is `blkio`. */
export type Controller = 'cpu' | 'cpuset' | 'io' | 'memory' | 'pids';

export interface LimitFile {
  controller: Controller;
  /** Name in the cgroup's directory. */
  file: string;
  data: string;
  why: string;
  see: string;
  onError?: OnError;
}

/** What the cgroup files of a container that runs say: in version 1 the order of two writes depends on it. */
export interface CurrentLimits {
  /** Bytes of memory and of memory with swap; huge numbers when unlimited. */
  memory?: number;
  /** Microseconds. */
  period?: number;
}

export interface PlacedLimit extends LimitFile {
  hierarchy: CgroupHierarchy;
}

const V1_NAMES: Readonly<Record<Controller, string>> = {
  cpu: 'cpu',
  cpuset: 'cpuset',
  io: 'blkio',
  memory: 'memory',
  pids: 'pids',
};

/** The hierarchy that has the controller: of version 1 if one has it, else that of version 2, whose controllers are `facts.cgroup`'s. */
export function hierarchyOf(controller: Controller, facts: HostFacts): CgroupHierarchy | undefined {
  const v1 = facts.hierarchies.find((one) => one.version === 1 && one.controllers.includes(V1_NAMES[controller]));
  if (v1 !== undefined) return v1;
  const isIn = facts.cgroup?.available.includes(controller) === true;
  return isIn ? facts.hierarchies.find((one) => one.version === 2) : undefined;
}

/** @throws ERR_TSBOX_UNSUPPORTED naming the controller that the host lacks, or that an ordinary user was not given */
export function placeLimits(resources: OciResources, facts: HostFacts, current: CurrentLimits = {}): PlacedLimit[] {
  const { devices: _, unified = {}, ...limits } = resources;
  if (Object.keys(limits).length === 0 && Object.keys(unified).length === 0) return [];
  const v1 = limitFilesV1(resources, current);
  const v2 = limitFilesV2(resources, facts.cgroup?.files ?? new Set());
  const needed = new Set([...v1, ...v2].map((one) => one.controller));
  const placed: PlacedLimit[] = [];
  for (const controller of needed) {
    const hierarchy = hierarchyOf(controller, facts);
    if (hierarchy === undefined) throw missing(controller, facts);
    const files = hierarchy.version === 1 ? v1 : v2;
    placed.push(...files.filter((one) => one.controller === controller).map((one) => ({ ...one, hierarchy })));
  }
  return placed;
}

function missing(controller: Controller, facts: HostFacts): TsboxError {
  const [says, hint] = facts.uid === 0 ? ['is not available', NOT_MOUNTED] : notHandedOver(facts);
  const message = `limit ${controller}: the cgroup controller ${controller} ${says}`;
  return new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { exitCode: 125, hint });
}

const NOT_MOUNTED =
  'Its hierarchy is not mounted, or the kernel was built or started without it. /proc/cgroups and cgroup.controllers list what there is.';

/** What an ordinary user lacks, and who can give it. */
function notHandedOver({ uid, cgroup, hostMode }: HostFacts): [says: string, hint: string] {
  const base = cgroup?.base;
  if (hostMode !== 'unified') {
    return [
      `is not available to user ${uid}`,
      'Only version 2 of cgroups can be handed over to ordinary users: boot with systemd.unified_cgroup_hierarchy=1.',
    ];
  }
  if (base === undefined) {
    return [
      `is not available to user ${uid}: no cgroup here was delegated to him`,
      `Start tsbox where one was: ${IN_USER_SCOPE}`,
    ];
  }
  const commands = DELEGATE.join(' && ');
  return [`was not delegated to user ${uid} in ${base}`, `As root: ${commands}; then log in again.`];
}

/** The writes, in the container's own directory of each hierarchy. @param path of the container's cgroup below each */
export function limitSteps(placed: readonly PlacedLimit[], path: string): Step[] {
  return placed.map(({ hierarchy, file, data, why, see, onError }) => ({
    op: 'write',
    path: `${hierarchy.mount}${path}/${file}`,
    data,
    flags: [],
    mode: 0,
    why,
    see,
    ...(onError !== undefined && { onError }),
  }));
}
