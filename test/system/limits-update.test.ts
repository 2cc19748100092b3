/** `update` and `stats` by their effect, on both versions of cgroups. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requires } from '../requires.ts';
import { cgroupFile, cpuTime, idOf, isVersion2, SUPPORT } from './cgroup-host.ts';
import { sandbox, TSBOX, until } from './harness.ts';

const MIB = 1024 * 1024;

test('update: a container that runs is held back from now on, and after its next start', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'busy', box.image(), 'sh', '-c', 'while :; do :; done']);
  const id = idOf(box, 'busy');
  assert.equal(box.ok(['update', '--cpus', '0.1', 'busy']), 'busy');
  const [time, count] = [process.hrtime.bigint(), cpuTime(id)];
  await sleep(2500);
  const share = (cpuTime(id) - count) / Number(process.hrtime.bigint() - time);
  assert.ok(share < 0.2, `${share} of a processor`);
  assert.equal(box.ok(['inspect', '--format', '{{.HostConfig.NanoCpus}}', 'busy']), '100000000');
  box.ok(['kill', 'busy']);
  box.ok(['wait', 'busy']);
  box.ok(['start', 'busy']);
  assert.equal(cgroupFile('cpu', id, 'cpu.cfs_quota_us', 'cpu.max').split(' ')[0], '10000');
});

test('update: a limit of memory kills who goes over it afterwards', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script =
    'while [ ! -e /go ]; do sleep 0.1; done; x=aaaaaaaaaaaaaaaa; i=0; while [ $i -lt 22 ]; do x=$x$x; i=$((i+1)); done; echo survived';
  box.ok(['run', '-d', '--name', 'late', box.image(), 'sh', '-c', script]);
  box.ok(['update', '-m', '12m', '--memory-swap', '12m', 'late']);
  box.ok(['exec', 'late', 'touch', '/go']);
  assert.equal(box.ok(['wait', 'late']), '137');
  assert.equal(box.ok(['inspect', '--format', '{{.State.OOMKilled}}', 'late']), 'true');
});

test('update: memory and swap are raised and lowered in an order that the kernel takes', (t) => {
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
  box.ok(['update', '-m', '128m', '--memory-swap', '256m', 'both']);
  assert.deepEqual(limits(), expected(128, 256));
  box.ok(['update', '-m', '16m', '--memory-swap', '24m', 'both']);
  assert.deepEqual(limits(), expected(16, 24));
  box.ok(['update', '-m', '20m', 'both']);
  assert.deepEqual(limits(), expected(20, 24));
});

test('update: processes, processors and shares of a container that runs', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'one', box.image(), 'sleep', '100']);
  box.ok(['container', 'update', '--pids-limit', '8', '--cpuset-cpus', '0', '-c', '2048', 'one']);
  assert.match(box.ok(['exec', 'one', 'grep', 'Cpus_allowed_list', '/proc/self/status']), /:\s+0$/);
  assert.equal(cgroupFile('cpu', idOf(box, 'one'), 'cpu.shares', 'cpu.weight'), isVersion2('cpu') ? '79' : '2048');
  const crowd = 'i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done; echo all';
  const run = box.tsbox(['exec', 'one', 'sh', '-c', crowd]);
  assert.doesNotMatch(run.stdout, /all/);
  box.ok(['update', '--pids-limit', '-1', 'one']);
  assert.equal(cgroupFile('pids', idOf(box, 'one'), 'pids.max', 'pids.max'), 'max');
});

test('update: what Docker refuses is refused in its words, and nothing is kept', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['create', '--name', 'two', '--cpus', '1', box.image(), 'true']);
  const id = idOf(box, 'two');
  const refused: [string[], string][] = [
    [[], 'you must provide one or more flags when using this command'],
    [
      ['-m', '100m'],
      `Cannot update container ${id}: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time`,
    ],
    [
      ['--cpu-period', '10000'],
      `Cannot update container ${id}: Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set`,
    ],
    [['-m', '5m'], 'Minimum memory limit allowed is 6MB'],
    [['--restart', 'always'], '--restart: not supported yet'],
  ];
  for (const [flags, message] of refused) {
    const { status, stderr } = box.tsbox(['update', ...flags, 'two']);
    assert.notEqual(status, 0, message);
    assert.equal(stderr.split('\n')[0], `tsbox: ${message}`);
  }
  const shown = '{{.HostConfig.Memory}} {{.HostConfig.CpuPeriod}} {{.HostConfig.NanoCpus}}';
  assert.equal(box.ok(['inspect', '--format', shown, 'two']), '0 0 1000000000');
  const both = box.tsbox(['update', '-m', '100m', '--memory-swap', '200m', 'nix', 'two']);
  assert.equal(both.status, 1);
  assert.equal(both.stdout, 'two\n');
  assert.match(both.stderr, /No such container: nix/);
  assert.equal(box.ok(['inspect', '--format', shown, 'two']), '104857600 0 1000000000');
});

test('stats: what a container uses, once', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'busy', '-m', '64m', box.image(), 'sh', '-c', 'while :; do :; done']);
  box.ok(['create', '--name', 'idle', box.image(), 'true']);
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

test('stats: goes on until the containers it was asked for are gone', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'short', box.image(), 'sleep', '100']);
  const child = spawn(TSBOX, ['stats', '--format', '{{.Name}} {{.PIDs}}', 'short'], { env: box.env });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await until('two lines', () => text.split('\n').length > 2, 20_000);
  box.ok(['rm', '-f', 'short']);
  assert.equal(await ended, 0);
  assert.match(text, /^short 1\nshort 1\n/);
});
