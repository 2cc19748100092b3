/** Limits held against the host that tsbox runs on. Loaded when somebody asks for limits. */
import type { HostFacts, LimitSupport } from '../spec/host.ts';
import type { Resources } from '../spec/resources.ts';
import { cgroupFacts, limitSupport } from '../sys/cgroup.ts';
import { hostFacts } from '../sys/probe.ts';
import { parentPath } from './cgroup-path.ts';
import { type CheckedLimits, checkLimits, withDefaultSwap } from './limits.ts';

function supportFor(facts: HostFacts, parent: string | undefined): LimitSupport {
  const support = limitSupport({ ...facts, cgroup: cgroupFacts(facts, parentPath(parent)) });
  if (facts.uid === 0) return support;
  const given = { memory: true, swap: true, reservation: true, pids: true, shares: true, quota: true, cpuset: true };
  return { ...support, ...given, weight: true, weightDevice: true, throttle: true };
}

/** For a container that there is. @throws as checkLimits does */
export function updateForHost(limits: Partial<Resources>, parent: string | undefined): CheckedLimits {
  return checkLimits(limits, supportFor(hostFacts(), parent), true);
}

/** For a new container. An ordinary user who was not given a controller is refused when the plan is made, which names it: root alone is
 *  helped by leaving a limit out.
 *  @throws as checkLimits does */
export function limitsForHost(limits: Partial<Resources>, parent: string | undefined): CheckedLimits {
  const { resources, warnings } = checkLimits(limits, supportFor(hostFacts(), parent), false);
  const pids = resources.PidsLimit ?? 0;
  return { resources: { ...withDefaultSwap(resources), ...(pids <= 0 && { PidsLimit: null }) }, warnings };
}
