/** Limits: which cgroups there are, and what may be done with them. Pure. @see cgroups(7), cgroup-v2.rst, Delegation */

import { DELEGATE, IN_USER_SCOPE } from '../../spec/delegation.ts';
import type { DoctorFacts, Finding } from '../../spec/doctor.ts';
import { finding } from './kernel.ts';

const WANTED = ['cpu', 'cpuset', 'memory', 'pids'] as const;
/** Version 1 has device access as a controller, and block devices under another name. */
const wanted = (facts: DoctorFacts) =>
  facts.cgroups.mode === 'unified' ? [...WANTED, 'io'] : [...WANTED, 'blkio', 'devices', 'freezer'];

const MODES = {
  unified: 'version 2',
  hybrid: 'version 1 controllers beside a version 2 hierarchy',
  legacy: 'version 1',
  none: 'none is mounted',
} as const;

export function cgroupFindings(facts: DoctorFacts): Finding[] {
  if (facts.cgroups.mode === 'none') {
    const fix = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup';
    return [finding('cgroups.mode', 'warning', 'cgroups', `${MODES.none}: no limits, and no pause`, fix)];
  }
  return [
    finding('cgroups.mode', 'ok', 'cgroups', MODES[facts.cgroups.mode]),
    make(facts),
    controllers(facts),
    ...(facts.cgroups.mode === 'unified' ? [...delegation(facts), devices(facts)] : []),
  ];
}

/** What mends a lack of delegation: elsewhere there may be one. */
const delegate = (at: string | undefined) => (at === undefined ? IN_USER_SCOPE : DELEGATE.join('\n'));

function make({ cgroups, uid }: DoctorFacts): Finding {
  const [id, what] = ['cgroups.make', 'cgroups of our own'];
  const refused = cgroups.make !== 'ok' ? cgroups.make : cgroups.birth;
  if (refused === 'ok' || refused === 'untried') return finding(id, 'ok', what, 'can be made');
  if (uid !== 0) {
    const says = `cannot be made (${refused}): containers then run without limits of their own`;
    const fix =
      cgroups.mode === 'unified'
        ? delegate(cgroups.delegatedAt)
        : 'Version 1 cannot be delegated: boot with systemd.unified_cgroup_hierarchy=1.';
    return finding(id, 'warning', what, says, fix);
  }
  const fix = 'mount -o remount,rw /sys/fs/cgroup, or start the container that tsbox runs in with --privileged';
  return finding(id, 'error', what, `cannot be made: ${refused}`, fix);
}

function controllers(facts: DoctorFacts): Finding {
  const [id, what] = ['cgroups.controllers', 'controllers'];
  const missing = wanted(facts).filter((name) => !facts.cgroups.controllers.includes(name));
  if (missing.length === 0) return finding(id, 'ok', what, wanted(facts).join(', '));
  const memory = missing.includes('memory') ? 'Boot with cgroup_enable=memory, or use' : 'Use';
  const says = `not there: ${missing.join(', ')}; the flags that need them are refused`;
  return finding(id, 'warning', what, says, `${memory} a kernel of the distribution.`);
}

function delegation({ cgroups, uid }: DoctorFacts): Finding[] {
  if (uid === 0) return [];
  const [id, what] = ['cgroups.delegation', 'delegation'];
  const missing = [...WANTED, 'io'].filter((name) => !cgroups.delegated.includes(name));
  const { delegated, delegatedAt } = cgroups;
  if (delegatedAt === undefined) {
    const says = 'no cgroup here was delegated to you: limits are refused';
    return [finding(id, 'warning', what, says, delegate(delegatedAt))];
  }
  if (missing.length === 0) return [finding(id, 'ok', what, `${delegated.join(', ')}, in ${delegatedAt}`)];
  const given = delegated.length === 0 ? 'nothing' : delegated.join(', ');
  const says = `delegated to you: ${given}; not delegated, and so refused as limits: ${missing.join(', ')}`;
  return [finding(id, 'warning', what, says, delegate(delegatedAt))];
}

function devices({ deviceProgram, uid }: DoctorFacts): Finding {
  const [id, what] = ['cgroups.devices', 'device programs'];
  if (deviceProgram === 'ok') return finding(id, 'ok', what, 'eBPF programs that decide about devices can be loaded');
  if (uid !== 0) return finding(id, 'ok', what, 'not needed: without root no device can be made');
  const fix = 'Use a kernel with CONFIG_CGROUP_BPF; in a container add CAP_BPF or CAP_SYS_ADMIN.';
  return finding(
    id,
    'warning',
    what,
    `cannot be loaded (${deviceProgram}): containers may open every device they can name`,
    fix,
  );
}
