/** A cgroup of its own in every hierarchy: made on the host, joined by the new process, removed at the end. Pure.
 *  @see cgroups(7), cgroup-v2.rst */
import type { CgroupHierarchy, HostFacts } from '../spec/host.ts';
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

/** Host side: one directory in each hierarchy. */
export function cgroupSetup(path: string, facts: HostFacts): Step[] {
  const steps: Step[] = [];
  for (const hierarchy of facts.hierarchies) {
    const at = directory(hierarchy, path);
    steps.push({
      op: 'mkdir',
      path: at,
      mode: 0o755,
      why: `a cgroup of its own (${names(hierarchy)})`,
      see: 'cgroups(7)',
    });
    if (hierarchy.controllers.includes('cpuset') && facts.cpuset !== undefined) {
      const why = 'a version 1 cpuset takes no process before it has processors and memory';
      const { cpus, mems } = facts.cpuset;
      steps.push({ op: 'write', path: `${at}/cpuset.cpus`, data: cpus, flags: [], mode: 0, why, see: 'cpuset(7)' });
      steps.push({ op: 'write', path: `${at}/cpuset.mems`, data: mems, flags: [], mode: 0, why, see: 'cpuset(7)' });
    }
  }
  return steps;
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

/** Host side, at the end. A process that has just died may still hold its cgroup for a moment. */
export function cgroupCleanup(path: string, facts: HostFacts): Step[] {
  return cgroupDirectories(path, facts).map((at) => ({
    op: 'rmdir',
    path: at,
    why: 'a cgroup is removed when nobody is in it any more',
    onError: { EBUSY: 'retry', ENOENT: 'skip' },
  }));
}
