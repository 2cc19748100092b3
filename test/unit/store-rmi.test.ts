import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { imageHistory, listImages, removeImage, tagImage } from '../../src/engine/images.ts';
import { findImage } from '../../src/store/images.ts';
import { layerIds } from '../../src/store/layers.ts';
import { imageFile, runDirectory } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { removeContainerFiles } from '../remove-container.ts';
import { makeContainer, makeImage, sha256, temporaryEngine } from './store-fixture.ts';

const GENTLE = { force: false, noPrune: false };
const FORCE = { force: true, noPrune: false };
const short = (id: string) => id.slice(7, 19);
const conflict = (message: string) => ({ code: 'ERR_TSBOX_CONFLICT', message });

test('rmi: the last name takes the image and its layers along, an earlier one does not', async (t) => {
  const engine = temporaryEngine(t);
  const image = await makeImage(engine.store, [{ a: '1' }, { b: '2' }], { names: ['one', 'two:2'] });
  assert.deepEqual(removeImage(engine, 'two:2', GENTLE), { untagged: ['two:2'], deleted: [] });
  const [base, top] = image.chainIds;
  assert.deepEqual(removeImage(engine, 'one', GENTLE), { untagged: ['one:latest'], deleted: [image.id, top, base] });
  assert.deepEqual(readdirSync(engine.store.overlay), ['l']);
  assert.deepEqual(readdirSync(`${engine.store.overlay}/l`), []);
  assert.throws(() => removeImage(engine, 'one', GENTLE), {
    code: 'ERR_TSBOX_NOT_FOUND',
    message: 'No such image: one:latest',
  });
});

test('rmi: layers that another image uses stay', async (t) => {
  const engine = temporaryEngine(t);
  const one = await makeImage(engine.store, [{ a: '1' }, { b: '2' }], { names: ['one'] });
  const two = await makeImage(engine.store, [{ a: '1' }, { c: '3' }], { names: ['two'] });
  assert.deepEqual(removeImage(engine, 'one', GENTLE).deleted, [one.id, one.chainIds[1]]);
  assert.deepEqual(layerIds(engine.store).sort(), [...two.chainIds].sort());
});

test('rmi: by id several names need force, digests of the same repository do not', async (t) => {
  const engine = temporaryEngine(t);
  const { id } = await makeImage(engine.store, [], { names: ['one', 'two'] });
  assert.throws(
    () => removeImage(engine, id, GENTLE),
    conflict(`conflict: unable to delete ${short(id)} (must be forced) - image is referenced in multiple repositories`),
  );
  assert.deepEqual(removeImage(engine, short(id), FORCE), { untagged: ['one:latest', 'two:latest'], deleted: [id] });
  const digest = `one@${sha256('m')}`;
  const again = await makeImage(engine.store, [], { names: ['one', digest] });
  assert.deepEqual(removeImage(engine, again.id, GENTLE), { untagged: ['one:latest', digest], deleted: [again.id] });
});

test("rmi: a repository's last tag takes its digests along", async (t) => {
  const engine = temporaryEngine(t);
  const digest = `one@${sha256('m')}`;
  const { id } = await makeImage(engine.store, [], { names: ['one:1', 'one:2', digest] });
  assert.deepEqual(removeImage(engine, 'one:1', GENTLE), { untagged: ['one:1'], deleted: [] });
  assert.deepEqual(removeImage(engine, 'one:2', GENTLE), { untagged: ['one:2', digest], deleted: [id] });
});

test('rmi: an image that a container uses', async (t) => {
  const engine = temporaryEngine(t);
  const image = await makeImage(engine.store, [{ a: '1' }], { names: ['one'] });
  const { record } = makeContainer(engine.store, image, 'web');
  const container = record.ID.slice(0, 12);
  assert.throws(
    () => removeImage(engine, 'one', GENTLE),
    conflict(
      `conflict: unable to remove repository reference "one" (must force) - container ${container} is using its referenced image ${short(image.id)}`,
    ),
  );
  assert.throws(
    () => removeImage(engine, image.id, GENTLE),
    conflict(
      `conflict: unable to delete ${short(image.id)} (must be forced) - image is being used by stopped container ${container}`,
    ),
  );
  const run = runDirectory(engine.store, record.ID);
  mkdirSync(run);
  writeFileSync(`${run}/lock`, '');
  writeFileSync(`${run}/state.json`, '{"Pid":1,"Monitor":1,"StartedAt":"2024-01-01T00:00:00Z"}');
  const monitor = lock(`${run}/lock`);
  assert.throws(
    () => removeImage(engine, image.id, FORCE),
    conflict(
      `conflict: unable to delete ${short(image.id)} (cannot be forced) - image is being used by running container ${container}`,
    ),
  );
  assert.deepEqual(
    removeImage(engine, 'one', FORCE),
    { untagged: ['one:latest'], deleted: [] },
    'the name goes, the image stays',
  );
  monitor.release();
  assert.deepEqual(
    removeImage(engine, image.id, FORCE),
    { untagged: [], deleted: [image.id] },
    'its layer stays for the container',
  );
  assert.deepEqual(layerIds(engine.store), image.chainIds);
  removeContainerFiles(engine.store, record.ID);
});

test('rmi: images that others were made from', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const base = await makeImage(store, [{ a: '1' }]);
  const middle = await makeImage(store, [{ a: '1' }, { b: '2' }], { parent: base.id });
  const one = await makeImage(store, [{ a: '1' }, { b: '2' }, { c: '3' }], { parent: middle.id, names: ['one'] });
  const two = await makeImage(store, [{ a: '1' }, { d: '4' }], { parent: base.id, names: ['two'] });
  assert.throws(
    () => removeImage(engine, base.id, FORCE),
    conflict(`conflict: unable to delete ${short(base.id)} (cannot be forced) - image has dependent child images`),
  );
  assert.deepEqual(
    listImages(engine, { all: false })
      .map(({ id }) => id)
      .sort(),
    [one.id, two.id].sort(),
  );
  assert.equal(listImages(engine, { all: true }).length, 4);
  const removed = removeImage(engine, 'one', GENTLE);
  assert.deepEqual(
    removed.deleted,
    [one.id, one.chainIds[2], middle.id, middle.chainIds[1]],
    'up to the one that has another child',
  );
  assert.deepEqual(removeImage(engine, 'two', { force: false, noPrune: true }).deleted, [two.id, two.chainIds[1]]);
  assert.equal(findImage(store, base.id)?.id, base.id);
});

test('rmi: a damaged image can be removed', async (t) => {
  const engine = temporaryEngine(t);
  const image = await makeImage(engine.store, [{ a: '1' }, { b: '2' }], { names: ['one'] });
  writeFileSync(imageFile(engine.store, image.id), '{');
  assert.deepEqual(removeImage(engine, 'one', GENTLE).deleted, [image.id, ...image.chainIds.reverse()]);
});

test('images: summaries have names, sizes and the time of the config; a damaged one is named', async (t) => {
  const engine = temporaryEngine(t);
  const { id } = await makeImage(engine.store, [{ a: '1' }, { b: '22' }], { names: ['one', `one@${sha256('m')}`] });
  const bad = await makeImage(engine.store, [], { salt: 'bad' });
  writeFileSync(imageFile(engine.store, bad.id), '{');
  const damaged: string[] = [];
  const [image, ...others] = listImages(engine, { all: false, parents: true }, (which) => damaged.push(which));
  assert.deepEqual(others, []);
  assert.deepEqual(damaged, [bad.id]);
  assert.deepEqual(image, {
    id,
    labels: {},
    tags: ['one:latest'],
    digests: [`one@${sha256('m')}`],
    size: 3,
    created: '2024-01-02T03:04:05.678Z',
    parent: '',
  });
});

test('tag: refuses a digest and an unknown source', async (t) => {
  const engine = temporaryEngine(t);
  const { id } = await makeImage(engine.store, [], { names: ['one'] });
  tagImage(engine, 'one', 'localhost:5000/a/b:v1');
  assert.equal(findImage(engine.store, 'localhost:5000/a/b:v1')?.id, id);
  assert.throws(() => tagImage(engine, 'one', `x@${sha256('m')}`), {
    message: 'refusing to create a tag with a digest reference',
  });
  for (const name of ['sha256', 'sha256:v1', 'docker.io/library/sha256']) {
    assert.throws(() => tagImage(engine, 'one', name), {
      message: 'refusing to create an ambiguous tag using digest algorithm as name',
    });
  }
  assert.throws(() => tagImage(engine, 'none', 'x'), { code: 'ERR_TSBOX_NOT_FOUND' });
});

test('history: the last step first, with the ids of images that are here', async (t) => {
  const engine = temporaryEngine(t);
  const base = await makeImage(engine.store, [{ a: '12' }], { names: ['base'] });
  const top = await makeImage(engine.store, [{ a: '12' }, { b: '345' }], { names: ['top'], parent: base.id });
  const rows = imageHistory(engine, 'top').map(({ id, size, createdBy, tags }) => [id, size, createdBy, tags]);
  assert.deepEqual(rows, [
    [top.id, 3, 'step 1', ['top:latest']],
    [base.id, 2, 'step 0', ['base:latest']],
  ]);
  const pulled = await makeImage(engine.store, [{ a: '12' }, { b: '345' }], { salt: 'pulled' });
  assert.deepEqual(
    imageHistory(engine, pulled.id).map(({ id }) => id),
    [pulled.id, '<missing>'],
  );
});
