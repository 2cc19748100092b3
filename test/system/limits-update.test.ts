/** `update` and `stats` by their effect, on both versions of cgroups. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requires } from '../requires.ts';
import { cgroupFile, cpuTime, idOf, isVersion2, SUPPORT } from './cgroup-host.ts';
import { sandbox } from './harness.ts';

const MIB = 1024 * 1024;

test('update: a container that runs is held back from now on, and after its next start', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'busy', box.image(), 'sh', '-c', 'while :; do :; done']);
  const id = idOf(box, 'busy');
  assert.equal(await box.quick(['update', '--cpus', '0.1', 'busy']), 'busy');
  const [time, count] = [process.hrtime.bigint(), cpuTime(id)];
  await sleep(2500);
  const share = (cpuTime(id) - count) / Number(process.hrtime.bigint() - time);
  assert.ok(share < 0.2, `${share} of a processor`);
  assert.equal(await box.quick(['inspect', '--format', '{{.HostConfig.NanoCpus}}', 'busy']), '100000000');
  await box.quick(['kill', 'busy']);
  await box.quick(['wait', 'busy']);
  box.ok(['start', 'busy']);
  assert.equal(cgroupFile('cpu', id, 'cpu.cfs_quota_us', 'cpu.max').split(' ')[0], '10000');
});

test('update: a limit of memory kills who goes over it afterwards', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script =
    'while [ ! -e /go ]; do sleep 0.1; done; x=aaaaaaaaaaaaaaaa; i=0; while [ $i -lt 22 ]; do x=$x$x; i=$((i+1)); done; echo survived';
  box.ok(['run', '-d', '--name', 'late', box.image(), 'sh', '-c', script]);
  await box.quick(['update', '-m', '12m', '--memory-swap', '12m', 'late']);
  box.ok(['exec', 'late', 'touch', '/go']);
  assert.equal(await box.quick(['wait', 'late']), '137');
  assert.equal(await box.quick(['inspect', '--format', '{{.State.OOMKilled}}', 'late']), 'true');
});

test('update: memory and swap are raised and lowered in an order that the kernel takes', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'both', '-m', '32m', '--memory-swap', '64m', box.image(), 'sleep', '100']);
  const id = idOf(box, 'both');
  const limits = () => [
    Number(cgroupFile('memory', id, 'memory.limit_in_bytes', 'memory.max')) / MIB,
    ...(SUPPORT.swap ? [Number(cgroupFile('memory', id, 'memory.memsw.limit_in_bytes', 'memory.swap.max')) / MIB] : []),
  ];
  const expected = (memory: number, sum: number) => {
    const swap = isVersion2('memory') ? sum - memory : sum;
    return SUPPORT.swap ? [memory, swap] : [memory];
  };
  assert.deepEqual(limits(), expected(32, 64));
  await box.quick(['update', '-m', '128m', '--memory-swap', '256m', 'both']);
  assert.deepEqual(limits(), expected(128, 256));
  await box.quick(['update', '-m', '16m', '--memory-swap', '24m', 'both']);
  assert.deepEqual(limits(), expected(16, 24));
  await box.quick(['update', '-m', '20m', 'both']);
  assert.deepEqual(limits(), expected(20, 24));
});

test('update: processes, processors and shares of a container that runs', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'one', box.image(), 'sleep', '100']);
  await box.quick(['container', 'update', '--pids-limit', '8', '--cpuset-cpus', '0', '-c', '2048', 'one']);
  assert.match(box.ok(['exec', 'one', 'grep', 'Cpus_allowed_list', '/proc/self/status']), /:\s+0$/);
  assert.equal(cgroupFile('cpu', idOf(box, 'one'), 'cpu.shares', 'cpu.weight'), isVersion2('cpu') ? '79' : '2048');
  const crowd = 'i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done; echo all';
  const run = box.tsbox(['exec', 'one', 'sh', '-c', crowd]);
  assert.doesNotMatch(run.stdout, /all/);
  await box.quick(['update', '--pids-limit', '-1', 'one']);
  assert.equal(cgroupFile('pids', idOf(box, 'one'), 'pids.max', 'pids.max'), 'max');
});

test('stats: what a container uses, once', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'busy', '-m', '64m', box.image(), 'sh', '-c', 'while :; do :; done']);
  await box.quick(['create', '--name', 'idle', box.image(), 'true']);
  const json = (...args: string[]) => {
    const text = box.ok(['stats', '--no-stream', '--format', 'json', ...args]);
    return text.split('\n').map((line) => JSON.parse(line) as Record<string, string>);
  };
  const [busy] = json('busy');
  assert.equal(busy!['Name'], 'busy');
  assert.equal(busy!['Container'], 'busy');
  assert.equal(busy!['PIDs'], '1');
  assert.ok(Number.parseFloat(busy!['CPUPerc']!) > 5, busy!['CPUPerc']);
  assert.match(busy!['MemUsage']!, /^[\d.]+(B|KiB|MiB) \/ 64MiB$/);
  assert.notEqual(busy!['MemUsage']!.split(' ')[0], '0B');
  assert.equal(busy!['NetIO'], '0B / 0B');
  assert.deepEqual(json('idle')[0], {
    BlockIO: '0B / 0B',
    CPUPerc: '0.00%',
    Container: 'idle',
    ID: idOf(box, 'idle').slice(0, 12),
    MemPerc: '0.00%',
    MemUsage: '0B / 0B',
    Name: 'idle',
    NetIO: '0B / 0B',
    PIDs: '0',
  });
  assert.deepEqual(
    json().map(({ Name }) => Name),
    ['busy'],
  );
  assert.deepEqual(
    json('-a')
      .map(({ Name }) => Name)
      .sort(),
    ['busy', 'idle'],
  );
  const [title, row] = box.ok(['stats', '--no-stream', '--no-trunc']).split('\n');
  assert.match(title!, /^CONTAINER ID {2,}NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS$/);
  assert.ok(row!.startsWith(`${idOf(box, 'busy')}   busy`));
  const missing = box.tsbox(['stats', '--no-stream', 'busy', 'nix']);
  assert.deepEqual([missing.status, missing.stdout], [1, '']);
  assert.match(missing.stderr, /No such container: nix/);
});
