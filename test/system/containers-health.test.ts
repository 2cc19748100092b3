/** Health checks, and containers that go on after the host was restarted. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, until } from './harness.ts';
import { removeCgroups } from './leftovers.ts';

const inspected = (box: Sandbox, name: string, field: string) => box.quick(['inspect', '-f', `{{${field}}}`, name]);

async function becomes(box: Sandbox, args: string[], pattern: RegExp): Promise<string> {
  for (const end = performance.now() + 20_000; ; await new Promise((wake) => setTimeout(wake, 40))) {
    const { stdout } = await box.said(args);
    if (pattern.test(stdout)) return stdout;
    if (performance.now() > end) throw new Error(`${args.join(' ')} stays at ${stdout}, not ${pattern}`);
  }
}

const status = (name: string) => ['ps', '-a', '--filter', `name=${name}`, '--format', '{{.Status}}'];

test('health checks', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const probe = ['--health-interval', '100ms', '--health-retries', '2'];
  await t.test('starting, healthy, unhealthy and back: in ps, in inspect, by the filter', async () => {
    const cmd = 'echo seen; test ! -e /sick';
    box.ok(['run', '-d', '--name', 'one', ...probe, '--health-cmd', cmd, image, 'sh', '-c', 'sleep 1000']);
    assert.match(await box.quick(status('one')), /^Up .* \((health: starting|healthy)\)$/);
    await becomes(box, status('one'), /^Up .* \(healthy\)$/m);
    box.ok(['exec', 'one', 'touch', '/sick']);
    await becomes(box, status('one'), /^Up .* \(unhealthy\)$/m);
    const { Status, FailingStreak, Log } = JSON.parse(await inspected(box, 'one', 'json .State.Health'));
    assert.equal(Status, 'unhealthy');
    assert.ok(FailingStreak >= 2);
    const last = Log.at(-1);
    assert.deepEqual([last.ExitCode, last.Output], [1, 'seen\n']);
    assert.ok(Date.parse(last.Start) <= Date.parse(last.End) && Log.length <= 5);
    assert.equal(await box.quick(['ps', '-q', '--filter', 'health=healthy']), '');
    assert.equal(await box.quick(['ps', '--format', '{{.Names}}', '--filter', 'health=unhealthy']), 'one');
    assert.match((await box.said(['ps', '--filter', 'health=x'])).stderr, /Unrecognised filter value for health: x/);
    box.ok(['exec', 'one', 'rm', '/sick']);
    await becomes(box, status('one'), /\(healthy\)/);
    // Told just after it can be seen.
    const told = () => readFileSync(join(box.runRoot, 'events'), 'utf8').match(/health_status: \w+/g) ?? [];
    await until('three changes to be told', () => told().length >= 3);
    assert.deepEqual(told(), ['health_status: healthy', 'health_status: unhealthy', 'health_status: healthy']);
    const monitor = JSON.parse(
      readFileSync(join(box.runRoot, await inspected(box, 'one', '.Id'), 'state.json'), 'utf8'),
    ).Monitor;
    const privates = readFileSync(`/proc/${monitor}/smaps_rollup`, 'utf8').matchAll(/^Private_\w+:\s+(\d+)/gm);
    const kilobytes = [...privates].reduce((sum, [, number]) => sum + Number(number), 0);
    assert.ok(kilobytes < 700, `the monitor has ${kilobytes} KB of its own`);
    await box.quick(['stop', '-t', '0', 'one']);
    assert.equal(await inspected(box, 'one', '.State.Health.Status'), 'unhealthy');
    assert.match(await box.quick(status('one')), /^Exited \(137\) .* ago$/);
    await box.quick(['rm', 'one']);
  });
  await t.test('a probe that takes too long is ended, and its output is not waited for', async () => {
    const flags = [...probe, '--health-timeout', '150ms', '--health-cmd', 'sleep 777'];
    box.ok(['run', '-d', '--name', 'slow', ...flags, image, 'sleep', '1000']);
    await becomes(box, status('slow'), /\(unhealthy\)/);
    const [first] = JSON.parse(await inspected(box, 'slow', 'json .State.Health.Log'));
    assert.deepEqual([first.ExitCode, first.Output], [-1, 'Health check exceeded timeout (150ms)']);
    await becomes(box, ['ps', '-q'], /./);
    assert.ok((box.ok(['exec', 'slow', 'ps']).match(/sleep 777/g) ?? []).length <= 2);
    await box.quick(['rm', '-f', 'slow']);
  });
  await t.test('within the start period failures do not count', async () => {
    box.ok([
      'run',
      '-d',
      '--name',
      'early',
      ...probe,
      '--health-start-period',
      '1m',
      '--health-cmd',
      'false',
      image,
      'sleep',
      '1000',
    ]);
    await becomes(box, ['inspect', '-f', '{{len .State.Health.Log}}', 'early'], /^[3-5]$/m);
    assert.equal(await inspected(box, 'early', '.State.Health.Status'), 'starting');
    assert.equal(await inspected(box, 'early', '.State.Health.FailingStreak'), '0');
    await box.quick(['rm', '-f', 'early']);
  });
  await t.test('within the start period it is asked more often, until it is healthy', async () => {
    const flags = ['--health-interval', '1h', '--health-start-period', '1m', '--health-start-interval', '50ms'];
    const cmd = 'echo >> /asked; test $(wc -l < /asked) -gt 2';
    box.ok(['run', '-d', '--name', 'soon', ...flags, '--health-cmd', cmd, image, 'sleep', '1000']);
    assert.equal(await inspected(box, 'soon', 'json .Config.Healthcheck.StartInterval'), '50000000');
    await becomes(box, status('soon'), /^Up .* \(healthy\)$/m);
    await new Promise((resolve) => setTimeout(resolve, 600));
    const asked = box.ok(['exec', 'soon', 'sh', '-c', 'wc -l < /asked']);
    assert.equal(asked.trim(), '3', 'and then not for an hour');
    await box.quick(['rm', '-f', 'soon']);
  });
  await t.test('the image’s check, with what the user says otherwise, or without', async () => {
    const change = 'HEALTHCHECK --interval=100ms --retries=1 CMD ["test","-e","/well"]';
    const maker = await box.quick(['create', image]);
    await box.quick(['commit', '--change', change, maker, 'checked']);
    await box.quick(['create', '--name', 'of-image', '--health-retries', '7', 'checked']);
    assert.deepEqual(JSON.parse(await inspected(box, 'of-image', 'json .Config.Healthcheck')), {
      Test: ['CMD', 'test', '-e', '/well'],
      Interval: 100_000_000,
      Retries: 7,
    });
    box.ok(['run', '-d', '--name', 'unasked', '--no-healthcheck', 'checked', 'sleep', '1000']);
    assert.match(await box.quick(status('unasked')), /^Up [^()]*$/);
    assert.equal(await box.quick(['ps', '--format', '{{.Names}}', '--filter', 'health=none']), 'unasked');
  });
  await t.test('wrong words', async () => {
    const said = async (...flags: string[]) => (await box.said(['create', ...flags, image])).stderr.split('\n')[0];
    assert.equal(
      await said('--no-healthcheck', '--health-cmd', 'x'),
      'tsbox: --no-healthcheck conflicts with --health-* options',
    );
    assert.equal(await said('--health-retries', '-1'), 'tsbox: --health-retries cannot be negative');
    assert.equal(await said('--health-timeout', '-1s'), 'tsbox: --health-timeout cannot be negative');
    assert.match(
      (await said('--health-interval', 'x'))!,
      /invalid argument "x" for "--health-interval" flag: time: invalid duration "x"/,
    );
    assert.equal(
      await said('--health-interval', '1us', '--health-cmd', 'x'),
      'tsbox: Interval in Healthcheck cannot be less than 1ms',
    );
    assert.equal(
      await said('--health-start-interval', '1us', '--health-cmd', 'x'),
      'tsbox: StartInterval in Healthcheck cannot be less than 1ms',
    );
  });
});

test('system start: the host was restarted', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const run = (name: string, policy: string, ...command: string[]) =>
    box.ok(['run', '-d', '--name', name, '--restart', policy, image, ...command]);
  run('always', 'always', 'sleep', '1000');
  run('unless', 'unless-stopped', 'sleep', '1000');
  run('stopped', 'unless-stopped', 'sleep', '1000');
  run('never', 'no', 'sleep', '1000');
  run('looping', 'always', 'sh', '-c', 'exit 1');
  box.ok(['run', '-d', '--rm', '--name', 'brief', image, 'sleep', '1000']);
  await box.quick(['create', '--rm', '--name', 'unused', image]);
  const fine = run('fine', 'on-failure', 'true');
  await box.quick(['create', '--name', 'fresh', '--restart', 'always', image]);
  await box.quick(['stop', '-t', '0', 'stopped']);
  await becomes(box, ['inspect', '-f', '{{.RestartCount}}', 'looping'], /^([2-9]|\d\d+)$/m);
  await box.quick(['wait', fine]);
  // What a power cut does to them: every monitor and successor, and nothing of the run root. Here they do not all go at once: what they
  // have started meanwhile follows.
  await until('the end of all', () => {
    const pids = atWork(box);
    for (const pid of pids) killed(pid);
    return pids.length === 0;
  });
  await becomes(box, ['ps', '-q'], /^$/);
  const ids = readdirSync(join(box.dataRoot, 'containers'));
  // A first process outlives its monitor by a moment, and its cgroup is not to be removed before.
  await until('the cgroups to go', () => removeCgroups(ids));
  rmSync(box.runRoot, { recursive: true, force: true });
  assert.match(await box.quick(['ps', '-a', '--format', '{{.Names}} {{.Status}}']), /^always Exited \(137\)/m);
  writeFileSync(join(box.dataRoot, 'containers', await inspected(box, 'never', '.Id'), 'config.v2.json'), '{');
  const { status: code, stdout, stderr } = box.tsbox(['system', 'start']);
  assert.deepEqual([code, stdout], [1, 'always\nunless\nlooping\n'], stderr);
  assert.match(stderr, /config\.v2\.json/, 'what is damaged is named, and the others are started');
  assert.match(await box.quick(['ps', '--format', '{{.Names}}']), /^(looping\n)?unless\nalways$/m);
  assert.equal(box.ok(['exec', 'always', 'cat', '/proc/1/comm']), 'sleep');
  const names = await box.quick(['ps', '-a', '--format', '{{.Names}}']);
  assert.doesNotMatch(names, /brief/, 'one of --rm that ran is removed');
  assert.match(names, /unused/, 'one that was only created is not');
  const again = box.tsbox(['system', 'start']);
  assert.equal(again.stdout.replace('looping\n', ''), '', 'what runs is left alone');
});

/** Processes of tsbox that look after the containers of a sandbox. */
function atWork(box: Sandbox): string[] {
  const ours = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandOf(name).includes(box.runRoot));
  const monitors = readdirSync(box.runRoot).flatMap((id) => {
    const { Monitor } = JSON.parse(content(join(box.runRoot, id, 'state.json')) || '{}') as { Monitor?: number };
    return commandOf(String(Monitor)).startsWith('tsbox-executor') ? [String(Monitor)] : [];
  });
  return [...ours, ...monitors];
}

function killed(pid: string): void {
  try {
    process.kill(Number(pid), 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

const commandOf = (pid: string) => content(`/proc/${pid}/cmdline`);

function content(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // gone meanwhile
  }
}
