/** What prune removes of images and layers, and that the space which is told is the space that is free then. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { diskUsage, imageUsage } from '../../src/engine/disk-usage.ts';
import { listImages, removeImage } from '../../src/engine/images.ts';
import { layerTree } from '../../src/engine/layer-tree.ts';
import type { Engine } from '../../src/engine/open.ts';
import { type PruneFilter, pruneImages } from '../../src/engine/prune.ts';
import type { TsboxError } from '../../src/errors.ts';
import { treeBytes } from '../../src/store/freed.ts';
import { imageIds } from '../../src/store/images.ts';
import { layerIds } from '../../src/store/layers.ts';
import { newLease, releaseLease, useLayer } from '../../src/store/leases.ts';
import { stageLayer } from '../../src/store/register.ts';
import { rwLayer } from '../../src/store/rw-layers.ts';
import { imageFile } from '../../src/store/store.ts';
import { filesLayer, makeContainer, makeImage, sha256, temporaryEngine } from './store-fixture.ts';

const NO_FILTER: PruneFilter = { labels: [], withoutLabels: [] };

/** Bytes of what layers and containers hold, as find(1) sees them: every inode once. */
function bytesOnDisk({ store }: Engine): number {
  const found = execFileSync('find', [
    store.overlay,
    '-path',
    '*/diff/*',
    '!',
    '-path',
    '*-init/*',
    '(',
    '-type',
    'f',
    '-o',
    '-type',
    'l',
    ')',
    '-printf',
    '%i %s\n',
  ]);
  const sizes = new Map(
    found
      .toString()
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' ') as [string, string]),
  );
  return [...sizes.values()].reduce((sum, size) => sum + Number(size), 0);
}

/** Prunes, and holds what it tells against the disk. @returns untagged and deleted, one image after the other */
async function prune(
  engine: Engine,
  options: { all: boolean; filter?: PruneFilter; errors?: string[] },
): Promise<string[]> {
  const before = bytesOnDisk(engine);
  const { removed, bytes, errors } = await pruneImages(engine, { filter: NO_FILTER, ...options });
  assert.deepEqual(
    errors.map((error) => (error as TsboxError).code),
    options.errors ?? [],
  );
  assert.equal(bytes, before - bytesOnDisk(engine), 'the space that is told');
  return removed.flatMap(({ untagged, deleted }) => [...untagged, ...deleted]);
}

test('prune: images without a tag go, with a digest too; those that others were made from stay', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const base = await makeImage(store, [{ a: '1' }]);
  const tagged = await makeImage(store, [{ a: '1' }, { b: '22' }], { names: ['tagged'], parent: base.id });
  const loose = await makeImage(store, [{ c: '333' }]);
  const digest = `one@${sha256('m')}`;
  const byDigest = await makeImage(store, [{ d: '4444' }], { names: [digest] });
  const gone = await prune(engine, { all: false });
  assert.deepEqual(gone.sort(), [loose.id, ...loose.chainIds, digest, byDigest.id, ...byDigest.chainIds].sort());
  assert.deepEqual(imageIds(store).sort(), [base.id, tagged.id].sort());
  assert.deepEqual(await prune(engine, { all: true }), [
    'tagged:latest',
    tagged.id,
    tagged.chainIds[1],
    base.id,
    base.chainIds[0],
  ]);
  assert.deepEqual(layerIds(store), []);
});

test('prune: an image with a container keeps all its names; one below it loses only its names', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const base = await makeImage(store, [{ a: '1' }], { names: ['base', 'base:2'] });
  const used = await makeImage(store, [{ a: '1' }, { b: '22' }], { names: ['used', 'also:2'], parent: base.id });
  const { record } = makeContainer(store, used, 'web');
  writeFileSync(`${rwLayer(store, record.ID).upper}/file`, 'written');
  assert.deepEqual(await prune(engine, { all: true }), ['base:2', 'base:latest']);
  assert.deepEqual(
    listImages(engine, { all: false }).map(({ tags }) => tags),
    [['also:2', 'used:latest']],
  );
  assert.deepEqual(await prune(engine, { all: false }), []);
});

test('prune: layers that an interrupted pull has left go, unless somebody goes on from them or a filter was given', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const orphan = await makeImage(store, [{ a: '1' }, { b: '22' }]);
  execFileSync('rm', [imageFile(store, orphan.id)]);
  assert.deepEqual(await prune(engine, { all: true, filter: { ...NO_FILTER, withoutLabels: ['x'] } }), []);
  assert.deepEqual(await prune(engine, { all: true, filter: { ...NO_FILTER, until: Date.now() } }), []);
  const lease = newLease();
  useLayer(store, lease, orphan.chainIds[0]!);
  assert.deepEqual(await prune(engine, { all: false }), [orphan.chainIds[1]]);
  releaseLease(lease);
  assert.deepEqual(await prune(engine, { all: false }), [orphan.chainIds[0]]);
  assert.equal(bytesOnDisk(engine), 0);
});

test('prune: what killed processes have left is removed and counted, with a filter too', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const lease = newLease();
  const staged = await stageLayer(store, lease, filesLayer({ a: 'half of a layer', b: '' }));
  assert.deepEqual(await prune(engine, { all: true }), []);
  assert.ok(existsSync(staged.diffDir), 'it is being made');
  releaseLease(lease);
  assert.deepEqual(await prune(engine, { all: false, filter: { ...NO_FILTER, labels: ['x'] } }), []);
  assert.ok(!existsSync(staged.diffDir));
});

test('prune: until and labels choose; all labels that must not be there must be there to save an image', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const { id } = await makeImage(store, [{ a: '1' }], { names: ['one'] }); // made 2024-01-02T03:04:05.678Z, no labels
  const time = Date.parse('2024-01-02T03:04:05.678Z');
  const keeps = async (filter: Partial<PruneFilter>) => {
    assert.deepEqual(await prune(engine, { all: true, filter: { ...NO_FILTER, ...filter } }), []);
    assert.deepEqual(imageIds(store), [id]);
  };
  await keeps({ until: time - 1 });
  await keeps({ labels: ['a'] });
  await keeps({ until: time, labels: ['a=1'] });
  assert.equal(
    (await prune(engine, { all: true, filter: { until: time, labels: [], withoutLabels: ['a'] } })).length,
    3,
  );
});

test('prune: a damaged image stays and is named, the others go', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const bad = await makeImage(store, [{ a: '1' }], { names: ['bad'] });
  const good = await makeImage(store, [{ b: '22' }], { names: ['good'] });
  writeFileSync(imageFile(store, bad.id), '{');
  const errors = ['ERR_TSBOX_DAMAGED'];
  assert.deepEqual(await prune(engine, { all: true, errors }), ['good:latest', good.id, ...good.chainIds]);
  assert.deepEqual(removeImage(engine, 'bad', { force: false, noPrune: false }).deleted, [bad.id, ...bad.chainIds]);
});

test('disk usage: a layer counts once; what can be freed is what prune frees', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  await makeImage(store, [{ a: '1' }, { b: '22' }], { names: ['one'] });
  const two = await makeImage(store, [{ a: '1' }, { c: '333' }, { d: '4444' }], { names: ['two'] });
  await makeImage(store, [{ a: '1' }, { c: '333' }, { e: '55555' }], { names: ['three'] });
  const { record } = makeContainer(store, two, 'web');
  writeFileSync(`${rwLayer(store, record.ID).upper}/file`, 'written');
  const usage = diskUsage(engine);
  assert.equal(usage.layers, 15);
  assert.equal(usage.reclaimable, 7);
  assert.deepEqual(
    usage.containers.map(({ written }) => written),
    [7],
  );
  const figures = imageUsage(engine).map(({ image, ...rest }) => [
    image.tags[0],
    image.size,
    rest.shared,
    rest.unique,
    rest.containers,
  ]);
  assert.deepEqual(figures.sort(), [
    ['one:latest', 3, 1, 2, 0],
    ['three:latest', 9, 4, 5, 0],
    ['two:latest', 8, 4, 4, 1],
  ]);
  const { bytes } = await pruneImages(engine, { all: true, filter: NO_FILTER });
  assert.equal(bytes, 7);
  assert.deepEqual(diskUsage(engine).reclaimable, 0);
});

test('layer tree: every layer once, with the images that have it', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const one = await makeImage(store, [{ a: '1' }, { b: '22' }], { names: ['one'] });
  const two = await makeImage(store, [{ a: '1' }, { b: '22' }, { c: '333' }], { names: ['two'] });
  const none = await makeImage(store, [], { names: ['none'] });
  const { bases, empty } = layerTree(engine, listImages(engine, { all: false }));
  assert.deepEqual(
    empty.map(({ id }) => id),
    [none.id],
  );
  assert.deepEqual(
    bases.map(({ chainId, users, above }) => [chainId, users, above.length]),
    [[one.chainIds[0], 2, 1]],
  );
  const [second] = bases[0]!.above;
  assert.deepEqual(
    [second!.images.map(({ id }) => id), second!.size, second!.users, second!.createdBy],
    [[one.id], 2, 2, 'step 1'],
  );
  assert.deepEqual(
    second!.above.map(({ images }) => images.map(({ id }) => id)),
    [[two.id]],
  );
});

test('freed: every inode counts once, symlinks with their targets, names need not be UTF-8', (t) => {
  const { dataRoot } = temporaryEngine(t).store;
  const script =
    'mkdir -p "$0/x/y"; cd "$0/x"; printf 12345 > a; ln a b; ln -s target y/c; mkfifo p; printf 12 > "$(printf "y/\\377")"';
  execFileSync('sh', ['-c', script, dataRoot]);
  assert.equal(treeBytes(`${dataRoot}/x`), 5 + 6 + 2);
  assert.equal(treeBytes(`${dataRoot}/none`), 0);
});
