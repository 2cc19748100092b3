/** Of limits what does not depend on the version of cgroups: what is refused, what is explained, how long `stats` goes on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { requires } from '../requires.ts';
import { idOf } from './cgroup-host.ts';
import { sandbox, TSBOX, until } from './harness.ts';

const REFUSED: [flags: string[], message: RegExp][] = [
  [['-m', '5m'], /^tsbox: Minimum memory limit allowed is 6MB$/m],
  [['-m', 'x'], /invalid argument "x" for "-m, --memory" flag: invalid size: 'x'/],
  [['-m', '100m', '--memory-swap', '50m'], /Minimum memoryswap limit should be larger than memory limit, see usage/],
  [['--memory-swap', '50m'], /You should always set the Memory limit when using Memoryswap limit, see usage/],
  [['--cpus', '0.5', '--cpu-period', '100000'], /Conflicting options: Nano CPUs and CPU Period cannot both be set/],
  [['--cpus', '9999'], /Range of CPUs is from 0\.01 to \d+\.00, as there are only \d+ CPUs available/],
  [['--cpuset-cpus', '4095'], /Requested CPUs are not available - requested 4095, available: /],
  [['--cpu-quota', '10'], /CPU cfs quota can not be less than 1ms \(i\.e\. 1000\)/],
  [['--oom-score-adj', '2000'], /Invalid value 2000, range for oom score adj is \[-1000, 1000\]/],
  [['--memory-swappiness', '101'], /invalid value: 101\. Valid memory swappiness range is 0-100/],
];

test('limits: what makes no sense is refused in Docker’s words before anything is made', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  for (const [flags, message] of REFUSED) {
    const { status, stderr } = await box.said(['create', ...flags, image, 'true']);
    assert.notEqual(status, 0, flags.join(' '));
    assert.match(stderr, message);
  }
  assert.equal(await box.quick(['ps', '-aq']), '');
});

test('update: what Docker refuses is refused in its words, and nothing is kept', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  await box.quick(['create', '--name', 'two', '--cpus', '1', box.image(), 'true']);
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
    [['--restart', 'sometimes'], "invalid restart policy 'sometimes'"],
  ];
  for (const [flags, message] of refused) {
    const { status, stderr } = await box.said(['update', ...flags, 'two']);
    assert.notEqual(status, 0, message);
    assert.equal(stderr.split('\n')[0], `tsbox: ${message}`);
  }
  const shown = '{{.HostConfig.Memory}} {{.HostConfig.CpuPeriod}} {{.HostConfig.NanoCpus}}';
  assert.equal(await box.quick(['inspect', '--format', shown, 'two']), '0 0 1000000000');
  const both = await box.said(['update', '-m', '100m', '--memory-swap', '200m', 'nix', 'two']);
  assert.equal(both.status, 1);
  assert.equal(both.stdout, 'two\n');
  assert.match(both.stderr, /No such container: nix/);
  assert.equal(await box.quick(['inspect', '--format', shown, 'two']), '104857600 0 1000000000');
});

test('limits: --explain shows each limit as a step with a reason and where to read more', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['-m', '64m', '--cpus', '0.5', '--pids-limit', '10', '--cpuset-cpus', '0'];
  const plan = JSON.parse(box.ok(['run', '--dry-run', '--format', 'json', ...flags, box.image(), 'true']));
  const steps = (plan.steps ?? Object.values(plan).flat()) as { call: string; why: string; see: string }[];
  for (const file of ['memory', 'cpu', 'pids', 'cpuset']) {
    const found = steps.filter(({ call }) => call.startsWith('write("/sys/fs/cgroup') && call.includes(`/${file}.`));
    assert.ok(found.length > 0, file);
    for (const { why, see } of found) assert.ok(why !== '' && /cgroup-v[12]|sched-bwc|cpuset\(7\)/.test(see), see);
  }
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
  await box.quick(['rm', '-f', 'short']);
  assert.equal(await ended, 0);
  assert.match(text, /^short 1\nshort 1\n/);
});
