/** What tests of limits need to know of the two versions of cgroups, so that their bodies need not. */
import { readFileSync } from 'node:fs';
import { requireContainer } from '../../src/store/containers.ts';
import { openStore } from '../../src/store/open.ts';
import { cgroupFacts, limitSupport } from '../../src/sys/cgroup.ts';
import { hostFacts } from '../../src/sys/probe.ts';
import type { Sandbox } from './harness.ts';

const facts = hostFacts();
const place = { ...facts, cgroup: cgroupFacts(facts, '') };

/** What this host can limit. */
export const SUPPORT = limitSupport(place);

/** As version 1 calls them. */
export type Controller = 'memory' | 'cpu' | 'cpuacct' | 'cpuset' | 'pids' | 'blkio' | 'devices' | 'freezer';

/** Is the controller one of version 2 here? */
export function isVersion2(controller: Controller): boolean {
  return !facts.hierarchies.some((one) => one.controllers.includes(controller));
}

/** The container's cgroup in the hierarchy that has the controller. */
export function cgroupDirectory(controller: Controller, id: string, parent = ''): string {
  const hierarchy =
    facts.hierarchies.find((one) => one.controllers.includes(controller)) ??
    facts.hierarchies.find((one) => one.version === 2);
  if (hierarchy === undefined) throw new Error(`no hierarchy has ${controller}`);
  return `${hierarchy.mount}${parent}/tsbox-${id}`;
}

/** A file of the container's cgroup by its names in version 1 and version 2. */
export function cgroupFile(controller: Controller, id: string, v1: string, v2: string, parent = ''): string {
  const file = isVersion2(controller) ? v2 : v1;
  return readFileSync(`${cgroupDirectory(controller, id, parent)}/${file}`, 'utf8').trim();
}

/** Nanoseconds of processor time that the container has had, by the kernel's own count. */
export function cpuTime(id: string): number {
  const text = cgroupFile('cpuacct', id, 'cpuacct.usage', 'cpu.stat');
  const microseconds = /^usage_usec (\d+)/m.exec(text)?.[1];
  return microseconds === undefined ? Number(text) : Number(microseconds) * 1000;
}

/** The full id of a container. */
export function idOf(box: Sandbox, name: string): string {
  return requireContainer(openStore(box), name).ID;
}
