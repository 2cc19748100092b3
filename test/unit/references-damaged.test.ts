/** The names of images when their file is damaged: it is kept, and no image is lost for having no name. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { lostReferences, referencesPath } from '../../src/store/references.ts';
import { inProcess } from '../in-process.ts';
import { makeImage, temporaryStore } from './store-fixture.ts';

async function world(t: TestContext, text: string) {
  const store = temporaryStore(t);
  const parent = await makeImage(store, [{ a: '1' }], { names: ['parent'] });
  const child = await makeImage(store, [{ a: '1' }, { b: '2' }], { names: ['child'], parent: parent.id });
  const path = referencesPath(store);
  writeFileSync(path, text);
  return { store, path, parent, child, tsbox: (...args: string[]) => inProcess(store, args) };
}

const LIST = ['images', '--all', '--no-trunc', '--format', '{{.ID}} {{.Repository}}'];

test('damaged names: images are listed by their ids, the file is named, and nothing is pruned', async (t) => {
  for (const text of ['', '{', 'null', '{"Repositories":{"x":{"x:1":2}}}', '{"FormatVersion":9}']) {
    const { path, parent, child, tsbox } = await world(t, text);
    const { status, stdout, stderr } = await tsbox(...LIST);
    assert.deepEqual(
      [status, stdout.split('\n').sort()],
      [0, ['', `${child.id} <none>`, `${parent.id} <none>`].sort()],
    );
    assert.ok(stderr.includes(path), stderr);
    for (const words of [
      ['image', 'prune', '-f'],
      ['image', 'prune', '-af'],
      ['system', 'prune', '-af'],
      ['rmi', 'child'],
    ]) {
      const pruned = await tsbox(...words);
      assert.equal(pruned.status, 1, `${words.join(' ')}: ${text}`);
      const told = pruned.stderr.split('\n').filter((line) => line.startsWith('tsbox: ') && line.includes(path));
      assert.equal(told.length, 1, `told once: ${pruned.stderr}`);
    }
    assert.equal((await tsbox(...LIST)).stdout, stdout);
    assert.equal(readFileSync(path, 'utf8'), text);
  }
});

test('damaged names: who gives a name sets the file aside and says so; what has lost its name stays until the file is gone', async (t) => {
  const { store, path, parent, child, tsbox } = await world(t, '{"Repositories":{"child":');
  const { status, stderr } = await tsbox('tag', child.id, 'again');
  const [aside = ''] = lostReferences(store);
  assert.deepEqual(
    [status, stderr],
    [0, `tsbox: read ${path}: not JSON: set aside as ${aside}; images have lost their names\n`],
  );
  assert.equal(readFileSync(aside, 'utf8'), '{"Repositories":{"child":');
  assert.match((await tsbox(...LIST)).stdout, /again/);
  const pruned = await tsbox('image', 'prune', '-f');
  assert.deepEqual([pruned.status, pruned.stderr.includes(aside)], [0, false], 'nothing that would go');
  assert.equal((await tsbox('rmi', 'again')).status, 0);
  assert.match((await tsbox('images', '-aq', '--no-trunc')).stdout, new RegExp(parent.id), 'it had a name, and stays');
  const refused = await tsbox('image', 'prune', '-f');
  assert.deepEqual([refused.status, refused.stderr.includes(aside)], [1, true]);
  assert.equal((await tsbox('tag', parent.id, 'kept')).status, 0);
  assert.deepEqual(lostReferences(store), [aside], 'set aside once');
  rmSync(aside);
  assert.equal((await tsbox('image', 'prune', '-f')).status, 0);
});

test('damaged names: a format to come is refused by who gives a name, and left alone', async (t) => {
  const { store, path, child, tsbox } = await world(t, '{"FormatVersion":9}');
  const { status, stderr } = await tsbox('tag', child.id, 'again');
  assert.deepEqual([status, /version 9, this tsbox knows 2/.test(stderr)], [1, true], stderr);
  assert.equal(readFileSync(path, 'utf8'), '{"FormatVersion":9}');
  assert.deepEqual(lostReferences(store), []);
});

test('damaged names: the recipe for a container is worked out anew where the kept one is damaged', async (t) => {
  const { store, child, tsbox } = await world(t, '{"Repositories":{}}');
  const create = () => tsbox('create', child.id);
  assert.equal((await create()).status, 0);
  const layers = `${store.images}/layerdb/sha256`;
  const kept = readdirSync(layers)
    .map((name) => join(layers, name, 'init.json'))
    .find(existsSync)!;
  const whole = readFileSync(kept, 'utf8');
  for (const text of ['', '{', 'null']) {
    writeFileSync(kept, text);
    assert.deepEqual([(await create()).stderr, readFileSync(kept, 'utf8')], ['', whole]);
  }
});
