import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { chainIds } from '../../src/store/chain.ts';
import { blobsOfLayer, diffIdOfBlob, forgetBlob, rememberBlob } from '../../src/store/distribution.ts';
import { putImage } from '../../src/store/image-changes.ts';
import { removeTree } from '../../src/store/io.ts';
import { hasLayer, layerChain, layerIds, readLayer } from '../../src/store/layers.ts';
import { type Lease, newLease, releaseLease, useLayer } from '../../src/store/leases.ts';
import { withStore } from '../../src/store/lock.ts';
import { commitLayers, registerLayer, stageLayer } from '../../src/store/register.ts';
import { layerEntry, type Store } from '../../src/store/store.ts';
import { withLease } from '../../src/store/take-back.ts';
import { layerUses, removeUnusedChain, removeUnusedLayers } from '../../src/store/unused-layers.ts';
import { filesLayer, makeContainer, makeImage, sha256, temporaryStore } from './store-fixture.ts';

const mode = (path: string) => (lstatSync(path).mode & 0o7777).toString(8);

test('chain ids: as the image specification computes them', () => {
  const [a, b, c] = [sha256('a'), sha256('b'), sha256('c')];
  const ab = sha256(`${a} ${b}`);
  assert.deepEqual(chainIds([a, b, c]), [a, ab, sha256(`${ab} ${c}`)]);
  assert.deepEqual(chainIds([]), []);
});

test("layers: on disk they are as Docker's, but for the size of the archive", async (t) => {
  const store = temporaryStore(t);
  const lease = newLease();
  const base = await registerLayer(store, lease, undefined, filesLayer({ 'etc/passwd': 'root' }));
  const top = await registerLayer(store, lease, base.chainId, filesLayer({ 'etc/group': 'root:' }));
  releaseLease(lease);
  const entry = layerEntry(store, top.chainId);
  const text = (file: string) => readFileSync(`${entry}/${file}`, 'utf8');
  assert.deepEqual(readdirSync(entry).sort(), [
    'archive-size',
    'cache-id',
    'diff',
    'parent',
    'size',
    'tar-split.json.gz',
  ]);
  assert.deepEqual(readdirSync(layerEntry(store, base.chainId)).sort(), [
    'archive-size',
    'cache-id',
    'diff',
    'size',
    'tar-split.json.gz',
  ]);
  assert.equal(text('size'), '5');
  assert.equal(text('diff'), top.diffId);
  assert.equal(text('parent'), base.chainId);
  assert.match(text('cache-id'), /^[0-9a-f]{64}$/);
  assert.equal(mode(entry), '700');
  assert.equal(mode(`${entry}/cache-id`), '644');
  const directory = `${store.overlay}/${top.cacheId}`;
  assert.deepEqual(readdirSync(directory).sort(), ['committed', 'diff', 'link', 'lower', 'work']);
  assert.deepEqual(readdirSync(`${store.overlay}/${base.cacheId}`).sort(), ['committed', 'diff', 'link']);
  assert.deepEqual(
    ['', '/diff', '/work', '/committed', '/link', '/lower'].map((path) => mode(directory + path)),
    ['710', '755', '700', '600', '644', '644'],
  );
  assert.match(top.link, /^[A-Z2-7]{26}$/);
  assert.equal(readlinkSync(`${store.overlay}/l/${top.link}`), `../${top.cacheId}/diff`);
  assert.equal(readFileSync(`${directory}/lower`, 'utf8'), `l/${base.link}`);
  assert.deepEqual(layerChain(store, top.chainId), [top, base]);
  assert.deepEqual(readdirSync(`${store.images}/layerdb/tmp`), []);
});

test('layers: the same layer twice is stored once', async (t) => {
  const store = temporaryStore(t);
  const lease = newLease();
  const first = await registerLayer(store, lease, undefined, filesLayer({ a: '1' }));
  const second = await registerLayer(store, lease, undefined, filesLayer({ a: '1' }));
  releaseLease(lease);
  assert.deepEqual(second, first);
  assert.deepEqual(readdirSync(store.overlay).sort(), [first.cacheId, 'l'].sort());
  assert.deepEqual(readdirSync(`${store.overlay}/l`), [first.link]);
});

test('layers: unpacked in any order and at once, committed from the base up', async (t) => {
  const store = temporaryStore(t);
  const lease = newLease();
  const base = await registerLayer(store, lease, undefined, filesLayer({ base: '' }));
  const contents = [{ a: '1' }, { b: '2' }, { c: '3' }];
  const staged = await Promise.all(contents.map((files) => stageLayer(store, lease, filesLayer(files))));
  assert.deepEqual(layerIds(store), [base.chainId], 'nothing is a layer before it is committed');
  const layers = await commitLayers(store, lease, staged, base.chainId);
  releaseLease(lease);
  assert.deepEqual(
    layers.map((layer) => layer.chainId),
    chainIds([base, ...staged].map((one) => one.diffId)).slice(1),
  );
  assert.equal(layers[2]?.lower, `l/${layers[1]?.link}:l/${layers[0]?.link}:l/${base.link}`);
});

test('layers: one that another process has committed meanwhile is taken over, and those above stand on it', async (t) => {
  const store = temporaryStore(t);
  const [mine, theirs] = [newLease(), newLease()];
  const staged = [
    await stageLayer(store, mine, filesLayer({ a: '1' })),
    await stageLayer(store, mine, filesLayer({ b: '2' })),
  ];
  const faster = await registerLayer(store, theirs, undefined, filesLayer({ a: '1' }));
  const [low, high] = await commitLayers(store, mine, staged);
  assert.equal(low?.cacheId, faster.cacheId);
  assert.equal(high?.lower, `l/${faster.link}`);
  assert.equal(readdirSync(store.overlay).length, 3);
  releaseLease(mine);
  releaseLease(theirs);
});

test('layers: an error while unpacking leaves nothing behind', async (t) => {
  const store = temporaryStore(t);
  const lease = newLease();
  const failing = stageLayer(store, lease, async (target) => {
    await filesLayer({ 'a/b': 'c' })(target);
    throw Object.assign(new Error('no space'), { errno: -28, syscall: 'write', code: 'ENOSPC' });
  });
  await assert.rejects(failing, {
    code: 'ERR_TSBOX_SYSCALL',
    errnoName: 'ENOSPC',
    message: 'unpack a layer: ENOSPC (No space left on device)',
  });
  assert.deepEqual(readdirSync(store.overlay), ['l']);
  assert.deepEqual(readdirSync(`${store.images}/layerdb/tmp`), []);
  assert.equal(lease.locks.size, 0);
});

test('layers: without its parent a layer is not committed, and its copy is dropped', async (t) => {
  const store = temporaryStore(t);
  const lease = newLease();
  const staged = await stageLayer(store, lease, filesLayer({ a: '1' }));
  await assert.rejects(commitLayers(store, lease, [staged], sha256('gone')), { code: 'ERR_TSBOX_NOT_FOUND' });
  assert.deepEqual(readdirSync(store.overlay), ['l']);
});

test('layers: a damaged entry is named', async (t) => {
  const store = temporaryStore(t);
  const { chainIds: chain } = await makeImage(store, [{ a: '1' }, { b: '2' }]);
  removeTree(`${layerEntry(store, chain[1]!)}/parent`);
  assert.throws(() => readLayer(store, chain[1]!), { code: 'ERR_TSBOX_DAMAGED', message: new RegExp(chain[1]!) });
  assert.throws(() => readLayer(store, sha256('none')), { code: 'ERR_TSBOX_NOT_FOUND' });
  assert.throws(() => hasLayer(store, '../../x'), { code: 'ERR_TSBOX_SPEC' });
});

test('layers: removed with the last of image, layer above, container and lease', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }, { b: '2' }]);
  const [base, top] = image.chainIds as [string, string];
  assert.deepEqual(
    layerUses(store),
    new Map([
      [base, 1],
      [top, 1],
    ]),
  );
  assert.deepEqual(withStore(store, removeUnusedLayers).chainIds, []);
  const orphan = await makeImage(store, [{ a: '1' }, { c: '3' }], { salt: 'x' });
  removeTree(`${store.images}/imagedb/content/sha256/${orphan.id.slice(7)}`);
  const lease = newLease();
  const held = useLayer(store, lease, orphan.chainIds[1]!);
  assert.deepEqual(withStore(store, removeUnusedLayers).chainIds, [], 'a lease holds it');
  releaseLease(lease);
  const removed = withStore(store, (locked) => removeUnusedChain(locked, orphan.chainIds[1]));
  assert.deepEqual(removed.chainIds, [orphan.chainIds[1]], 'the base is used by the other image');
  assert.equal(existsSync(held!.diffDir), false, 'gone from sight at once');
  removed.waiting.forEach(removeTree);
  const { record } = makeContainer(store, image, 'xy');
  removeTree(`${store.images}/imagedb/content/sha256/${image.id.slice(7)}`);
  assert.deepEqual(withStore(store, removeUnusedLayers).chainIds, [], `container ${record.ID} holds them`);
  removeTree(`${store.images}/layerdb/mounts/${record.ID}`);
  const last = withStore(store, removeUnusedLayers);
  assert.deepEqual(last.chainIds.sort(), [base, top].sort());
  last.waiting.forEach(removeTree);
  assert.deepEqual(readdirSync(`${store.images}/layerdb/tmp`), []);
});

/** Every path of the data root, with the content of what is small. */
function everything({ dataRoot }: Store): string[] {
  return (readdirSync(dataRoot, { recursive: true }) as string[])
    .filter((path) => !path.endsWith('repositories.json'))
    .map((path) => `${path} ${lstatSync(`${dataRoot}/${path}`).isFile() ? readFileSync(`${dataRoot}/${path}`) : ''}`)
    .sort();
}

test('layers: what fails takes back what it has put into the store', async (t) => {
  const store = temporaryStore(t);
  const image = await makeImage(store, [{ a: '1' }], { names: ['x'] });
  const before = everything(store);
  const source = { Digest: sha256('blob'), SourceRepository: 'docker.io/library/x' };
  const config = (diffIds: string[]) =>
    Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds }, salt: '1' }),
    );
  const work = async (lease: Lease) => {
    const base = useLayer(store, lease, image.chainIds[0]!)!;
    const one = await registerLayer(store, lease, base.chainId, filesLayer({ b: '2' }));
    const two = await registerLayer(store, lease, one.chainId, filesLayer({ c: '3' }));
    rememberBlob(store, two.diffId, source, lease);
    putImage(store, config([base.diffId, one.diffId, two.diffId]), { lease });
    return [one, two] as const;
  };
  const failing = async (lease: Lease) => {
    await work(lease);
    throw new Error('later');
  };
  await assert.rejects(withLease(store, failing), { message: 'later' });
  assert.deepEqual(everything(store), before);

  await assert.rejects(
    withLease(store, failing, () => true),
    { message: 'later' },
  );
  assert.equal(layerIds(store).length, 3, 'an interruption takes nothing back');
  await assert.rejects(withLease(store, failing), { message: 'later' });
  assert.equal(layerIds(store).length, 3, 'it has found them there: they are not its own');
});

test('layers: what somebody else uses by then is not taken back', async (t) => {
  const store = temporaryStore(t);
  const other = newLease();
  let chain: string[] = [];
  const failing = async (lease: Lease) => {
    const one = await registerLayer(store, lease, undefined, filesLayer({ a: '1' }));
    const two = await registerLayer(store, lease, one.chainId, filesLayer({ b: '2' }));
    useLayer(store, other, one.chainId);
    chain = [one.chainId, two.chainId];
    throw new Error('later');
  };
  await assert.rejects(withLease(store, failing), { message: 'later' });
  assert.deepEqual(layerIds(store), [chain[0]]);
  releaseLease(other);
});

test("distribution: blobs and diffIDs are kept in Docker's files", (t) => {
  const store = temporaryStore(t);
  const [diffId, blob] = [sha256('diff'), sha256('blob')];
  rememberBlob(store, diffId, { Digest: blob, SourceRepository: 'docker.io/library/x' });
  rememberBlob(store, diffId, { Digest: blob, SourceRepository: 'docker.io/library/y' });
  rememberBlob(store, diffId, { Digest: blob, SourceRepository: 'docker.io/library/x' });
  assert.equal(diffIdOfBlob(store, blob), diffId);
  assert.equal(diffIdOfBlob(store, diffId), undefined);
  assert.deepEqual(
    blobsOfLayer(store, diffId).map((one) => one.SourceRepository),
    ['docker.io/library/y', 'docker.io/library/x'],
  );
  const path = `${store.images}/distribution/v2metadata-by-diffid/sha256/${diffId.slice(7)}`;
  assert.match(readFileSync(path, 'utf8'), /^\[\{"HMAC":"","Digest":"sha256:/);
  assert.equal(statSync(path).mode & 0o777, 0o644);

  const known = newLease();
  rememberBlob(store, diffId, { Digest: blob, SourceRepository: 'docker.io/library/x' }, known);
  assert.deepEqual(known.added.blobs, [], 'not news');
  forgetBlob(store, diffId, { Digest: blob, SourceRepository: 'docker.io/library/x' });
  assert.equal(diffIdOfBlob(store, blob), diffId, 'known from the other repository');
  forgetBlob(store, diffId, { Digest: blob, SourceRepository: 'docker.io/library/y' });
  assert.deepEqual([diffIdOfBlob(store, blob), blobsOfLayer(store, diffId), existsSync(path)], [undefined, [], false]);
});
