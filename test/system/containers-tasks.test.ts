/** Few processes and threads: a verb works or says why it cannot, never waits for ever, and leaves nothing. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { PATIENCE, type Sandbox, sandbox, TSBOX, until } from './harness.ts';
import { leftovers } from './leftovers.ts';

/** Node and its threads are eleven; the executor, the container and what they need beside themselves are a few more. */
const LIMITS = [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 16, 30, 5000];
const ENOUGH = [30, 5000];
const TIME_LIMIT = 60_000;

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** A cgroup of the test's own in which there can be so many. */
interface Small {
  directory: string;
  limit(count: number): void;
  run(box: Pick<Sandbox, 'env'>, words: readonly string[], tsbox?: readonly string[]): Promise<Ended>;
}

function pidsHierarchy(): string | undefined {
  const places = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'];
  return places.find((place, index) =>
    index === 0 ? existsSync(place) : /\bpids\b/.test(read(`${place}/cgroup.subtree_control`)),
  );
}

function read(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function small(t: TestContext, hierarchy: string): Small {
  const directory = join(hierarchy, `tsbox-few-${process.pid}`);
  mkdirSync(directory);
  t.after(async () => {
    // Who is listed no more may still be on his way out.
    await until('the end of all in the cgroup', () => {
      if (read(join(directory, 'cgroup.procs')) !== '') return false;
      try {
        rmdirSync(directory);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
        return false;
      }
    });
  });
  return {
    directory,
    limit: (count) => writeFileSync(join(directory, 'pids.max'), String(count)),
    run(box, words, tsbox = [TSBOX]) {
      const script = `echo $$ >${directory}/cgroup.procs && exec "$0" "$@"`;
      const child = spawn('sh', ['-c', script, ...tsbox, ...words], {
        env: box.env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE * TIME_LIMIT);
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (data) => {
        stdout += data;
      });
      child.stderr.on('data', (data) => {
        stderr += data;
      });
      return new Promise((resolve) => {
        child.on('close', (status) => {
          clearTimeout(timer);
          resolve({ status, stdout, stderr });
        });
      });
    },
  };
}

const DETACHED = (image: string) => ['run', '--detach', '--name', 'two', image, 'sleep', '1000'];

test('faults: an ordinary user who may have few processes is told so, and does not wait', (t) => {
  if (!requires(t, 'root', 'command:setpriv')) return;
  const somebody = ['setpriv', '--reuid', '64123', '--regid', '64123', '--clear-groups'];
  const env = { ...process.env, HOME: '/' };
  const started = (most: string) =>
    spawnSync(
      somebody[0]!,
      [
        ...somebody.slice(1),
        'sh',
        '-c',
        `ulimit -p ${most} 2>&- || ulimit -u ${most}; exec "$0" "$@"`,
        TSBOX,
        '--version',
      ],
      {
        env,
        encoding: 'utf8',
        timeout: PATIENCE * TIME_LIMIT,
      },
    );
  const few = started('5');
  assert.deepEqual([few.status, few.stdout], [125, ''], few.stderr);
  assert.match(few.stderr, /^tsbox: start Node: EAGAIN \(.*\)\nhint: .*ulimit -u/);
  for (const most of ['30', '5000']) assert.equal(started(most).status, 0, started(most).stderr);
});

test('faults: tsbox starts at the root of a cgroup namespace, which has a limit where the root of the host has none', async (t) => {
  if (!requires(t, 'root', 'command:unshare')) return;
  const hierarchy = pidsHierarchy();
  if (hierarchy === undefined) return t.skip('no cgroup limits processes here');
  const { directory, limit, run } = small(t, hierarchy);
  const inside = [
    'unshare',
    '--mount',
    '--cgroup',
    'sh',
    '-c',
    `mount --bind ${directory} ${hierarchy}; exec "$0" "$@"`,
  ];
  for (const count of [5000, 30]) {
    limit(count);
    const { status, stderr } = await run({ env: process.env }, ['--version'], [...inside, TSBOX]);
    assert.equal(status, 0, stderr);
  }
});

test('faults: with few processes a verb works, or says so and leaves nothing', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const hierarchy = pidsHierarchy();
  if (hierarchy === undefined) return t.skip('no cgroup limits processes here');
  const box = sandbox(t);
  const image = box.image();
  const { limit, run } = small(t, hierarchy);
  const one = box.ok(['run', '--detach', '--name', 'one', image, 'sleep', '1000']);
  const failed = new Map<string, number[]>();
  const tried = async (count: number, words: string[], stdout: RegExp) => {
    limit(count);
    const ended = await run(box, words);
    const what = `${count}: ${words.join(' ')}: ${JSON.stringify(ended)}`;
    assert.notEqual(ended.status, null, `it ends: ${what}`);
    if (ended.status === 0) assert.match(ended.stdout, stdout, what);
    else {
      assert.match(ended.stderr, /^tsbox: .*EAGAIN \(Resource temporarily unavailable\).*\nhint: .*pids\.max/m, what);
      failed.set(words[0]!, [...(failed.get(words[0]!) ?? []), count]);
    }
  };
  for (const count of LIMITS) {
    await tried(count, ['ps', '--quiet', '--no-trunc'], new RegExp(`^${one}\n$`));
    await tried(count, ['exec', 'one', 'echo', 'here'], /^here\n$/);
    await tried(count, ['exec', '--env', 'A=b', 'one', 'echo', 'by Node'], /^by Node\n$/);
    await tried(count, ['run', '--rm', image, 'echo', 'here'], /^here\n$/);
    await tried(count, DETACHED(image), /^[0-9a-f]{64}\n$/);
    const isThere = (await box.quick(['ps', '--all', '--format', '{{.Names}}'])).includes('two');
    if (isThere) await tried(count, ['rm', '--force', 'two'], /^two\n$/);
    const left = await box.said(['rm', '--force', 'two']);
    assert.ok(left.status === 0 || left.stderr.includes('No such container'), left.stderr);
    assert.equal(await box.quick(['ps', '--all', '--format', '{{.Names}}']), 'one', `after ${count}`);
    assert.deepEqual(readdirSync(box.runRoot).sort(), [one, 'events'].sort(), `after ${count}`);
  }
  t.diagnostic(`refused: ${[...failed].map(([verb, counts]) => `${verb} ${counts.join(',')}`).join('; ')}`);
  for (const [verb, counts] of failed) {
    assert.deepEqual(
      ENOUGH.filter((count) => counts.includes(count)),
      [],
      verb,
    );
  }
  await box.quick(['rm', '--force', 'one']);
  assert.deepEqual(await leftovers(box.directory), []);
});
