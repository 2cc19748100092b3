/** A clock that is set by hours while a container runs. Nobody sets the machine's: what was written down gets another time instead. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, until } from './harness.ts';

const HOUR = 3_600_000;
/** Its start was so many hours later than it was: the clock has been set back since. */
const moved = (time: string, hours: number) => new Date(Date.parse(time) + hours * HOUR).toISOString();

async function moveStart(box: Sandbox, name: string, hours: number): Promise<void> {
  const path = join(box.runRoot, await box.quick(['inspect', '--format', '{{.Id}}', name]), 'state.json');
  const state = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...state, StartedAt: moved(state.StartedAt, hours) }));
}

const statusOf = (box: Sandbox, name: string) =>
  box.quick(['ps', '--all', '--filter', `name=^/${name}$`, '--format', '{{.Status}}']);

test('clock: set by hours, the list tells no nonsense, and verbs work', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--detach', '--name', 'one', image, 'sleep', '1000']);
  await moveStart(box, 'one', -6);
  assert.equal(await statusOf(box, 'one'), 'Up 6 hours');
  await moveStart(box, 'one', 12);
  assert.equal(await statusOf(box, 'one'), 'Up Less than a second');
  box.ok(['exec', 'one', 'true']);
  await box.quick(['pause', 'one']);
  assert.equal(await statusOf(box, 'one'), 'Up Less than a second (Paused)');
  await box.quick(['unpause', 'one']);
  // Its end is before its start.
  assert.equal(await box.quick(['stop', '--time', '0', 'one']), 'one');
  assert.match(await statusOf(box, 'one'), /^Exited \(137\) .* ago$/);
  assert.equal(await box.quick(['wait', 'one']), '137');
  box.ok(['start', 'one']);
  assert.match(await statusOf(box, 'one'), /^Up /);
  await box.quick(['rm', '--force', 'one']);
});

test('clock: set by hours, the start period of a health check is as long as it was', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const run = (name: string, period: string) => {
    const probe = ['--health-cmd', 'false', '--health-interval', '100ms', '--health-retries', '2'];
    box.ok(['run', '--detach', '--name', name, ...probe, '--health-start-period', period, image, 'sleep', '1000']);
  };
  const health = (name: string) => {
    const { Status, Log } = JSON.parse(box.ok(['inspect', '--format', '{{json .State.Health}}', name]));
    return { Status, count: Log.length };
  };
  run('set-back', '1s');
  await moveStart(box, 'set-back', 6);
  await until('a check that has failed often enough', () => health('set-back').Status === 'unhealthy', 30_000);
  run('set-forward', '1h');
  await moveStart(box, 'set-forward', -6);
  await until('checks that have failed', () => health('set-forward').count >= 4, 30_000);
  assert.equal(health('set-forward').Status, 'starting');
  await box.quick(['rm', '--force', 'set-back', 'set-forward']);
});

test('clock: set back while a container writes, nothing of its log is lost', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '--name', 'one', box.image(), 'sh', '-c', 'echo early; echo late']);
  const path = await box.quick(['inspect', '--format', '{{.LogPath}}', 'one']);
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  const [early, late] = lines.map((line) => JSON.parse(line));
  writeFileSync(path, `${JSON.stringify({ ...early, time: moved(early.time, 6) })}\n${JSON.stringify(late)}\n`);
  assert.equal(box.ok(['logs', 'one']), 'early\nlate');
  assert.equal(box.ok(['logs', '--tail', '1', 'one']), 'late');
  assert.equal(box.ok(['logs', '--since', moved(late.time, -1), 'one']), 'early\nlate');
  assert.equal(box.ok(['logs', '--since', moved(late.time, 1), 'one']), 'early');
  assert.equal(box.ok(['logs', '--until', moved(late.time, 1), 'one']), 'late');
  await box.quick(['rm', 'one']);
});

test('clock: set by hours, the delay of a restart goes by how long the run was', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'while [ ! -e /go ]; do sleep 0.02; done; rm /go; exit 1';
  const id = box.ok(['run', '--detach', '--name', 'one', '--restart', 'always', box.image(), 'sh', '-c', script]);
  const record = join(box.dataRoot, 'containers', id, 'config.v2.json');
  const recorded = () => JSON.parse(readFileSync(record, 'utf8'));
  const delays: number[] = [];
  for (const [run, hours] of [0, -6, 6, -6].entries()) {
    await until(`run ${run}`, () => recorded().RestartCount === run && recorded().State.Pid > 0, 20_000);
    const asked = readFileSync(join(box.runRoot, id, 'successor.json'), 'utf8');
    delays.push(JSON.parse(asked).Delay);
    const { State, ...rest } = recorded();
    const StartedAt = moved(State.StartedAt, hours);
    writeFileSync(record, JSON.stringify({ ...rest, State: { ...State, StartedAt } }));
    box.tsbox(['exec', 'one', 'touch', '/go']); // may be killed by the end that it brings about
  }
  assert.deepEqual(delays, [0, 100, 200, 400]);
  await box.quick(['rm', '--force', 'one']);
});
