/** Few descriptors: a limit on open files below what tsbox needs is told, and leaves nothing; one just above it is enough. TSBOX_SOAK=1: all
 *  verbs, not a few of them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { PATIENCE, type Sandbox, sandbox, TSBOX } from './harness.ts';
import { leftovers } from './leftovers.ts';

/** Node itself does not start with fewer than 22, and tsbox's own libraries need two more. */
const LIMITS = [24, 25, 26, 27, 28, 30, 34, 50, 69];

test('faults: with few descriptors a run works, or says so and leaves nothing', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--rm', image, 'true']);
  const worked: number[] = [];
  for (const limit of LIMITS) {
    const run = ['run', '--rm', '--network', 'none', image, 'echo', 'here'];
    const script = `ulimit -n ${limit} && exec "$0" "$@"`;
    const { status, stdout, stderr } = spawnSync('sh', ['-c', script, TSBOX, ...run], {
      env: box.env,
      encoding: 'utf8',
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    assert.notEqual(status, null, `with ${limit} it ends`);
    if (status === 0) {
      assert.equal(stdout, 'here\n');
      worked.push(limit);
    } else {
      assert.match(stderr, /^tsbox: .*EMFILE.*\nhint: .*ulimit -n/, `with ${limit}`);
    }
    assert.equal(await box.quick(['ps', '-aq']), '', `after ${limit}: ${stderr}`);
    assert.deepEqual(await leftovers(box.directory), [], `after ${limit}`);
  }
  for (const enough of [34, 50, 69]) assert.ok(worked.includes(enough), `${enough} are enough`);
});

/** Node itself does not start with fewer. */
const LEAST = 22;
const MOST = 60;
const SHARE = 3;

interface Verb {
  words: string[];
  prepare?: (box: Sandbox, image: string) => unknown;
  /** What must hold after it has failed. */
  failed?: (box: Sandbox) => unknown;
}

const listed = async (box: Sandbox) => (await box.quick(['ps', '--all', '--format', '{{.Names}}'])).split('\n').sort();
const copy = (box: Sandbox) => join(box.directory, 'copy');
const noCopy = (box: Sandbox) => rmSync(copy(box), { force: true });
const noFile = (box: Sandbox) => assert.ok(!existsSync(copy(box)));
/** Whatever came before. */
const running = (box: Sandbox) => box.quick(['start', 'one']);
const two = (box: Sandbox, image: string) => box.quick(['create', '--name', 'two', image, 'true']);

const VERBS: Readonly<Record<string, (box: Sandbox) => Verb>> = {
  exec: () => ({ words: ['exec', '-e', 'A=b', 'one', 'true'], prepare: running }),
  ps: () => ({ words: ['ps', '--all'] }),
  logs: () => ({ words: ['logs', 'one'] }),
  'cp from one that runs': (box) => ({
    words: ['cp', 'one:/etc/passwd', copy(box)],
    prepare: noCopy,
    failed: noFile,
  }),
  'cp from one that was made': (box) => ({
    words: ['cp', 'ready:/etc/passwd', copy(box)],
    prepare: noCopy,
    failed: noFile,
  }),
  'cp to one that runs': () => ({ words: ['cp', '/etc/passwd', 'one:/tmp/'], prepare: running }),
  start: () => ({ words: ['start', '--attach', 'ready'] }),
  restart: () => ({ words: ['restart', '--time', '0', 'one'] }),
  stop: () => ({
    words: ['stop', '--time', '0', 'one'],
    prepare: running,
  }),
  commit: () => ({
    words: ['commit', 'ready', 'new'],
    failed: async (box) => assert.ok(!(await box.quick(['images', '--all'])).includes('new')),
  }),
  'rm --force': () => ({ words: ['rm', '--force', 'two'], prepare: two }),
  create: () => ({ words: ['create', '--name', 'two', 'busybox:offline', 'true'] }),
};

test('faults: with few descriptors each verb works, or says so and leaves nothing', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--detach', '--name', 'one', image, 'sh', '-c', 'echo said; sleep 1000']);
  await box.quick(['create', '--name', 'ready', image, 'true']);
  const layers = () => readdirSync(join(box.dataRoot, 'overlay2')).filter((name) => name !== 'l');
  const all = Object.entries(VERBS);
  const seed = Number(process.env['TSBOX_DESCRIPTORS_SEED'] ?? Math.floor(Math.random() * all.length));
  const step = all.length / SHARE;
  const some = Array.from({ length: SHARE }, (_, index) => all[(seed + index * step) % all.length]!);
  t.diagnostic(`TSBOX_DESCRIPTORS_SEED=${seed}`);
  for (const [name, verbOf] of process.env['TSBOX_SOAK'] === '1' ? all : some) {
    const { words, prepare, failed } = verbOf(box);
    const before = layers();
    for (let limit = LEAST; ; limit++) {
      assert.ok(limit < MOST, `${name}: ${MOST} are not enough`);
      await prepare?.(box, image);
      const script = `ulimit -n ${limit} && exec "$0" "$@"`;
      const { status, stderr } = spawnSync('sh', ['-c', script, TSBOX, ...words], {
        env: box.env,
        encoding: 'utf8',
        timeout: PATIENCE * 20_000,
        killSignal: 'SIGKILL',
      });
      const what = `${name} with ${limit}: ${status} ${stderr}`;
      assert.notEqual(status, null, what);
      if (status !== 0) {
        assert.match(stderr, /^tsbox: .*EMFILE \(Too many open files\)\nhint: .*ulimit -n/, what);
        await failed?.(box);
      }
      const removed = await box.said(['rm', '--force', 'two']);
      assert.ok(removed.status === 0 || removed.stderr.includes('No such container'), `${what}: ${removed.stderr}`);
      assert.deepEqual(await listed(box), ['one', 'ready'], what);
      // What stopped half-way is taken away by the next removal.
      if (status !== 0) await box.quick(['rm', await box.quick(['create', image])]);
      if (status !== 0) assert.deepEqual(layers(), before, what);
      if (status === 0) break;
    }
  }
  await box.quick(['rm', '--force', 'one', 'ready']);
  assert.deepEqual(await leftovers(box.directory), []);
});
