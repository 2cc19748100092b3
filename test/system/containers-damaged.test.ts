/** State files that were cut, edited, or written by a later tsbox: named, and the rest goes on. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox } from './harness.ts';
import { leftovers } from './leftovers.ts';

const DAMAGE = ['', '{', '[]', '{"ID":1,"State":{"Running":"x"}}'];
const LATER = '{"FormatVersion":9}';

/** Where a container's files are. */
const places = (box: Sandbox, id: string) => ({
  kept: (name: string) => join(box.dataRoot, 'containers', id, name),
  run: (name: string) => join(box.runRoot, id, name),
});

test('damaged state files', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const healthy = box.ok(['run', '-d', '--name', 'healthy', image, 'sleep', '1000']);
  // Its check is never made: it would write into what is being damaged.
  const probed = ['--health-cmd', 'true', '--health-interval', '1h', '--restart', 'always'];
  const id = box.ok(['run', '-d', '--name', 'other', ...probed, image, 'sleep', '1000']);
  const { kept, run } = places(box, id);
  const listed = async (column = '') => {
    const { status, stdout, stderr } = await box.said(['ps', '-a', '--format', `{{.Names}} {{.State}}${column}`]);
    assert.equal(status, 0);
    assert.match(stdout, /^healthy running/m);
    return { stdout, stderr };
  };
  const spoiled = async (path: string, text: string, look: () => Promise<void>) => {
    const before = readFileSync(path);
    writeFileSync(path, text);
    await look();
    writeFileSync(path, before);
  };
  await t.test('what a container is made of: ps names the file that it reads and lists the others', async () => {
    for (const [file, column] of [
      ['config.v2.json', ''],
      ['hostconfig.json', ' {{.Networks}}'],
    ] as const) {
      for (const text of [...DAMAGE, LATER]) {
        await spoiled(kept(file), text, async () => {
          const { stdout, stderr } = await listed(column);
          assert.doesNotMatch(stdout, /other/);
          assert.ok(stderr.includes(kept(file)), `${file} ${text}: ${stderr}`);
        });
      }
    }
  });
  await t.test('ps of the usual columns reads one file of a container, and not how it is connected', async () => {
    await spoiled(kept('hostconfig.json'), '{', async () => {
      const { stdout, stderr } = await listed();
      assert.deepEqual([stdout.includes('other running'), stderr], [true, '']);
    });
  });
  await t.test('what a run leaves counts as not there, and what runs still runs', async () => {
    for (const path of [run('state.json'), run('successor.json'), kept('health.json')]) {
      for (const text of DAMAGE) {
        await spoiled(path, text, async () => {
          const { stdout, stderr } = await listed();
          assert.deepEqual([stdout.includes('other running'), stderr], [true, ''], `${path} ${text}`);
        });
      }
    }
  });
  await t.test('a format to come is refused by every verb, and nothing is changed', async () => {
    for (const path of [kept('config.v2.json'), kept('hostconfig.json'), run('state.json'), kept('health.json')]) {
      await spoiled(path, LATER, async () => {
        const { stderr } = await listed(' {{.Networks}}');
        assert.match(stderr, /format is version 9, this tsbox knows 2/);
        for (const verb of [['inspect'], ...(path === kept('health.json') ? [] : [['rm', '-f']])]) {
          const said = await box.said([...verb, id]);
          assert.match(said.stderr, /format is version 9, this tsbox knows 2/, `${verb} ${path}`);
          assert.equal(said.status, 1);
        }
        assert.equal(readFileSync(path, 'utf8'), LATER);
      });
    }
    assert.equal(box.ok(['exec', 'other', 'cat', '/proc/1/comm']), 'sleep');
  });
  await t.test('prune and stats name it, and go on with the others', async () => {
    for (const path of [kept('config.v2.json'), run('state.json')]) {
      await spoiled(path, LATER, async () => {
        const ended = await box.quick(['create', image]);
        const pruned = await box.said(['container', 'prune', '-f']);
        assert.equal(pruned.status, 1);
        assert.ok(pruned.stdout.includes(ended) && pruned.stderr.includes(path), `${path}: ${JSON.stringify(pruned)}`);
        const stats = await box.said(['stats', '--no-stream', '--format', '{{.Name}}']);
        assert.deepEqual([stats.status, stats.stdout], [0, 'healthy\n'], path);
        assert.equal(stats.stderr.split(path).length, 2, `${path}: told once: ${stats.stderr}`);
      });
    }
  });
  await t.test('a damaged exit.json: the end is known all the same', async () => {
    await box.quick(['stop', '-t', '0', 'other']);
    for (const text of DAMAGE) {
      writeFileSync(kept('exit.json'), text);
      assert.match((await listed()).stdout, /^other exited$/m);
    }
    box.ok(['start', 'other']);
    assert.match((await listed()).stdout, /^other running$/m);
  });
  await t.test('a damaged container can be removed by its id, and nothing of it stays', async () => {
    for (const file of ['config.v2.json', 'hostconfig.json']) {
      const one = box.ok(['run', '-d', image, 'sleep', '1000']);
      writeFileSync(places(box, one).kept(file), '{');
      await box.quick(['rm', '-f', one]);
      assert.ok(!existsSync(places(box, one).kept('')), file);
    }
    await box.quick(['rm', '-f', 'other', healthy]);
    assert.deepEqual(await leftovers(box.directory), []);
    assert.deepEqual(readdirSync(join(box.dataRoot, 'names')), []);
  });
});
