import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseReference } from '../../src/spec/reference.ts';
import { putImage, setReferences, tag, untag, verifiedImage } from '../../src/store/image-changes.ts';
import {
  findImage,
  imageBytes,
  imageLastUpdated,
  imageNames,
  imageParent,
  requireImage,
} from '../../src/store/images.ts';
import { openStore } from '../../src/store/open.ts';
import { imageFile } from '../../src/store/store.ts';
import { tryLock } from '../../src/sys/lock.ts';
import { makeImage, sha256, temporaryStore } from './store-fixture.ts';

const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8);

test("open: a new data root has Docker's directories and modes, whatever the umask", (t) => {
  const umask = process.umask(0o077);
  t.after(() => process.umask(umask));
  const store = temporaryStore(t);
  assert.equal(process.umask(), 0o077);
  const modes = {
    '': '710',
    overlay2: '710',
    'overlay2/l': '700',
    containers: '710',
    image: '700',
    'image/overlay2': '700',
    'image/overlay2/layerdb': '700',
    'image/overlay2/layerdb/sha256': '755',
    'image/overlay2/layerdb/mounts': '755',
    'image/overlay2/layerdb/tmp': '755',
    'image/overlay2/imagedb/content/sha256': '700',
    'image/overlay2/imagedb/metadata/sha256': '700',
    'image/overlay2/distribution': '700',
  };
  for (const [path, expected] of Object.entries(modes)) assert.equal(mode(`${store.dataRoot}/${path}`), expected, path);
  assert.equal(openStore(store).names, store.names);
});

test('images: the exact bytes are kept, the id is their digest', async (t) => {
  const store = temporaryStore(t);
  const bytes = Buffer.from(
    '{ "os":"linux",\n "architecture":"amd64", "x-unknown": [1], "rootfs":{"type":"layers","diff_ids":[]}}\n',
  );
  const id = putImage(store, bytes);
  assert.equal(id, sha256(bytes));
  assert.deepEqual(readFileSync(imageFile(store, id)), bytes);
  assert.deepEqual(imageBytes(store, id), bytes);
  assert.equal(mode(imageFile(store, id)), '600');
});

test('images: found by name, tag, digest, full id and the beginning of an id', async (t) => {
  const store = temporaryStore(t);
  const { id, chainIds } = await makeImage(store, [{ a: '1' }, { b: '2' }], { names: ['busybox:1.36', 'busybox'] });
  const digest = sha256('manifest');
  tag(store, `busybox@${digest}`, id);
  const hex = id.slice(7);
  const spellings = [
    'busybox',
    'busybox:1.36',
    'docker.io/library/busybox',
    `busybox@${digest}`,
    id,
    hex,
    hex.slice(0, 12),
    `sha256:${hex.slice(0, 5)}`,
  ];
  for (const name of spellings) assert.equal(findImage(store, name)?.id, id, name);
  assert.equal(findImage(store, 'busybox')?.chainId, chainIds[1]);
  assert.equal(findImage(store, 'busybox:1.35'), undefined);
  assert.equal(findImage(store, `busybox@${sha256('other')}`), undefined);
  assert.deepEqual(imageNames(store, id), { tags: ['busybox:1.36', 'busybox:latest'], digests: [`busybox@${digest}`] });
  assert.deepEqual(JSON.parse(readFileSync(`${store.images}/repositories.json`, 'utf8')), {
    Repositories: { busybox: { 'busybox:1.36': id, 'busybox:latest': id, [`busybox@${digest}`]: id } },
  });
});

test("images: an unknown one is refused in Docker's words", (t) => {
  const store = temporaryStore(t);
  const refusal = (name: string, message: string) =>
    assert.throws(() => requireImage(store, name), { code: 'ERR_TSBOX_NOT_FOUND', message });
  refusal('nowhere', 'No such image: nowhere:latest');
  refusal('docker.io/library/nowhere:2', 'No such image: nowhere:2');
  refusal('constructor', 'No such image: constructor:latest');
  refusal(sha256('x'), `No such image: ${sha256('x')}`);
  assert.throws(() => requireImage(store, 'Upper'), { code: 'ERR_TSBOX_SPEC' });
});

test('images: the beginning of several ids is refused', async (t) => {
  const store = temporaryStore(t);
  const first = new Map<string, string>();
  for (let salt = 0; ; salt++) {
    const { id } = await makeImage(store, [], { salt: String(salt) });
    const digit = id.slice(7, 8);
    if (first.has(digit)) {
      assert.throws(() => findImage(store, digit), {
        code: 'ERR_TSBOX_USAGE',
        message: `Multiple IDs found with provided prefix: ${digit}`,
      });
      return;
    }
    first.set(digit, id);
  }
});

test('images: a name goes over to another image, and can be taken away', async (t) => {
  const store = temporaryStore(t);
  const [one, two] = [
    await makeImage(store, [], { salt: '1', names: ['x'] }),
    await makeImage(store, [], { salt: '2' }),
  ];
  tag(store, 'x', two.id);
  assert.equal(findImage(store, 'x')?.id, two.id);
  assert.deepEqual(imageNames(store, one.id).tags, []);
  assert.match(imageLastUpdated(store, two.id) ?? '', /^\d{4}-.*T.*\.\d{9}Z$/);
  untag(store, 'x');
  assert.equal(findImage(store, 'x'), undefined);
  assert.throws(() => untag(store, 'x'), { message: 'No such image: x:latest' });
  assert.throws(() => tag(store, 'y', sha256('none')), { code: 'ERR_TSBOX_NOT_FOUND' });
});

test('images: the parent is kept beside the image', async (t) => {
  const store = temporaryStore(t);
  const base = await makeImage(store, [{ a: '1' }]);
  const child = await makeImage(store, [{ a: '1' }, { b: '2' }], { parent: base.id });
  assert.equal(imageParent(store, child.id), base.id);
  assert.equal(imageParent(store, base.id), undefined);
});

test('images: one whose layers are missing is not stored', (t) => {
  const store = temporaryStore(t);
  const missing = sha256('layer');
  const bytes = Buffer.from(
    JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [missing] } }),
  );
  assert.throws(() => putImage(store, bytes), { code: 'ERR_TSBOX_NOT_FOUND', message: `No such layer: ${missing}` });
  assert.equal(findImage(store, sha256(bytes)), undefined);
});

test('images: a damaged config is named, a changed one is found by its digest', async (t) => {
  const store = temporaryStore(t);
  const { id } = await makeImage(store, [], { names: ['x'] });
  writeFileSync(imageFile(store, id), '{"rootfs":{"diff_ids":["../../etc"]}}');
  assert.throws(() => findImage(store, 'x'), { code: 'ERR_TSBOX_DAMAGED', message: new RegExp(`^read image ${id}: `) });
  writeFileSync(imageFile(store, id), '{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}');
  assert.equal(findImage(store, 'x')?.id, id);
  assert.throws(() => verifiedImage(store, id), {
    code: 'ERR_TSBOX_DAMAGED',
    message: /the file has the digest sha256:/,
  });
});

test('images: a damaged repositories.json is named', (t) => {
  const store = temporaryStore(t);
  for (const text of ['{', '[]', '{"Repositories":[]}', '{"Repositories":{"x":{"x:latest":"../x"}}}']) {
    writeFileSync(`${store.images}/repositories.json`, text);
    assert.throws(() => findImage(store, 'x'), { code: 'ERR_TSBOX_DAMAGED', message: /repositories\.json/ }, text);
  }
});

test('images: one gets its names before anybody else can remove it', (t) => {
  const store = temporaryStore(t);
  const bytes = Buffer.from('{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}');
  const named: unknown[] = [];
  const id = putImage(store, bytes, {
    name(locked, image) {
      named.push(image, tryLock(store.images));
      setReferences(locked, [parseReference('x:1'), parseReference('y:2')], image);
    },
  });
  assert.deepEqual(named, [id, undefined]);
  assert.deepEqual(imageNames(store, id).tags, ['x:1', 'y:2']);
});
