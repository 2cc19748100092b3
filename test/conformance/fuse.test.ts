/** The union from user space, and containers that move between it and the kernel's overlay. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { CHANGE, CHECK, conform, driven, exported, NEEDS, SEEN, sh } from './driver.ts';
import { killUnion, refuses, refusesFiles, unions } from './unions.ts';

conform('fuse');

const begin = (t: TestContext) => (requires(t, ...NEEDS.fuse) ? driven(t, 'fuse') : undefined);
const overlay2 = { env: { TSBOX_STORAGE_DRIVER: 'overlay2' } };

test('fuse: a container goes on under the kernel, and back', (t) => {
  if (!requires(t, ...NEEDS.overlay2)) return;
  const box = begin(t);
  if (box === undefined) return;
  const script = (
    order: string,
  ) => `case $(cat /turn 2>/dev/null) in "") ${order}; echo 1 > /turn;; 1) ${CHECK}; rm -r /var/www; mkdir /var/www
    echo 2 > /turn; rm /deep/fifo; mv /deep/null /deep/zero;; 2) ls /var/www /deep;; esac`;
  const turn = (name: string, ...options: [] | [typeof overlay2]) => box.ok(['start', '--attach', name], ...options);
  for (const first of ['fuse', 'overlay2']) {
    const [here, there]: [[] | [typeof overlay2], [] | [typeof overlay2]] =
      first === 'fuse' ? [[], [overlay2]] : [[overlay2], []];
    box.ok(['create', '--name', first, box.image(), 'sh', '-euc', script(CHANGE)]);
    turn(first, ...here);
    assert.equal(turn(first, ...there), SEEN);
    assert.equal(turn(first, ...here), '/deep:\ner\nlink\nsymlink\nzero\n\n/var/www:');
    assert.equal(box.ok(['inspect', '--format', '{{.Driver}}', first]), 'overlay2', 'the form of what lies on disk');
  }
  const names = (name: string) => [...exported(box, name).keys()].sort();
  assert.deepEqual(names('fuse'), names('overlay2'));
  assert.deepEqual(box.ok(['diff', 'fuse']).split('\n').sort(), box.ok(['diff', 'overlay2']).split('\n').sort());
});

test('fuse: the union ends with the container', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(box, 'one', 'sleep 1000', '--detach');
  assert.equal(unions(box).length, 1);
  box.ok(['kill', 'one']);
  await until('its end', () => unions(box).length === 0);
  box.ok(['cp', 'one:/etc/passwd', join(box.directory, 'passwd')]);
  box.ok(['export', '--output', join(box.directory, 'tar'), 'one']);
  await until('its end', () => unions(box).length === 0);
});

test('fuse: a union that is killed: whoever needs files is told, nothing waits, and a restart goes on', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(box, 'one', 'echo kept > /file; echo ready; sleep 1000', '--detach');
  await until('the file', () => box.ok(['logs', 'one']) === 'ready');
  box.ok(['exec', 'one', 'true']);
  await killUnion(box);
  refusesFiles(box, box.directory);
  refuses(box, 'export', '--output', join(box.directory, 'tar'), 'one');
  assert.match(box.ok(['ps']), / Up /);
  assert.equal(
    box.ok(['inspect', '--format', '{{.State.Error}}', 'one']),
    'the process that serves its files has ended',
  );
  // These read what is on disk, which is whole.
  assert.match(box.ok(['diff', 'one']), /^A \/file$/m);
  box.ok(['commit', 'one', 'one:image']);
  assert.equal(box.ok(['run', '--rm', 'one:image', 'cat', '/file']), 'kept');
  box.ok(['restart', '--time', '1', 'one']);
  assert.equal(box.ok(['exec', 'one', 'cat', '/file']), 'kept');
  assert.equal(box.ok(['inspect', '--format', '{{.State.Error}}', 'one']), '');
  await killUnion(box);
  box.ok(['rm', '--force', 'one'], { timeout: 10_000 });
});

test('fuse: a union that stands still holds up nobody who only looks at the container', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(box, 'one', 'echo said; echo kept > /file; sleep 1000', '--detach', '--volume', 'vv:/v');
  await until('its word', () => box.ok(['logs', 'one']) === 'said');
  const [union] = unions(box);
  process.kill(union!, 'SIGSTOP');
  try {
    for (const words of [
      ['ps', '--all', '--size'],
      ['inspect', '--size', 'one'],
      ['logs', 'one'],
      ['top', 'one'],
      ['port', 'one'],
      ['diff', 'one'],
      ['stats', '--no-stream', 'one'],
      ['images', '--all'],
      ['image', 'inspect', box.image()],
      ['volume', 'ls'],
      ['volume', 'inspect', 'vv'],
      ['network', 'ls'],
      ['network', 'inspect', 'bridge'],
      ['system', 'df', '--verbose'],
      ['events', '--since', '1h', '--until', '0s'],
      ['info'],
      ['doctor', '--quiet'],
      ['container', 'prune', '--force'],
      ['image', 'prune', '--force'],
      ['rename', 'one', 'two'],
      ['update', '--restart', 'no', 'two'],
    ]) {
      box.tsbox(words, { timeout: 20_000 });
    }
    assert.equal(box.ok(['inspect', '--format', '{{.State.Status}} [{{.State.Error}}]', 'two']), 'running []');
  } finally {
    process.kill(union!, 'SIGCONT');
  }
  await box.quick(['rm', '--force', '--volumes', 'two']);
});

test('fuse: a process in the container that needs a file ends when the union is killed', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  // Of the shell itself all that it needs has been read by then: what is not there would end it by SIGBUS.
  const turn = 'cat /etc/hostname /etc/passwd > /dev/null';
  sh(
    box,
    'one',
    `for i in 1 2; do ${turn}; sleep 0.1; done; echo ready; while ${turn}; do sleep 0.1 || true; done; exit 9`,
    '--detach',
  );
  await until('its word', () => box.ok(['logs', 'one']) === 'ready');
  await killUnion(box);
  assert.equal(box.ok(['wait', 'one']), '9');
  assert.equal(box.ok(['inspect', '--format', '{{.State.Status}}', 'one']), 'exited');
});

test('fuse: a copy of the mount in a foreign mount namespace does not keep the union', async (t) => {
  const box = begin(t);
  if (box === undefined) return;
  sh(box, 'one', 'sleep 1000', '--detach');
  const other = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', 'echo; read line']);
  t.after(() => other.kill('SIGKILL'));
  await new Promise((ready) => other.stdout.once('data', ready));
  box.ok(['rm', '--force', 'one']);
  await until('the end of the union', () => unions(box).length === 0);
});
