/** Limits held against the host that tsbox runs on. Loaded when somebody asks for limits. */
import type { HostFacts, LimitSupport } from '../spec/host.ts';
import type { Resources } from '../spec/resources.ts';
import { cgroupFacts, limitSupport } from '../sys/cgroup.ts';
import { hostFacts } from '../sys/probe.ts';
import { parentPath } from './cgroup-path.ts';
import { type CheckedLimits, checkLimits, withDefaultSwap } from './limits.ts';

function supportFor(facts: HostFacts, parent: string | undefined): LimitSupport {
  const cgroup = cgroupFacts(facts, parentPath(parent));
  const support = limitSupport({ ...facts, cgroup });
  if (facts.uid === 0) return support;
  const asked = Object.entries(FIELDS).filter(([controller]) => !cgroup.available.includes(controller));
  return { ...support, ...Object.fromEntries(asked.flatMap(([, fields]) => fields.map((field) => [field, true]))) };
}

/** What each controller of version 2 is for. */
const FIELDS: Readonly<Record<string, readonly (keyof LimitSupport)[]>> = {
  memory: ['memory', 'swap', 'reservation'],
  pids: ['pids'],
  cpu: ['shares', 'quota'],
  cpuset: ['cpuset'],
  io: ['weight', 'weightDevice', 'throttle'],
};

/** For a container that there is. @param facts where its cgroups are, when it runs @throws as checkLimits does */
export function updateForHost(limits: Partial<Resources>, parent: string | undefined, facts: HostFacts): CheckedLimits {
  return checkLimits(limits, supportFor(facts, parent), true);
}

/** For a new container. An ordinary user who was not given a controller is refused when the plan is made, which names it: root alone is
 *  helped by leaving a limit out.
 *  @throws as checkLimits does */
export function limitsForHost(limits: Partial<Resources>, parent: string | undefined): CheckedLimits {
  const { resources, warnings } = checkLimits(limits, supportFor(hostFacts(), parent), false);
  const pids = resources.PidsLimit ?? 0;
  return { resources: { ...withDefaultSwap(resources), ...(pids <= 0 && { PidsLimit: null }) }, warnings };
}
