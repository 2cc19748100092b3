import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { retireContainer } from '../../src/store/change-container.ts';
import { findContainer } from '../../src/store/containers.ts';
import { newContainerId } from '../../src/store/create-container.ts';
import { collectGarbage, collectInPassing } from '../../src/store/gc.ts';
import { newLease, releaseLease } from '../../src/store/leases.ts';
import { commitLayers, stageLayer } from '../../src/store/register.ts';
import { containerDirectory, type Store } from '../../src/store/store.ts';
import { filesLayer, makeContainer, makeImage, temporaryStore } from './store-fixture.ts';

const tree = (store: Store) => (readdirSync(store.dataRoot, { recursive: true }) as string[]).sort();

test('garbage: a removal that is cut short leaves no container without its layers', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }], { names: ['x'] });
  makeContainer(store, image, 'web');
  const before = tree(store);
  const { record, rwLayer } = makeContainer(store, image, 'killed');
  const inTheWay = `${store.overlay}/${rwLayer.mountId}-init-removing`;
  mkdirSync(`${inTheWay}/file`, { recursive: true });
  assert.throws(() => retireContainer(store, record.ID), /ENOTEMPTY/);
  assert.equal(findContainer(store, record.ID), undefined);
  rmSync(inTheWay, { recursive: true });
  collectGarbage(store);
  assert.deepEqual(tree(store), before);
});

test('garbage: a store in use has none', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }, { b: '2' }], { names: ['x'] });
  makeContainer(store, image, 'web');
  await makeImage(store, [{ c: '3' }], { salt: 'dangling' });
  const before = tree(store);
  assert.deepEqual(collectGarbage(store), []);
  assert.deepEqual(tree(store), before);
});

test('garbage: what killed processes leave is removed, and nothing else', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }, { b: '2' }], { names: ['x'] });
  const kept = makeContainer(store, image, 'web').record.ID;
  const before = tree(store);
  const { record } = makeContainer(store, image, 'killed');
  // create, killed before the last rename
  renameSync(containerDirectory(store, record.ID), `${store.containers}/.tmp-${record.ID}`);
  // create, killed in the middle of the layers
  const id = newContainerId();
  mkdirSync(`${store.images}/layerdb/mounts/${newContainerId()}`);
  mkdirSync(`${store.overlay}/${id}-init/diff/etc`, { recursive: true });
  symlinkSync(`../${id}/diff`, `${store.overlay}/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ`);
  symlinkSync(`../containers/${id}`, `${store.names}/half`);
  // remove, killed while files were deleted
  mkdirSync(`${store.overlay}/${id}-removing/diff`, { recursive: true });
  mkdirSync(`${store.images}/layerdb/tmp/${id}-removing`);
  mkdirSync(`${store.containers}/${id}-removing`);
  // rename, killed before the record was written
  symlinkSync(`../containers/${kept}`, `${store.names}/renamed`);
  // pull, killed while a layer was unpacked
  const lease = newLease();
  const staged = await stageLayer(store, lease, filesLayer({ c: '3' }));
  releaseLease(lease);
  mkdirSync(`${store.images}/imagedb/metadata/sha256/${id}`);
  // files that were about to be replaced
  for (const directory of [
    store.images,
    `${store.images}/imagedb/content/sha256`,
    `${store.images}/imagedb/metadata/sha256/${image.id.slice(7)}`,
    containerDirectory(store, kept),
  ]) {
    writeFileSync(`${directory}/.tmp-x`, '');
  }
  assert.ok(collectGarbage(store).some((path) => path.includes(staged.cacheId)));
  assert.deepEqual(tree(store), before);
});

test('garbage: the verbs that remove one thing notice what killed processes have left outside of what is alive', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }, { b: '2' }], { names: ['x'] });
  makeContainer(store, image, 'web');
  const before = tree(store);
  const [id, other] = [newContainerId(), newContainerId()];
  const leftovers: Record<string, () => unknown> = {
    'create, its entry': () => mkdirSync(`${store.images}/layerdb/mounts/${id}`),
    'create, its layer': () => mkdirSync(`${store.overlay}/${id}-init/diff`, { recursive: true }),
    'create, its short name': () => symlinkSync(`../${id}/diff`, `${store.overlay}/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ`),
    'create, its name': () => symlinkSync(`../containers/${id}`, `${store.names}/half`),
    'create, its files': () => mkdirSync(`${store.containers}/.tmp-${id}`),
    'rm, its files': () => mkdirSync(`${store.containers}/${id}-removing`),
    'rm, its layer': () => mkdirSync(`${store.overlay}/${id}-removing/diff`, { recursive: true }),
    'rmi, a layer': () => mkdirSync(`${store.images}/layerdb/tmp/${id}-removing`),
    'rmi, its metadata': () => mkdirSync(`${store.images}/imagedb/metadata/sha256/${id}`),
    'tag, the names': () => writeFileSync(`${store.images}/.tmp-repositories.json-1`, ''),
    'pull, the config': () => writeFileSync(`${store.images}/imagedb/content/sha256/.tmp-1`, ''),
    'pull, a layer': async () => {
      const lease = newLease();
      await stageLayer(store, lease, filesLayer({ c: '3' }));
      releaseLease(lease);
    },
    'create, entries of two': () => {
      for (const one of [id, other]) mkdirSync(`${store.images}/layerdb/mounts/${one}`);
    },
  };
  collectInPassing(store);
  assert.deepEqual(tree(store), before);
  for (const [name, leave] of Object.entries(leftovers)) {
    await leave();
    assert.notDeepEqual(tree(store), before, name);
    collectInPassing(store);
    assert.deepEqual(tree(store), before, name);
  }
});

test('garbage: a layer that is being unpacked is left alone', async (t) => {
  const store = temporaryStore(t);
  const lease = newLease();
  const staged = await stageLayer(store, lease, async (target) => {
    const applied = await filesLayer({ a: '1' })(target);
    assert.deepEqual(collectGarbage(store), []);
    return applied;
  });
  assert.deepEqual(collectGarbage(store), []);
  await commitLayers(store, lease, [staged]);
  releaseLease(lease);
  assert.deepEqual(collectGarbage(store), [], 'a complete layer is not garbage, the next pull uses it');
});

test('garbage: a directory in overlay2 that is none of ours stays', async (t) => {
  const store = temporaryStore(t);
  mkdirSync(`${store.overlay}/lost+found`);
  assert.deepEqual(collectGarbage(store), []);
  rmSync(`${store.overlay}/lost+found`, { recursive: true });
});
