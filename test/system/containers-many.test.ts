/** Many containers: one after the other and at once. TSBOX_SOAK=1 makes it more. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { requires } from '../requires.ts';
import { runRootOf, type Sandbox, sandbox } from './harness.ts';
import { leftovers } from './leftovers.ts';

const SOAK = process.env['TSBOX_SOAK'] === '1';
const ROW = SOAK ? 500 : 100;

/** Nothing of a container is there any more, and of the store there is what an image needs. */
async function clean(box: Sandbox, before: string[]): Promise<void> {
  assert.deepEqual(await leftovers(box.directory), []);
  assert.deepEqual(runRootOf(box), []);
  assert.deepEqual(store(box), before);
}

const store = (box: Sandbox) =>
  ['containers', 'names', 'tmp', 'overlay2', 'overlay2/l', 'image/overlay2/layerdb/mounts'].flatMap((path) => {
    try {
      return readdirSync(`${box.dataRoot}/${path}`).map((name) => `${path}/${name}`);
    } catch {
      return [];
    }
  });

const mountCount = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('/tsb-')).length;

test('many', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--rm', image, 'true']);
  const before = store(box);
  await t.test(`${ROW} in a row`, async () => {
    for (let n = 0; n < ROW; n++) {
      assert.equal(box.tsbox(['run', '--rm', image, 'sh', '-c', `echo ${n}; exit ${n % 7}`]).stdout, `${n}\n`);
    }
    await clean(box, before);
  });
  await t.test('twenty at once', async () => {
    const all = [...Array(20).keys()].map((n) => {
      const script = `hostname; echo ${n} > /mark; sleep 0.3; cat /mark; exit ${n}`;
      return box.start(['run', '--rm', '--name', `n${n}`, '-h', `h${n}`, image, 'sh', '-c', script], {
        timeout: 60_000,
      });
    });
    let ended = false;
    const finished = Promise.all(all.map((one) => one.done)).finally(() => {
      ended = true;
    });
    while (!ended) assert.equal((await box.start(['ps', '--all']).done).stderr, '', 'who comes and goes is no error');
    const results = await finished;
    assert.deepEqual(
      results.map(({ status, stdout, stderr }) => [status, stdout, stderr]),
      all.map((_, n) => [n, `h${n}\n${n}\n`, '']),
    );
    await clean(box, before);
  });
  await t.test('twenty detached, listed, executed in and removed at once', async () => {
    const made = await Promise.all(
      [...Array(20)].map(() => box.start(['run', '-d', image, 'sleep', '1000'], { timeout: 60_000 }).done),
    );
    const ids = made.map(({ stdout }) => stdout.trim());
    assert.equal(new Set(ids).size, 20);
    assert.equal((await box.quick(['ps', '-q'])).split('\n').length, 20);
    assert.ok(mountCount() >= 20);
    const execs = await Promise.all(ids.map((id) => box.start(['exec', id, 'hostname'], { timeout: 60_000 }).done));
    assert.deepEqual(
      execs.map(({ stdout }) => stdout.trim()),
      ids.map((id) => id.slice(0, 12)),
    );
    const half = ids.length / 2;
    const removals = [ids.slice(0, half), ids.slice(half)].map(
      (some) => box.start(['rm', '-f', ...some], { timeout: 60_000 }).done,
    );
    for (const { status, stderr } of await Promise.all(removals)) assert.equal(status, 0, stderr);
    await clean(box, before);
  });
  await t.test('the same name asked for by ten at once: one gets it', async () => {
    const all = [...Array(10)].map(() => box.start(['create', '--name', 'wanted', image]).done);
    const results = await Promise.all(all);
    assert.equal(results.filter(({ status }) => status === 0).length, 1);
    for (const { status, stderr } of results) if (status !== 0) assert.match(stderr, /[Cc]onflict/);
    await box.quick(['rm', 'wanted']);
    await clean(box, before);
  });
  await t.test('run and rm while others are killed', async () => {
    const all = [...Array(SOAK ? 60 : 12).keys()].map(async (n) => {
      const one = box.start(['run', '--rm', image, 'sleep', n % 3 === 0 ? '1000' : '0.1'], { timeout: 60_000 });
      if (n % 3 !== 0) return one.done;
      await new Promise((wake) => setTimeout(wake, 20 * n));
      one.child.kill('SIGKILL');
      return one.done;
    });
    const results = await Promise.all(all);
    for (const [n, { status, stderr }] of results.entries()) if (n % 3 !== 0) assert.equal(status, 0, stderr);
    const left = (await box.quick(['ps', '-aq'])).split('\n').filter(Boolean);
    await box.quick(['rm', '-f', await box.quick(['create', image]), ...left]);
    await clean(box, before);
  });
});
