/** Limits in the words of both versions of cgroups. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { ociLimits } from '../../src/engine/resources.ts';
import { cgroupSetup, deviceRuleSteps } from '../../src/plan/cgroup.ts';
import { limitFilesV1 } from '../../src/plan/limits-v1.ts';
import { cpuWeight, ioWeight, limitFilesV2, swapAlone } from '../../src/plan/limits-v2.ts';
import type { Step } from '../../src/plan/step.ts';
import type { CgroupFacts, HostFacts } from '../../src/spec/host.ts';
import type { OciResources } from '../../src/spec/oci-runtime.ts';
import type { Resources } from '../../src/spec/resources.ts';

const MIB = 1024 * 1024;
const numbers = () => ({ major: 8, minor: 16 });
const limits = (asked: Partial<Resources>) => ociLimits(asked, numbers);

const ALL: Partial<Resources> = {
  Memory: 100 * MIB,
  MemorySwap: 150 * MIB,
  MemoryReservation: 50 * MIB,
  NanoCpus: 500_000_000,
  CpuShares: 1024,
  CpusetCpus: '0-1',
  CpusetMems: '0',
  PidsLimit: 20,
  BlkioWeight: 10,
  BlkioWeightDevice: [{ Path: '/dev/sdb', Weight: 1000 }],
  BlkioDeviceReadBps: [{ Path: '/dev/sdb', Rate: 1000 }],
  BlkioDeviceWriteIOps: [{ Path: '/dev/sdb', Rate: 7 }],
};

const said = (files: { file: string; data: string }[]) => files.map(({ file, data }) => `${file} ${data}`);

test('limits: version 1', () => {
  assert.deepEqual(said(limitFilesV1(limits(ALL))), [
    'memory.limit_in_bytes 104857600',
    'memory.memsw.limit_in_bytes 157286400',
    'memory.soft_limit_in_bytes 52428800',
    'cpu.shares 1024',
    'cpu.cfs_period_us 100000',
    'cpu.cfs_quota_us 50000',
    'cpuset.cpus 0-1',
    'cpuset.mems 0',
    'pids.max 20',
    'blkio.bfq.weight 10',
    'blkio.bfq.weight_device 8:16 1000',
    'blkio.throttle.read_bps_device 8:16 1000',
    'blkio.throttle.write_iops_device 8:16 7',
  ]);
});

test('limits: version 2', () => {
  assert.deepEqual(said(limitFilesV2(limits(ALL), new Set())), [
    'memory.max 104857600',
    'memory.swap.max 52428800',
    'memory.low 52428800',
    'cpu.weight 39',
    'cpu.max 50000 100000',
    'cpuset.cpus 0-1',
    'cpuset.mems 0',
    'pids.max 20',
    'io.weight 1',
    'io.weight 8:16 10000',
    'io.max 8:16 rbps=1000',
    'io.max 8:16 wiops=7',
  ]);
});

test('limits: version 2 without limits says max', () => {
  const asked = limits({ Memory: 10 * MIB, MemorySwap: -1, CpuQuota: -1, CpuPeriod: 50_000, PidsLimit: -1 });
  assert.deepEqual(said(limitFilesV2(asked, new Set())), [
    'memory.max 10485760',
    'memory.swap.max max',
    'cpu.max max 50000',
    'pids.max max',
  ]);
});

test('limits: shares and weights are converted at their ends as runc does', () => {
  assert.deepEqual([0, 2, 3, 1024, 262144, 999999].map(cpuWeight), [1, 1, 1, 39, 10000, 10000]);
  assert.deepEqual([10, 500, 1000].map(ioWeight), [1, 4950, 10000]);
});

test('limits: swap of version 2 is what remains of the sum', () => {
  assert.equal(swapAlone(30, 10), '20');
  assert.equal(swapAlone(10, 10), '0');
  assert.throws(() => swapAlone(5, 10), /limit memory and swap to 5: is less than the limit of memory, 10/);
  assert.throws(() => swapAlone(5, undefined), /needs a limit of memory/);
});

test('limits: on version 1 memory and swap are raised from the outside in, and lowered the other way', () => {
  const order = (current: number, to: number) =>
    limitFilesV1({ memory: { limit: to, swap: to } }, { memory: current }).map((one) => one.file);
  assert.deepEqual(order(10, 20), ['memory.memsw.limit_in_bytes', 'memory.limit_in_bytes']);
  assert.deepEqual(order(20, 10), ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes']);
});

const HOST: HostFacts = {
  uid: 0,
  kernel: 612,
  cgroupMode: 'unified',
  hostMode: 'unified',
  hierarchies: [],
  capabilities: [],
};
const unified = (cgroup: Partial<CgroupFacts>, uid = 0): HostFacts => ({
  ...HOST,
  uid,
  hierarchies: [{ mount: '/cg', version: 2, controllers: [] }],
  cgroup: { available: [], levels: [], missing: [], files: new Set(), ...cgroup },
});

const shown = (steps: readonly Step[]) =>
  steps.map((step) =>
    step.op === 'mkdir' ? `mkdir ${step.path}` : step.op === 'write' ? `${step.path} ${step.data}` : step.op,
  );

const ABOVE = ['cpu', 'cpuset', 'io', 'memory', 'pids'];

test('limits: version 2 enables what is needed at each cgroup above, and nothing that is enabled', () => {
  const facts = unified({
    available: ABOVE,
    levels: [
      { directory: '/cg', enabled: ['cpu', 'memory', 'pids', 'io'] },
      { directory: '/cg/a', enabled: ['memory'] },
    ],
    missing: ['/cg/a/b'],
  });
  const steps = cgroupSetup('/a/b/c', facts, limits({ CpusetCpus: '1', Memory: 10 * MIB }));
  assert.deepEqual(shown(steps), [
    'mkdir /cg/a/b',
    '/cg/cgroup.subtree_control +cpuset',
    '/cg/a/cgroup.subtree_control +cpuset',
    '/cg/a/cgroup.subtree_control +cpu +io +pids',
    '/cg/a/b/cgroup.subtree_control +memory +cpuset',
    '/cg/a/b/cgroup.subtree_control +cpu +io +pids',
    'mkdir /cg/a/b/c',
    '/cg/a/b/c/memory.max 10485760',
    '/cg/a/b/c/cpuset.cpus 1',
  ]);
});

test('limits: without any, version 2 with everything enabled is one directory', () => {
  const facts = unified({ available: ABOVE, levels: [{ directory: '/cg', enabled: ABOVE }] });
  assert.deepEqual(shown(cgroupSetup('/c', facts)), ['mkdir /cg/c']);
});

test('limits: a cgroup with processes in it hands nothing down: a limit is refused, and nothing is counted', () => {
  const above = { directory: '/cg', enabled: ['pids'], occupied: true };
  const facts = unified({ available: ABOVE, levels: [above] });
  assert.deepEqual(shown(cgroupSetup('/c', facts, limits({ PidsLimit: 5 }))), ['mkdir /cg/c', '/cg/c/pids.max 5']);
  for (const asked of [{ NanoCpus: 5e8 }, { Memory: 10 * MIB }]) {
    assert.throws(
      () => cgroupSetup('/c', facts, limits(asked)),
      /^TsboxError: limit (cpu|memory): \/cg has processes in it/,
    );
  }
});

test('limits: a controller that is missing is named, with what to do about it', () => {
  const asked: OciResources = limits({ CpusetCpus: '1' });
  const hint = (facts: HostFacts, says = 'is not available'): string => {
    try {
      cgroupSetup('/c', facts, asked);
    } catch (error) {
      const { message } = error as Error;
      assert.ok(message.startsWith(`limit cpuset: the cgroup controller cpuset ${says}`), message);
      return (error as { hint?: string }).hint ?? '';
    }
    return assert.fail('it was taken');
  };
  assert.match(hint(unified({ available: ['memory'] })), /cgroup\.controllers/);
  const few = unified({ available: ['memory'], base: '/cg/user' }, 1000);
  assert.match(hint(few, 'was not delegated to user 1000 in /cg/user'), /^As root: .*Delegate=.*daemon-reload/);
  const none = 'is not available to user 1000: no cgroup here was delegated to him';
  assert.match(hint(unified({}, 1000), none), /: systemd-run --user --scope tsbox/);
  assert.match(hint({ ...unified({}, 1000), hostMode: 'hybrid' }), /systemd\.unified_cgroup_hierarchy=1/);
  assert.match(hint({ ...HOST, cgroupMode: 'none' }), /not mounted/);
});

test('limits: controllers of a hybrid host are found in the version that has them', () => {
  const facts: HostFacts = {
    ...unified({ available: ['memory'], levels: [{ directory: '/u', enabled: [] }] }),
    cgroupMode: 'hybrid',
    hostMode: 'hybrid',
    hierarchies: [
      { mount: '/p', version: 1, controllers: ['pids'] },
      { mount: '/u', version: 2, controllers: [] },
    ],
  };
  assert.deepEqual(shown(cgroupSetup('/c', facts, limits({ Memory: 10 * MIB, PidsLimit: 5 }))), [
    'mkdir /p/c',
    '/u/cgroup.subtree_control +memory',
    'mkdir /u/c',
    '/u/c/memory.max 10485760',
    '/p/c/pids.max 5',
  ]);
});

test('limits: a version 1 cpuset gets what was asked for, and the rest from its parent', () => {
  const facts: HostFacts = {
    ...HOST,
    cgroupMode: 'legacy',
    hostMode: 'legacy',
    cpuset: { cpus: '0-7', mems: '0-1' },
    hierarchies: [{ mount: '/s', version: 1, controllers: ['cpuset'] }],
    cgroup: { available: [], levels: [], missing: ['/s/a'], files: new Set() },
  };
  assert.deepEqual(shown(cgroupSetup('/a/c', facts, limits({ CpusetCpus: '3' }))), [
    'mkdir /s/a',
    '/s/a/cpuset.cpus 0-7',
    '/s/a/cpuset.mems 0-1',
    'mkdir /s/a/c',
    '/s/a/c/cpuset.mems 0-1',
    '/s/a/c/cpuset.cpus 3',
  ]);
});

test('limits: device rules are a program on version 2, and not an ordinary user’s matter', () => {
  const rules = [{ allow: false }];
  assert.deepEqual(shown(deviceRuleSteps('/c', unified({}), rules)), ['bpf_device']);
  assert.deepEqual(deviceRuleSteps('/c', unified({}, 1000), rules), []);
});
