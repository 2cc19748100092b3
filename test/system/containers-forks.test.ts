/** No more processes may be made, at each single one that a verb makes: it says so and leaves nothing, or has no need of it. TSBOX_SOAK=1: each
 *  case with one refused and with all from there on refused. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { type FewForks, fewForks, type Which } from './few-forks.ts';
import { type Sandbox, sandbox, TSBOX, until } from './harness.ts';
import { leftovers } from './leftovers.ts';
import { left as leftOfNetworks, networked } from './networks.ts';

const MOST = 20;
const soak = process.env['TSBOX_SOAK'] === '1';
const needs = ['root', 'overlay', 'command:gcc'] as const;
const VOLUME = 'type=volume,dst=/v,volume-opt=type=tmpfs,volume-opt=device=tmpfs';

const names = (directory: string) => (existsSync(directory) ? readdirSync(directory).sort() : []);

/** What there is of containers and their mounts, without those that were there before. */
function things(box: Sandbox): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return [
    ...mounts.map((line) => line.split(' ')[4] ?? '').filter((point) => point.startsWith(box.directory)),
    ...names(box.runRoot).filter((name) => name !== 'events' && name !== 'networks'),
    ...names(join(box.dataRoot, 'containers')),
    ...names(join(box.dataRoot, 'overlay2')).filter((name) => name.endsWith('-init') || name.startsWith('.tmp')),
    ...names(join(box.dataRoot, 'volumes')),
  ];
}

/** Refuses one process after another, until `words` have no more to ask for. After each: nothing has changed, or `rm` takes it away.
 *  @param exitCode of what could not be done */
async function refuseEach(box: Sandbox, run: FewForks, which: Which, words: readonly string[], exitCode: number) {
  const before = things(box);
  const whom: string[] = [];
  for (let number = 1; number <= MOST; number++) {
    const one = run(which, number, [TSBOX, ...words], box.env);
    const what = `${which} ${number}: ${words.join(' ')}: ${JSON.stringify(one)}`;
    assert.notEqual(one.status, null, `it ends: ${what}`);
    if (one.status !== 0) {
      assert.equal(one.status, exitCode, what);
      assert.match(one.stderr, /Resource temporarily unavailable/, what);
      if (!one.stderr.includes('docker-init')) assert.match(one.stderr, /\nhint: .*pids\.max/, what);
      assert.doesNotMatch(one.stderr, /^tsbox-union:/m, what);
    }
    const listed = (await box.quick(['ps', '--all', '--format', '{{.Names}} {{.State}}'])).split('\n');
    const two = listed.find((line) => line.startsWith('two '));
    if (two !== undefined) {
      assert.equal(two, `two ${one.status === 0 ? 'running' : 'created'}`, what);
      await box.quick(['rm', '--force', '--volumes', 'two']);
    }
    await until(`the end of everything after ${what}`, () => things(box).join() === before.join());
    if (one.whom === undefined) return whom;
    whom.push(one.whom);
  }
  throw new Error(`${words.join(' ')} still asks for processes after ${MOST}: ${whom.join(', ')}`);
}

interface Case {
  words: (image: string) => string[];
  which: Which;
  exitCode: number;
  /** Who makes processes, at the least. */
  by: readonly string[];
}

/** Two of them, in turn: all take as long as a minute. */
function share<T>(t: TestContext, all: readonly T[]): readonly T[] {
  if (soak) return all;
  const seed = Number(process.env['TSBOX_FORKS_SEED'] ?? Math.floor(Math.random() * all.length));
  t.diagnostic(`TSBOX_FORKS_SEED=${seed}`);
  return [0, 3].map((step) => all[(seed + step) % all.length]!);
}

const DETACHED = ['run', '--detach', '--name', 'two'];
const START = ['MainThread', 'tsbox-executor', 'tsbox-executor'];

const CASES: Readonly<Record<string, Case>> = {
  'run --init': {
    words: (image) => ['run', '--rm', '--name', 'two', '--init', image, 'true'],
    which: 'one',
    exitCode: 125,
    by: [...START, 'docker-init'],
  },
  'a log that is not waited for': {
    words: (image) => [...DETACHED, '--log-driver', 'local', '--log-opt', 'mode=non-blocking', image, 'sleep', '1000'],
    which: 'one',
    exitCode: 125,
    by: ['MainThread', 'tsbox-executor', 'tsbox-executor', 'tsbox-executor'],
  },
  'the storage driver fuse': {
    words: (image) => ['--storage-driver', 'fuse', ...DETACHED, image, 'sleep', '1000'],
    which: 'one',
    exitCode: 125,
    by: START,
  },
  'a tmpfs for a volume': {
    words: (image) => ['run', '--rm', '--name', 'two', '--mount', VOLUME, image, 'true'],
    which: 'one',
    exitCode: 125,
    by: [...START, 'tsbox-executor'],
  },
  start: { words: () => ['start', 'ready'], which: 'from', exitCode: 1, by: START },
  'exec, replayed': { words: () => ['exec', 'one', 'true'], which: 'from', exitCode: 126, by: ['tsbox-replay'] },
  'exec by Node': { words: () => ['exec', '--privileged', 'one', 'true'], which: 'one', exitCode: 126, by: START },
  top: { words: () => ['top', 'one'], which: 'from', exitCode: 1, by: ['MainThread'] },
};

test('faults: each single process of a verb is refused', async (t) => {
  if (!requires(t, ...needs, 'file:/dev/fuse')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--detach', '--name', 'one', image, 'sleep', '1000']);
  box.ok(['exec', 'one', 'true']);
  await box.quick(['create', '--name', 'ready', image, 'true']);
  const run = fewForks(box.directory);
  for (const [name, { words, which, exitCode, by }] of share(t, Object.entries(CASES))) {
    for (const each of soak ? (['one', 'from'] as const) : [which]) {
      // A volume whose end finds no process stays for its next use: its own test is below.
      if (name === 'a tmpfs for a volume' && each === 'from') continue;
      await t.test(`${name}: ${each}`, async () => {
        const whom = await refuseEach(box, run, each, words(image), exitCode);
        t.diagnostic(`${name}: ${whom.join(', ')}`);
        for (const asker of by) assert.ok(whom.includes(asker), `${asker} is among ${whom.join(', ')}`);
        assert.ok(whom.length >= by.length, whom.join(', '));
      });
    }
  }
  await box.quick(['rm', '--force', 'one', 'ready']);
  assert.deepEqual(await leftovers(box.directory), []);
});

test('faults: a tmpfs for a volume whose end finds no process: empty at its next use, and gone after that', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const words = (...command: string[]) => ['run', '--rm', '--mount', `${VOLUME},src=vol`, image, ...command];
  const run = fewForks(box.directory);
  const mounted = () => readFileSync('/proc/self/mountinfo', 'utf8').includes(`${box.dataRoot}/volumes/vol/_data `);
  // The process of the command is the third; after it comes what lets go of the volume.
  const first = run('from', 4, [TSBOX, ...words('touch', '/v/old')], box.env);
  assert.deepEqual([first.status, first.whom], [0, 'tsbox-executor'], first.stderr);
  assert.ok(mounted());
  assert.equal(box.ok(words('ls', '/v')), '');
  assert.ok(!mounted());
  // Without processes for the start itself nothing stays.
  assert.equal(run('from', 3, [TSBOX, ...words('true')], box.env).status, 125);
  assert.ok(!mounted());
  assert.equal(box.tsbox(words('no-such-command')).status, 127);
  assert.ok(!mounted());
});

test('faults: a tmpfs without a name of a container of --rm whose end finds no process: it goes when volumes are used next', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const run = fewForks(box.directory);
  const mounts = () => readFileSync('/proc/self/mountinfo', 'utf8').split(`${box.dataRoot}/volumes/`).length - 1;
  const leave = () => {
    const one = run('from', 4, [TSBOX, 'run', '--rm', '--mount', VOLUME, image, 'touch', '/v/old'], box.env);
    assert.deepEqual([one.status, one.whom], [0, 'tsbox-executor'], one.stderr);
    assert.equal(mounts(), 1);
  };
  leave();
  box.ok(['run', '--rm', '--volume', 'other:/v', image, 'true']);
  assert.deepEqual([mounts(), names(join(box.dataRoot, 'volumes'))], [0, ['other']]);
  leave();
  const [name] = box.ok(['volume', 'ls', '--quiet']).split('\n');
  assert.match(await box.quick(['volume', 'prune', '--force']), new RegExp(`^${name}$`, 'm'));
  assert.equal(mounts(), 0);
  // One that another container has by then is that one's.
  leave();
  const [kept] = box
    .ok(['volume', 'ls', '--quiet'])
    .split('\n')
    .filter((each) => each !== 'other');
  await box.quick(['create', '--name', 'two', '--volume', `${kept}:/v`, image]);
  await box.quick(['volume', 'prune', '--force']);
  assert.deepEqual(names(join(box.dataRoot, 'volumes')), [kept]);
  await box.quick(['rm', 'two']);
  await box.quick(['volume', 'rm', kept!]);
  assert.equal(mounts(), 0);
});

async function becomes(box: Sandbox, name: string, health: string): Promise<void> {
  for (const end = performance.now() + 20_000; ; await new Promise((wake) => setTimeout(wake, 50))) {
    const now = await box.quick(['inspect', '--format', '{{.State.Health.Status}}', name]);
    if (now === health) return;
    assert.ok(performance.now() < end, `${name} stays ${now}`);
  }
}

test('faults: a health check that gets no process is tried again', async (t) => {
  if (!requires(t, ...needs)) return;
  const box = sandbox(t);
  const image = box.image();
  const run = fewForks(box.directory);
  const probe = ['--health-cmd', 'true', '--health-interval', '100ms'];
  for (const number of soak ? [4, 5, 6, 7] : [4, 6]) {
    const one = run('one', number, [TSBOX, ...DETACHED, ...probe, image, 'sleep', '1000'], box.env);
    assert.equal(one.status, 0, one.stderr);
    // It may be healthy before so many processes are asked for.
    const refused = new RegExp(`^${number} refused `, 'm');
    await until(`process ${number} to be refused`, () =>
      refused.test(readFileSync(join(box.directory, 'few-forks.report'), 'utf8')),
    );
    await becomes(box, 'two', 'healthy');
    await box.quick(['rm', '--force', 'two']);
  }
});

// Last: from here on the test's process is in a network namespace of its own.
test('faults: each single process of a container in a network is refused', async (t) => {
  if (!requires(t, ...needs, 'command:ip', 'command:nft')) return;
  const box = networked(t);
  const image = box.image();
  box.ok(['network', 'create', 'mine']);
  box.ok([...DETACHED.slice(0, 2), '--name', 'one', '--network', 'mine', image, 'sleep', '1000']);
  const cables = leftOfNetworks();
  const words = [...DETACHED, '--network', 'mine', '--publish', '8080:80', image, 'sleep', '1000'];
  const whom = await refuseEach(box, fewForks(box.directory), 'one', words, 125);
  t.diagnostic(`a network: ${whom.join(', ')}`);
  assert.ok(whom.includes('tsbox-resolver'), whom.join(', '));
  await until('the cables to go', () => leftOfNetworks().join() === cables.join());
  assert.equal(box.ok(['exec', 'one', 'nslookup', 'one']).includes('one'), true);
  await box.quick(['rm', '--force', 'one']);
  await box.quick(['network', 'rm', 'mine']);
});
