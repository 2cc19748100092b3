/** Volumes when processes are killed at random moments, and when two want the same one at once. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, until } from './harness.ts';
import { generator } from './store-random.ts';

const FILES = 150;
const seed = Number(process.env['TSBOX_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env['TSBOX_KILLS'] ?? 10);

/** An image whose /data has many files. */
async function fullImage(box: Sandbox): Promise<string> {
  const script = `mkdir /data; cd /data; i=0; while [ $i -lt ${FILES} ]; do echo $i >f$i; i=$((i+1)); done`;
  box.ok(['run', '--name', 'maker', box.image(), 'sh', '-c', script]);
  await box.quick(['commit', '--change', 'CMD ["true"]', 'maker', 'full:img']);
  await box.quick(['rm', 'maker']);
  return 'full:img';
}

const home = (box: Sandbox) => join(box.dataRoot, 'volumes');

/** Each is a volume with nothing or with all of it. */
async function checkWhole(box: Sandbox, what: string): Promise<void> {
  const names = (await box.quick(['volume', 'ls', '-q'])).split('\n').filter(Boolean);
  for (const name of names) {
    const data = join(home(box), name, '_data');
    const length = existsSync(data) ? readdirSync(data).length : -1;
    const hasAbout = existsSync(join(home(box), name, 'tsbox.json'));
    // One without a name goes meanwhile, by one rename, when the monitor of a container that went on ends.
    if (/^[0-9a-f]{64}$/.test(name) && !existsSync(join(home(box), name))) continue;
    assert.ok(length === 0 || length === FILES, `${what}: ${name} has ${length} of ${FILES} files`);
    assert.equal(hasAbout, true, `${what}: ${name}`);
  }
}

test('volumes: killed at any moment, nothing half made is taken for a volume', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = await fullImage(box);
  t.diagnostic(`TSBOX_SEED=${seed}`);
  const random = generator(seed);
  for (let round = 0; round < ROUNDS; round++) {
    const kinds = [
      ['volume', 'create', `v${round}`],
      ['run', '--rm', '-v', `v${round}:/data`, '-v', '/data2', image],
      ['create', '-v', `v${round}:/data`, image],
      ['volume', 'rm', 'old0', 'old1', 'old2'],
      ['volume', 'prune', '-f'],
    ];
    const args = kinds[round % kinds.length]!;
    for (const name of args[1] === 'rm' || args[1] === 'prune' ? ['old0', 'old1', 'old2'] : []) {
      await box.quick(['volume', 'create', name]);
      for (let file = 0; file < FILES; file++) writeFileSync(join(home(box), name, `_data/f${file}`), '');
    }
    const delay = 60 + Math.floor(random() * 340);
    const { child, done } = box.start(args);
    setTimeout(() => child.kill('SIGKILL'), delay);
    await done;
    const what = `TSBOX_SEED=${seed}: round ${round}, ${args.join(' ')} killed after ${delay} ms`;
    await checkWhole(box, what);
    const containers = (await box.quick(['ps', '-aq', '--no-trunc'])).split('\n').filter(Boolean);
    if (containers.length > 0) box.tsbox(['rm', '-fv', ...containers]);
    await box.quick(['container', 'prune', '-f']);
    await box.quick(['volume', 'prune', '-f']);
    // The end of a container that nobody waits for any more goes on beside this.
    const left = () => (existsSync(home(box)) ? readdirSync(home(box)) : []);
    await until('no volumes', () => left().length === 0).catch(() => assert.deepEqual(left(), [], what));
  }
});

test('volumes: two containers that are made at once with a new volume get it whole', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = await fullImage(box);
  const script = 'ls /data | wc -l';
  const runs = [1, 2, 3].map(() =>
    box.start(['run', '--rm', '-v', 'shared:/data', image, 'sh', '-c', script], { input: '' }),
  );
  for (const { done } of runs) {
    const { status, stdout, stderr } = await done;
    assert.deepEqual([status, stdout.trim()], [0, String(FILES)], stderr);
  }
  assert.deepEqual(readdirSync(join(home(box), 'shared')).sort(), ['_data', 'tsbox.json']);
  await box.quick(['volume', 'rm', 'shared']);
});

test('volumes: a copy that somebody was killed over is brought to its end by the next start', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  await box.quick(['create', '--name', 'one', '-v', 'vv:/x', image, 'sh', '-c', 'ls /x; cat /x/own']);
  const directory = join(home(box), 'vv');
  mkdirSync(join(directory, 'copied'));
  mkdirSync(join(directory, '.tmp-half'));
  for (const name of ['copied/a', 'copied/own', '.tmp-half/never']) writeFileSync(join(directory, name), 'image\n');
  writeFileSync(join(directory, '_data/own'), 'container\n');
  assert.equal(box.ok(['start', '-a', 'one']), 'a\nown\ncontainer');
  assert.deepEqual(readdirSync(directory).sort(), ['_data', 'tsbox.json']);
  await box.quick(['rm', 'one']);
  rmSync(directory, { recursive: true });
});
