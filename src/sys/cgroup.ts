/** Where a container's cgroups may be made and what can be limited there, read from the hierarchies. Read only when it matters: a plain
 *  start on version 1 asks for nothing here. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { CgroupFacts, CgroupHierarchy, CgroupLevel, HostFacts, LimitSupport } from '../spec/host.ts';
import { delegatedLevels } from './delegation.ts';

const words = (path: string): string[] => {
  const text = content(path);
  return text === '' ? [] : text.split(' ');
};

function content(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return ''; // not there, or not for us
  }
}

/** `/a`, `/a/b` for `/a/b`. */
function prefixes(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
}

/** Those of the paths that exist. */
function levelsOf(directories: readonly string[]): CgroupLevel[] {
  return directories
    .filter((directory) => existsSync(directory))
    .map((directory) => ({
      directory,
      enabled: words(`${directory}/cgroup.subtree_control`),
      // The kernel's own root has no type, and may have processes; the root of a cgroup namespace has one.
      occupied: content(`${directory}/cgroup.type`) !== '' && content(`${directory}/cgroup.procs`) !== '',
    }));
}

function missingIn(hierarchies: readonly CgroupHierarchy[], parent: string): string[] {
  return hierarchies.flatMap(({ mount }) =>
    prefixes(parent)
      .map((path) => `${mount}${path}`)
      .filter((directory) => !existsSync(directory)),
  );
}

function isInSomeGroup(mount: string, file: string): boolean {
  return readdirSync(mount, { withFileTypes: true }).some(
    (entry) => entry.isDirectory() && existsSync(`${mount}/${entry.name}/${file}`),
  );
}

/** Weights of block devices come with a scheduler or with a cost model, and their files are in no root. On version 1 the scheduler shows
 *  itself there by its counters; on version 2 the model does by its parameters, the scheduler as a module or in some cgroup. */
function filesOf(hierarchies: readonly CgroupHierarchy[]): Set<string> {
  const files = new Set<string>();
  const unified = hierarchies.find((one) => one.version === 2);
  if (unified !== undefined) {
    // Of a cgroup that was handed over the root is not known; its own file is there once it has the controller.
    if (['io.cost.qos', 'io.weight'].some((file) => existsSync(`${unified.mount}/${file}`))) files.add('io.weight');
    if (existsSync('/sys/module/bfq') || isInSomeGroup(unified.mount, 'io.bfq.weight')) files.add('io.bfq.weight');
  }
  const blkio = hierarchies.find((one) => one.controllers.includes('blkio'));
  if (blkio !== undefined && existsSync(`${blkio.mount}/blkio.bfq.io_serviced`)) files.add('blkio.bfq.weight');
  return files;
}

/** @param parent path of the parent cgroup below each hierarchy, '' for its root */
export function cgroupFacts(facts: HostFacts, parent: string): CgroupFacts {
  const unified = facts.hierarchies.find((one) => one.version === 2);
  const above =
    unified?.delegated === true ? delegatedLevels(unified.mount) : unified === undefined ? [] : [unified.mount];
  const below = unified === undefined ? [] : prefixes(parent).map((path) => `${unified.mount}${path}`);
  const [outermost] = above;
  return {
    available: outermost === undefined ? [] : words(`${outermost}/cgroup.controllers`),
    levels: levelsOf([...above, ...below]),
    missing: missingIn(facts.hierarchies, parent),
    files: filesOf(facts.hierarchies),
    ...(unified?.delegated === true && outermost !== undefined && { base: outermost }),
  };
}

/** Processors and memory of the nearest cpuset that exists, for a parent that is not the root. */
export function parentCpuset(facts: HostFacts, parent: string): HostFacts['cpuset'] {
  const hierarchy = facts.hierarchies.find((one) => one.controllers.includes('cpuset'));
  if (hierarchy === undefined || facts.cpuset === undefined) return facts.cpuset;
  const nearest = prefixes(parent)
    .map((path) => `${hierarchy.mount}${path}`)
    .findLast((directory) => existsSync(directory));
  if (nearest === undefined) return facts.cpuset;
  const { cpus, mems } = { cpus: content(`${nearest}/cpuset.cpus`), mems: content(`${nearest}/cpuset.mems`) };
  return { cpus: cpus === '' ? facts.cpuset.cpus : cpus, mems: mems === '' ? facts.cpuset.mems : mems };
}

/** What a container that runs is limited to, as far as version 1 needs to know. @param path of its cgroup below each hierarchy */
export function currentLimits(facts: HostFacts, path: string): { memory?: number; period?: number } {
  const number = (controller: string, file: string): number | undefined => {
    const hierarchy = facts.hierarchies.find((one) => one.controllers.includes(controller));
    const text = hierarchy === undefined ? '' : content(`${hierarchy.mount}${path}/${file}`);
    return /^\d+$/.test(text) ? Number(text) : undefined;
  };
  const [memory, period] = [number('memory', 'memory.limit_in_bytes'), number('cpu', 'cpu.cfs_period_us')];
  return { ...(memory !== undefined && { memory }), ...(period !== undefined && { period }) };
}

function supportV1(facts: HostFacts): Partial<LimitSupport> {
  const has = (controller: string, file: string) => {
    const hierarchy = facts.hierarchies.find((one) => one.controllers.includes(controller));
    return hierarchy !== undefined && existsSync(`${hierarchy.mount}/${file}`);
  };
  const weight = facts.cgroup?.files.has('blkio.bfq.weight') === true;
  return {
    memory: has('memory', 'memory.limit_in_bytes'),
    swap: has('memory', 'memory.memsw.limit_in_bytes'),
    reservation: has('memory', 'memory.soft_limit_in_bytes'),
    swappiness: has('memory', 'memory.swappiness'),
    oomKillDisable: has('memory', 'memory.oom_control'),
    pids: has('pids', 'cgroup.procs'),
    shares: has('cpu', 'cpu.shares') || has('cpu', 'cpu.cfs_quota_us'),
    quota: has('cpu', 'cpu.cfs_quota_us'),
    cpuset: has('cpuset', 'cpuset.cpus'),
    weight,
    weightDevice: weight,
    throttle: has('blkio', 'blkio.throttle.read_bps_device'),
  };
}

function supportV2({ available, files }: CgroupFacts): Partial<LimitSupport> {
  const weight = available.includes('io') && (files.has('io.weight') || files.has('io.bfq.weight'));
  const has = (controller: string) => available.includes(controller);
  const found = {
    memory: has('memory'),
    swap: has('memory') && existsSync('/proc/swaps'),
    reservation: has('memory'),
    pids: has('pids'),
    shares: has('cpu'),
    quota: has('cpu'),
    cpuset: has('cpuset'),
    weight,
    weightDevice: weight,
    throttle: has('io'),
  };
  return Object.fromEntries(Object.entries(found).filter(([, is]) => is));
}

/** @param facts with those of the cgroup */
export function limitSupport(facts: HostFacts): LimitSupport {
  const none = {
    memory: false,
    swap: false,
    reservation: false,
    swappiness: false,
    oomKillDisable: false,
    pids: false,
  };
  const nothing = {
    ...none,
    shares: false,
    quota: false,
    cpuset: false,
    weight: false,
    weightDevice: false,
    throttle: false,
  };
  const online = content('/sys/devices/system/cpu/online');
  const nodes = content('/sys/devices/system/node/online');
  return {
    ...nothing,
    processors: availableParallelism(),
    cpus: facts.cpuset?.cpus ?? (online === '' ? `0-${availableParallelism() - 1}` : online),
    mems: facts.cpuset?.mems ?? (nodes === '' ? '0' : nodes),
    ...supportV1(facts),
    ...(facts.cgroup === undefined ? {} : supportV2(facts.cgroup)),
  };
}
