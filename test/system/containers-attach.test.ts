/** `attach`: several at once, and one that stands still. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox, until } from './harness.ts';

test('attach: one that stands still holds the container up for some seconds only; the others get everything', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'until read -t 1 go; do echo here; done; seq 1 1500000; echo end';
  box.ok(['run', '-d', '-i', '--name', 'cc', box.image(), 'sh', '-c', script]);
  const attached = (...flags: string[]) => box.start(['attach', ...flags, 'cc'], { timeout: 120_000 });
  const [still, other] = [attached('--no-stdin'), attached()];
  await until('both to be there', () => [still, other].every((one) => one.stdout().includes('here\n')));
  still.child.kill('SIGSTOP');
  t.after(() => still.child.kill('SIGKILL'));
  const begun = performance.now();
  other.child.stdin!.write('go\n');
  const { stdout, status } = await other.done;
  assert.equal(status, 0);
  assert.ok(performance.now() - begun < 60_000);
  const numbers = stdout.split('\n').filter((line) => /^\d+$/.test(line));
  assert.deepEqual([numbers.length, numbers[0], numbers.at(-1)], [1_500_000, '1', '1500000']);
  assert.equal(box.ok(['wait', 'cc']), '0');
  still.child.kill('SIGCONT');
  const { status: sentAway, stderr } = await still.done;
  assert.notEqual(sentAway, 0);
  assert.match(stderr, /connection to the container's monitor was lost/);
  await until('the end', () => box.ok(['inspect', '-f', '{{.State.Running}}', 'cc']) === 'false');
});

test('attach: to a container that is paused or has ended is refused', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'cc', box.image(), 'sleep', '1000']);
  await box.quick(['pause', 'cc']);
  const paused = box.tsbox(['attach', 'cc']);
  assert.deepEqual([paused.status, paused.stdout], [1, '']);
  assert.match(paused.stderr, /cannot attach to a paused container, unpause it first/);
  await box.quick(['unpause', 'cc']);
  box.ok(['kill', 'cc']);
  box.ok(['wait', 'cc']);
  assert.match(box.tsbox(['attach', 'cc']).stderr, /cannot attach to a stopped container, start it first/);
});

test('attach: the end of its input ends that of a container only which was made for one client', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'while read line; do echo "got $line"; [ "$line" = q ] && exit 4; done; exit 5';
  const flags = ['-i', '--network', 'none', box.image(), 'sh', '-c', script];
  box.ok(['run', '-d', '--name', 'open', ...flags]);
  const first = box.start(['attach', 'open'], { input: 'one\n' });
  await until('the first line is read', () => first.stdout() === 'got one\n');
  const second = box.tsbox(['attach', 'open'], { input: 'two\nq\n' });
  assert.deepEqual([second.status, second.stdout], [4, 'got two\ngot q\n']);
  assert.deepEqual([(await first.done).status, first.stdout()], [4, 'got one\ngot two\ngot q\n']);
  assert.equal(box.tsbox(['run', '--name', 'once', ...flags], { input: 'one\n' }).status, 5);
  assert.equal(box.tsbox(['start', '-ai', 'once'], { input: 'one\n' }).status, 5);
});
