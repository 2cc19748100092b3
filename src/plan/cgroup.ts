/** A cgroup of its own in every hierarchy: made on the host with its limits, joined by the new process, removed at the end. Pure.
 *  @see cgroups(7), cgroup-v2.rst */

import { TsboxError } from '../errors.ts';
import type { CgroupHierarchy, CgroupLevel, HostFacts } from '../spec/host.ts';
import type { OciResources } from '../spec/oci-runtime.ts';
import { deviceStepsV1, deviceStepsV2 } from './device-rules.ts';
import { type CurrentLimits, limitSteps, placeLimits } from './limits.ts';
import { cpusetFiles } from './limits-v1.ts';
import { type EventPlace, eventStep } from './monitor.ts';
import type { Step } from './step.ts';

function directory(hierarchy: CgroupHierarchy, path: string): string {
  return `${hierarchy.mount}${path.startsWith('/') ? path : `/${path}`}`;
}

function names(hierarchy: CgroupHierarchy): string {
  return hierarchy.version === 2 ? 'version 2' : hierarchy.controllers.join(',');
}

/** The container's own directory in each hierarchy. */
export function cgroupDirectories(path: string, facts: HostFacts): string[] {
  return facts.hierarchies.map((hierarchy) => directory(hierarchy, path));
}

function makeDirectory(at: string, why: string, onError?: Step['onError']): Step {
  return { op: 'mkdir', path: at, mode: 0o755, why, see: 'cgroups(7)', ...(onError !== undefined && { onError }) };
}

/** A version 1 cpuset is empty when it is made. */
function fillCpuset(at: string, cpuset: { cpus?: string; mems?: string }): Step[] {
  const why = 'a version 1 cpuset takes no process before it has processors and memory';
  return cpusetFiles(cpuset).map(({ file, data, see }) => {
    return { op: 'write', path: `${at}/${file}`, data, flags: [], mode: 0, why, see };
  });
}

/** The kernel would refuse memory and io here, and take cpu and pids: but then no cgroup below takes a process any more. */
function occupied(directory: string, controller: string): TsboxError {
  const message = `limit ${controller}: ${directory} has processes in it, so it hands no controller down`;
  const hint =
    `Move them into a cgroup of their own: mkdir ${directory}/init, then write each line of ` +
    `${directory}/cgroup.procs to ${directory}/init/cgroup.procs. Or name another --cgroup-parent.`;
  return new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { exitCode: 125, hint });
}

/** Version 2 gives a cgroup only the controllers that each cgroup above it hands down. Those of limits must be there; those that merely
 *  count, for `stats`, are left where a cgroup above will not have them.
 *  @see cgroup-v2.rst, No Internal Process Constraint, Threads */
function enableSteps(facts: HostFacts, needed: ReadonlySet<string>): Step[] {
  const { levels = [], missing = [], available = [] } = facts.cgroup ?? {};
  const unified = facts.hierarchies.find((one) => one.version === 2);
  if (unified === undefined) return [];
  const made = missing
    .filter((path) => path.startsWith(`${unified.mount}/`))
    .map((path): CgroupLevel => ({ directory: path, enabled: [] }));
  const counted = facts.cgroupMode === 'unified' ? COUNTED.filter((one) => available.includes(one)) : [];
  const steps: Step[] = [];
  for (const level of [...levels, ...made]) {
    const absent = (one: string) => !level.enabled.includes(one);
    if (level.occupied === true) {
      const [wanted] = [...needed].filter(absent);
      if (wanted !== undefined) throw occupied(level.directory, wanted);
      continue;
    }
    const enable = (controllers: readonly string[], why: string, onError?: Step['onError']) => {
      if (controllers.length === 0) return;
      const data = controllers.map((one) => `+${one}`).join(' ');
      const path = `${level.directory}/cgroup.subtree_control`;
      const see = 'cgroup-v2.rst, Enabling and Disabling';
      steps.push({ op: 'write', path, data, flags: [], mode: 0, why, see, ...(onError !== undefined && { onError }) });
    };
    enable([...needed].filter(absent), 'cgroups below may be limited by these controllers');
    enable(
      counted.filter((one) => absent(one) && !needed.has(one)),
      'what cgroups below use is counted',
      { EBUSY: 'skip', EACCES: 'skip', EPERM: 'skip', ENOENT: 'skip', EINVAL: 'skip', EOPNOTSUPP: 'skip' },
    );
  }
  return steps;
}

const COUNTED = ['cpu', 'io', 'memory', 'pids'] as const;

/** Host side: one directory in each hierarchy, limits in it.
 *  @throws ERR_TSBOX_UNSUPPORTED for a limit whose controller this host lacks */
export function cgroupSetup(path: string, facts: HostFacts, resources: OciResources = {}): Step[] {
  const placed = placeLimits(resources, facts);
  const version2 = placed.filter((one) => one.hierarchy.version === 2);
  const missing = facts.cgroup?.missing ?? [];
  const steps: Step[] = [];
  for (const hierarchy of facts.hierarchies) {
    const at = directory(hierarchy, path);
    const isCpuset = hierarchy.controllers.includes('cpuset') && facts.cpuset !== undefined;
    for (const parent of missing.filter((one) => one.startsWith(`${hierarchy.mount}/`))) {
      steps.push(makeDirectory(parent, 'the parent that was asked for', { EEXIST: 'skip' }));
      if (isCpuset) steps.push(...fillCpuset(parent, facts.cpuset ?? {}));
    }
    if (hierarchy.version === 2) steps.push(...enableSteps(facts, new Set(version2.map((one) => one.controller))));
    steps.push(makeDirectory(at, `a cgroup of its own (${names(hierarchy)})`));
    const { cpus, mems } = resources.cpu ?? {};
    if (isCpuset) {
      const rest = { ...facts.cpuset };
      if (cpus !== undefined) delete rest.cpus;
      if (mems !== undefined) delete rest.mems;
      steps.push(...fillCpuset(at, rest));
    }
  }
  return [...steps, ...limitSteps(placed, path)];
}

/** Other limits for a container that runs. @param current what holds now: the order depends on it
 *  @throws as cgroupSetup does */
export function cgroupUpdate(path: string, facts: HostFacts, resources: OciResources, current: CurrentLimits): Step[] {
  const placed = placeLimits(resources, facts, current);
  const version2 = placed.filter((one) => one.hierarchy.version === 2);
  const enable = version2.length === 0 ? [] : enableSteps(facts, new Set(version2.map((one) => one.controller)));
  return [...enable, ...limitSteps(placed, path)];
}

/** For the monitor, before `spawn`: which devices may be used. Ordinary users may not say, and need not: what they may not open, their
 *  containers may not either. */
export function deviceRuleSteps(path: string, facts: HostFacts, rules: OciResources['devices'] = []): Step[] {
  if (facts.uid !== 0) return [];
  const v1 = facts.hierarchies.find((one) => one.controllers.includes('devices'));
  if (v1 !== undefined) return deviceStepsV1(directory(v1, path), rules);
  const v2 = facts.hierarchies.find((one) => one.version === 2);
  return v2 === undefined ? [] : deviceStepsV2(directory(v2, path), rules);
}

/**
 * How the new process gets into its cgroups, before its namespaces are unshared: the cgroups that it is in then become the roots of its
 * cgroup namespace. Moving a process by cgroup.procs makes the kernel stop all forks and exits of the machine for a grace period,
 * 7 to 20 ms. So into a version 2 cgroup it is born, and into version 1 cgroups it moves its only thread by itself, which needs no stop.
 */
export interface CgroupEntry {
  /** For the monitor, before `spawn`. */
  birth: Step[];
  /** For the new process, first of all. */
  join: Step[];
}

export function cgroupEntry(path: string, facts: HostFacts): CgroupEntry {
  const entry: CgroupEntry = { birth: [], join: [] };
  for (const hierarchy of facts.hierarchies) {
    const at = directory(hierarchy, path);
    if (hierarchy.version === 2) {
      const why = 'the new process is born in this cgroup';
      entry.birth.push({ op: 'birth_cgroup', path: at, why });
    } else {
      const why = `join the cgroup (${names(hierarchy)}); 0 means who writes it`;
      entry.join.push({ op: 'write', path: `${at}/tasks`, data: '0', flags: [], mode: 0, why, see: 'cgroups(7)' });
    }
  }
  return entry;
}

/** Host side, when the first process has ended: those that it has left behind in a PID namespace that goes on. */
export function cgroupKill(path: string, facts: HostFacts): Step[] {
  return cgroupDirectories(path, facts)
    .slice(0, 1)
    .map((at) => ({
      op: 'kill_cgroup',
      path: `${at}/cgroup.procs`,
      why: 'the PID namespace is not its own: nobody else ends what the first process has left',
      onError: { ENOENT: 'skip' },
    }));
}

/** Where the kernel counts how often it has killed for want of memory, by version. */
const MEMORY_EVENTS = { 1: 'memory.oom_control', 2: 'memory.events' } as const;

/** Host side, at the end, before the cgroup is removed: what the kernel has counted is kept in `file`, and told.
 *  @see cgroup-v2.rst, memory.events; cgroup-v1/memory.rst, OOM Control */
export function memoryEventSteps(
  path: string,
  facts: HostFacts,
  file: string | undefined,
  events: EventPlace | undefined,
): Step[] {
  const v1 = facts.hierarchies.find((one) => one.controllers.includes('memory'));
  const hierarchy = v1 ?? facts.hierarchies.find((one) => one.version === 2);
  if (hierarchy === undefined) return [];
  const from = `${directory(hierarchy, path)}/${MEMORY_EVENTS[hierarchy.version]}`;
  const see = hierarchy.version === 2 ? 'cgroup-v2.rst, memory.events' : 'cgroup-v1/memory.rst, OOM Control';
  const steps: Step[] = [];
  if (file !== undefined) {
    const why = 'has the kernel killed one of its processes for want of memory?';
    steps.push({ op: 'copy', from, to: file, why, see, onError: { ENOENT: 'skip' } });
  }
  if (events !== undefined) {
    const why = 'if the kernel has killed one for want of memory, whoever follows the events is told';
    steps.push({ ...eventStep(events, 'oom', 'none'), op: 'write_counted', from, count: 'oom_kill', why, see });
  }
  return steps;
}

/** Host side, at the end. A process that has just died may still hold its cgroup for a moment. */
export function cgroupCleanup(path: string, facts: HostFacts): Step[] {
  return cgroupDirectories(path, facts).map((at) => ({
    op: 'rmdir',
    path: at,
    why: 'a cgroup is removed when nobody is in it any more',
    onError: { EBUSY: 'retry', ENOENT: 'skip' },
  }));
}
