/** `save`: one archive that everybody reads, with the exact bytes of every layer. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test, { type TestContext } from 'node:test';
import { loadImages } from '../../src/engine/load.ts';
import type { Engine } from '../../src/engine/open.ts';
import { saveImages } from '../../src/engine/save.ts';
import { tag } from '../../src/store/image-changes.ts';
import { findImageId, requireImage } from '../../src/store/images.ts';
import { requires } from '../requires.ts';
import { configOf, dockerFiles, sha256, tarOf, temporary } from '../unit/engine-archives.ts';
import { REPOSITORY } from './harness.ts';
import { engineIn, layerDirectories, run, startDocker } from './images-setup.ts';

const base = tarOf({ 'bin/sh': '#!', 'etc/os-release': 'ID=test\n', 'data/big': Buffer.alloc(300_000, 'x') });
// What no tar writer of today would write the same: an odd owner field, rubbish behind the end.
const top = Buffer.concat([
  tarOf({ 'etc/motd': 'hello\n', 'data/.wh.big': '' }),
  Buffer.from('rubbish behind the end'),
]);
const FIXTURE = join(REPOSITORY, 'rootfs-fixtures/build/layers.tar');

async function saved(engine: Engine, path: string, ...references: string[]): Promise<string> {
  await pipeline(Readable.from(await saveImages(engine, references)), createWriteStream(path));
  return path;
}

/** An engine with the images `one:1` (also `one:2`) of two layers and `base:1` of the first of them. */
async function prepared(context: TestContext): Promise<ReturnType<typeof engineIn>> {
  const engine = engineIn(context);
  for (const [layers, tags] of [
    [
      [base, top],
      ['one:1', 'one:2'],
    ],
    [[base], ['base:1']],
  ] as const) {
    const input = join(engine.directory, `${tags[0]}.tar`);
    writeFileSync(input, tarOf(dockerFiles(layers, tags)));
    await loadImages(engine, { input }, () => {});
  }
  return engine;
}

const listing = (archive: string) => execFileSync('tar', ['tf', archive]).toString().trim().split('\n');
const member = (archive: string, name: string) => execFileSync('tar', ['xOf', archive, name], { maxBuffer: 1 << 30 });
const json = (archive: string, name: string) => JSON.parse(member(archive, name).toString());

test('save: layers come back byte for byte, each once, and the same images give the same archive', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = await prepared(context);
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one:1', 'base:1');
  assert.deepEqual(member(archive, `blobs/sha256/${sha256(base)}`), base);
  assert.deepEqual(member(archive, `blobs/sha256/${sha256(top)}`), top);
  assert.deepEqual(member(archive, `blobs/sha256/${sha256(configOf([base, top]))}`), configOf([base, top]));
  const names = listing(archive);
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(names.slice(0, 4), ['oci-layout', 'index.json', 'manifest.json', 'repositories']);
  const again = await saved(engine, join(engine.directory, 'b.tar'), 'one:1', 'base:1');
  assert.deepEqual(readFileSync(again), readFileSync(archive));
});

test('save: every blob is what its name says, and index.json leads to all of them', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = await prepared(context);
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one', 'base:1');
  for (const name of listing(archive).filter((each) => /^blobs\/sha256\/./.test(each))) {
    assert.equal(sha256(member(archive, name)), name.slice(13));
  }
  const index = json(archive, 'index.json');
  for (const { digest, size } of index.manifests) {
    const manifest = member(archive, `blobs/sha256/${digest.slice(7)}`);
    assert.equal(manifest.length, size);
    for (const blob of [JSON.parse(manifest.toString()).config, ...JSON.parse(manifest.toString()).layers]) {
      assert.equal(member(archive, `blobs/sha256/${blob.digest.slice(7)}`).length, blob.size);
    }
  }
  assert.deepEqual(json(archive, 'oci-layout'), { imageLayoutVersion: '1.0.0' });
});

test('save: a name without a tag stands for all its tags, an id for none', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = await prepared(context);
  tag(engine.store, 'registry.example/one:3', requireImage(engine.store, 'one:1').id);
  const tags = async (...references: string[]) =>
    json(await saved(engine, join(engine.directory, 'a.tar'), ...references), 'manifest.json').map(
      ({ RepoTags }: { RepoTags: string[] | null }) => RepoTags,
    );
  assert.deepEqual(await tags('one'), [['one:1', 'one:2']]);
  assert.deepEqual(await tags('one:2'), [['one:2']]);
  assert.deepEqual(await tags('one:2', 'one:2', 'registry.example/one:3'), [['one:2', 'registry.example/one:3']]);
  assert.deepEqual(await tags(requireImage(engine.store, 'one:1').id), [null]);
  assert.deepEqual(await tags(requireImage(engine.store, 'one:1').id.slice(7, 19)), [null]);
  await assert.rejects(saveImages(engine, ['one:1', 'none:1']), {
    code: 'ERR_TSBOX_NOT_FOUND',
    message: 'No such image: none:1',
  });
});

test('save: what was saved is loaded as the same images', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = await prepared(context);
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one', 'base');
  const other = engineIn(context);
  assert.deepEqual(await loadImages(other, { input: archive }, () => {}), [
    'Loaded image: one:1',
    'Loaded image: one:2',
    'Loaded image: base:1',
  ]);
  for (const name of ['one:1', 'base:1']) assert.equal(findImageId(other.store, name), findImageId(engine.store, name));
  await run('tar', ['-C', other.directory, '-xf', archive, 'oci-layout', 'index.json', 'blobs']);
  const third = engineIn(context);
  const lines = await loadImages(third, { input: other.directory }, () => {});
  assert.deepEqual(lines.sort(), ['Loaded image: base:1', 'Loaded image: one:1', 'Loaded image: one:2']);
});

test('save: a file that was changed behind our back is found and named', async (context) => {
  if (!requires(context, 'root')) return;
  const cases: [string, (file: string) => void][] = [
    ['changed', (file) => writeFileSync(file, Buffer.concat([Buffer.alloc(299_999, 'x'), Buffer.from('y')]))],
    ['shorter', (file) => truncateSync(file, 1)],
    ['gone', (file) => execFileSync('rm', [file])],
    ['a symlink', (file) => execFileSync('ln', ['-sf', '/etc/passwd', file])],
  ];
  for (const [name, change] of cases) {
    const engine = await prepared(context);
    change(join(layerDirectories(engine, 'base:1')[0]!, 'data/big'));
    await assert.rejects(
      saved(engine, join(engine.directory, 'a.tar'), 'base:1'),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'ERR_TSBOX_DAMAGED', name);
        assert.match(error.message, /^save layer sha256:.*file integrity checksum failed for "data\/big"/, name);
        return true;
      },
    );
  }
});

test('save: the size of a layer that another engine has put there is worked out, a wrong one is told', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = await prepared(context);
  const layerdb = join(engine.store.images, 'layerdb/sha256');
  const notes = readdirSync(layerdb).map((name) => join(layerdb, name, 'archive-size'));
  const wanted = readFileSync(await saved(engine, join(engine.directory, 'a.tar'), 'one:1'));
  for (const note of notes) rmSync(note);
  assert.ok(readFileSync(await saved(engine, join(engine.directory, 'b.tar'), 'one:1')).equals(wanted));
  for (const note of notes) writeFileSync(note, '512');
  await assert.rejects(saved(engine, join(engine.directory, 'c.tar'), 'one:1'), { code: 'ERR_TSBOX_DAMAGED' });
});

test('save: every layer of the fixture comes back byte for byte', async (context) => {
  if (!requires(context, 'root', `file:${FIXTURE}`)) return;
  const engine = engineIn(context);
  await loadImages(engine, { input: FIXTURE }, () => {});
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'layers:latest');
  const place = listing(FIXTURE).find((name) => name.endsWith('manifest.json')) ?? '';
  const [theirs] = json(FIXTURE, place);
  const [ours] = json(archive, 'manifest.json');
  assert.equal(theirs.Layers.length, ours.Layers.length);
  for (const [at, layer] of theirs.Layers.entries()) {
    assert.deepEqual(
      sha256(member(FIXTURE, place.replace('manifest.json', layer))),
      sha256(member(archive, ours.Layers[at])),
    );
  }
});

test('save: docker loads and runs it', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker', `file:${FIXTURE}`)) return;
  const docker = await startDocker(context);
  const engine = await prepared(context);
  await loadImages(engine, { input: FIXTURE }, () => {});
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one', 'base', 'layers');
  const lines = await docker('load', '-i', archive);
  for (const name of ['one:1', 'one:2', 'base:1', 'layers:latest']) {
    assert.ok(lines.includes(`Loaded image: ${name}`), lines);
    assert.equal(await docker('image', 'inspect', '-f', '{{.Id}}', name), findImageId(engine.store, name));
  }
  assert.match(
    await docker('run', '--rm', '--network', 'none', 'layers:latest', 'cat', '/fixture/files/plain'),
    /plain/,
  );
});

test('save: podman loads it', async (context) => {
  if (!requires(context, 'root', 'command:podman')) return;
  const engine = await prepared(context);
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one:1', 'base');
  const roots = [
    '--root',
    join(engine.directory, 'p'),
    '--runroot',
    join(engine.directory, 'pr'),
    '--storage-driver',
    'vfs',
  ];
  await run('podman', [...roots, 'load', '-q', '-i', archive]);
  const images = (await run('podman', [...roots, 'images', '--no-trunc', '--format', '{{.ID}}']))
    .toString()
    .trim()
    .split('\n');
  const expected = ['one:1', 'base:1'].map((name) => findImageId(engine.store, name));
  assert.deepEqual(images.sort(), expected.sort());
});

test('save: skopeo reads it both ways, umoci unpacks it', async (context) => {
  if (!requires(context, 'root', 'command:skopeo', 'command:umoci')) return;
  const engine = await prepared(context);
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one:1');
  for (const source of [`docker-archive:${archive}:one:1`, `oci-archive:${archive}:1`]) {
    const config = await run('skopeo', ['inspect', '--config', '--raw', source]);
    assert.equal(sha256(config), findImageId(engine.store, 'one:1')?.slice(7), source);
  }
  const layout = join(temporary(context), 'layout');
  await run('skopeo', ['copy', '-q', `docker-archive:${archive}:one:1`, `oci:${layout}:x`]);
  assert.ok(existsSync(join(layout, 'index.json')));
  await run('mkdir', [join(engine.directory, 'out')]);
  await run('tar', ['-C', join(engine.directory, 'out'), '-xf', archive]);
  await run('umoci', ['unpack', '--image', `${join(engine.directory, 'out')}:1`, join(engine.directory, 'bundle')]);
  const rootfs = join(engine.directory, 'bundle/rootfs');
  assert.equal(readFileSync(join(rootfs, 'etc/motd'), 'utf8'), 'hello\n');
  assert.equal(existsSync(join(rootfs, 'data/big')), false);
  assert.ok(statSync(join(rootfs, 'bin/sh')).isFile());
});

test('save: two images with the same tag stay apart for whoever goes by index.json', async (context) => {
  if (!requires(context, 'root', 'command:skopeo')) return;
  const engine = await prepared(context);
  const archive = await saved(engine, join(engine.directory, 'a.tar'), 'one:1', 'base:1');
  for (const name of ['one:1', 'base:1']) {
    const config = await run('skopeo', ['inspect', '--config', '--raw', `oci-archive:${archive}:${name}`]);
    assert.equal(sha256(config), findImageId(engine.store, name)?.slice(7));
  }
});
