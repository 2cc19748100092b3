/** Image archives: what is found in them, and what is refused. Nothing is unpacked here. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Archive, openArchive } from '../../src/engine/archive-read.ts';
import { writeArchive } from '../../src/engine/archive-write.ts';
import { readImageArchive } from '../../src/engine/image-archive.ts';
import {
  blobOf,
  configOf,
  descriptorOf,
  dockerFiles,
  type Files,
  layoutFiles,
  OCI,
  ociFiles,
  sha256,
  tarOf,
  temporary,
  writeFiles,
} from './engine-archives.ts';

const PLATFORM = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
const NEVER = new AbortController().signal;
const base = tarOf({ 'etc/os-release': 'ID=test\n', 'bin/sh': '#!' });
const top = tarOf({ 'etc/motd': 'hello\n' });

async function open(context: TestContext, bytes: Buffer | Files): Promise<Archive> {
  const directory = temporary(context);
  const input = join(directory, 'input');
  if (Buffer.isBuffer(bytes)) writeFileSync(input, bytes);
  else writeFiles(input, bytes);
  const archive = await openArchive(input, { dataRoot: directory }, NEVER);
  context.after(() => archive.close());
  return archive;
}

async function images(context: TestContext, bytes: Buffer | Files) {
  return readImageArchive(await open(context, bytes), PLATFORM);
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('archive: files are found where they are, whatever the compression', async (context) => {
  const big = Buffer.alloc(3_000_001, 'x');
  const tar = tarOf({ 'a/b': 'one', c: '', [`${'long/'.repeat(30)}name`]: 'long', big });
  for (const bytes of [tar, gzipSync(tar), zstdCompressSync(tar)]) {
    const archive = await open(context, bytes);
    assert.equal((await collect(archive.stream('a/b'))).toString(), 'one');
    assert.equal((await collect(archive.stream('./a//b'))).toString(), 'one');
    assert.equal(archive.size('c'), 0);
    assert.equal((await collect(archive.stream(`${'long/'.repeat(30)}name`))).toString(), 'long');
    assert.deepEqual(await collect(archive.stream('big')), big);
    assert.equal(archive.has('a'), false);
    assert.equal(archive.has('nothing'), false);
  }
});

test('archive: a compressed one leaves no file behind', async (context) => {
  const directory = temporary(context);
  writeFileSync(join(directory, 'input'), gzipSync(tarOf({ a: '1' })));
  const archive = await openArchive(join(directory, 'input'), { dataRoot: directory }, NEVER);
  assert.equal((await collect(archive.stream('a'))).toString(), '1');
  assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
  archive.close();
});

test('archive: links lead to files within the archive only', async (context) => {
  const archive = await open(
    context,
    tarOf({
      'a/layer.tar': 'data',
      'b/layer.tar': { link: '../a/layer.tar' },
      out: { link: '../../../../etc/passwd' },
      absolute: { link: '/etc/passwd' },
      loop: { link: 'loop' },
    }),
  );
  assert.equal((await collect(archive.stream('b/layer.tar'))).toString(), 'data');
  for (const path of ['out', 'absolute', 'loop', '../etc/passwd', '/etc/passwd'])
    assert.equal(archive.has(path), false, path);
});

test('archive: links of a directory do not lead out of it, and a fifo is no file', async (context) => {
  const directory = temporary(context);
  writeFileSync(join(directory, 'secret'), 'secret');
  const input = join(directory, 'input');
  mkdirSync(input);
  writeFiles(input, {
    inside: 'x',
    link: { link: 'inside' },
    out: { link: '../secret' },
    absolute: { link: join(directory, 'secret') },
  });
  execFileSync('mkfifo', [join(input, 'fifo')]);
  const archive = await openArchive(input, { dataRoot: directory }, NEVER);
  context.after(() => archive.close());
  assert.equal((await collect(archive.stream('link'))).toString(), 'x');
  for (const path of ['out', 'absolute', 'fifo', '../secret']) assert.equal(archive.has(path), false, path);
});

test('archive: what is cut off or no archive is refused', async (context) => {
  const tar = tarOf({ a: Buffer.alloc(5000, 'x'), b: 'y' });
  await assert.rejects(open(context, tar.subarray(0, 3000)), { code: 'ERR_TSBOX_DAMAGED', message: /ends within it/ });
  await assert.rejects(open(context, gzipSync(tar).subarray(0, 60)), { code: 'ERR_TSBOX_DAMAGED', message: /gzip/ });
  await assert.rejects(open(context, Buffer.alloc(5000, 'x')), {
    code: 'ERR_TSBOX_DAMAGED',
    message: /not a tar archive/,
  });
  await assert.rejects(open(context, Buffer.from('BZh91AY&SY')), {
    code: 'ERR_TSBOX_DAMAGED',
    message: /bzip2 stream/,
  });
  await assert.rejects(openArchive('/nonexistent/x.tar', { dataRoot: '/tmp' }, NEVER), {
    message: 'open /nonexistent/x.tar: ENOENT (No such file or directory)',
  });
});

test('archive: docker-archive gives config, tags and layers', async (context) => {
  const [image, ...rest] = await images(context, tarOf(dockerFiles([base, top], ['x:1', 'registry.example/y:2'])));
  assert.equal(rest.length, 0);
  assert.deepEqual(image!.config, configOf([base, top]));
  assert.deepEqual(
    image!.references.map(({ path, tag }) => `${path}:${tag}`),
    ['library/x:1', 'y:2'],
  );
  assert.deepEqual(await collect(image!.layers[1]!.open()), top);
  assert.equal(image!.layers[1]!.diffId, `sha256:${sha256(top)}`);
});

test('archive: an OCI layout gives the same from a tar and from a directory', async (context) => {
  const files = ociFiles([base, top], 'x:1', [gzipSync(base), zstdCompressSync(top)]);
  for (const source of [tarOf(files), files]) {
    const [image] = await images(context, source);
    assert.deepEqual(image!.config, configOf([base, top]));
    assert.deepEqual(
      image!.references.map(({ path, tag }) => `${path}:${tag}`),
      ['library/x:1'],
    );
    assert.deepEqual(await collect(image!.layers[0]!.open()), gzipSync(base));
  }
});

test('archive: a bare tag in an OCI layout is no name', async (context) => {
  assert.deepEqual((await images(context, ociFiles([base], 'latest')))[0]!.references, []);
});

test('archive: an index is searched for the platform', async (context) => {
  const config = blobOf(OCI.config, configOf([base]));
  const layer = blobOf(OCI.layer, base);
  const right = blobOf(OCI.manifest, { schemaVersion: 2, config: descriptorOf(config), layers: [descriptorOf(layer)] });
  const wrong = blobOf(OCI.manifest, { schemaVersion: 2, config: descriptorOf(config), layers: [] });
  const platforms = [
    { ...descriptorOf(wrong), platform: { os: 'linux', architecture: 's390x' } },
    { ...descriptorOf(right), platform: PLATFORM },
    { ...descriptorOf(wrong), platform: { os: 'unknown', architecture: 'unknown' } },
  ];
  const index = blobOf(OCI.index, { schemaVersion: 2, manifests: platforms });
  const blobs = [config, layer, right, wrong, index];
  assert.equal((await images(context, layoutFiles(blobs, [descriptorOf(index)]))).length, 1);
  assert.equal((await images(context, layoutFiles(blobs, platforms))).length, 1);
  const none = blobOf(OCI.index, { schemaVersion: 2, manifests: [platforms[0]] });
  await assert.rejects(images(context, layoutFiles([...blobs, none], [descriptorOf(none)])), {
    code: 'ERR_TSBOX_NOT_FOUND',
  });
});

test('archive: the old form of docker save is put together', async (context) => {
  const [first, second] = [sha256('1'), sha256('2')];
  const json = (id: string, more: object) =>
    JSON.stringify({ id, created: '2015-01-02T03:04:05Z', os: 'linux', architecture: 'amd64', ...more });
  const [image] = await images(
    context,
    tarOf({
      repositories: JSON.stringify({ old: { '1': second } }),
      [`${first}/VERSION`]: '1.0',
      [`${first}/json`]: json(first, { container_config: { Cmd: ['a', 'b'] } }),
      [`${first}/layer.tar`]: base,
      [`${second}/VERSION`]: '1.0',
      [`${second}/json`]: json(second, { parent: first, config: { Cmd: ['sh'] }, comment: 'two' }),
      [`${second}/layer.tar`]: top,
    }),
  );
  const config = JSON.parse(image!.config.toString());
  assert.deepEqual(config.rootfs.diff_ids, [`sha256:${sha256(base)}`, `sha256:${sha256(top)}`]);
  assert.deepEqual(config.history, [
    { created: '2015-01-02T03:04:05Z', created_by: 'a b' },
    { created: '2015-01-02T03:04:05Z', comment: 'two' },
  ]);
  assert.deepEqual([config.config.Cmd, config.id, config.parent], [['sh'], undefined, undefined]);
  assert.deepEqual(
    image!.references.map(({ path, tag }) => `${path}:${tag}`),
    ['library/old:1'],
  );
});

test('archive: a layer that is its own parent is refused', async (context) => {
  const id = sha256('1');
  const files = {
    repositories: JSON.stringify({ x: { '1': id } }),
    [`${id}/json`]: JSON.stringify({ id, parent: id }),
  };
  await assert.rejects(images(context, tarOf(files)), { code: 'ERR_TSBOX_DAMAGED', message: /its own parent/ });
});

const docker = (change: (files: Files, manifest: { Config: string; RepoTags: string[]; Layers: string[] }) => void) => {
  const files = dockerFiles([base, top], ['x:1']);
  const manifest = JSON.parse(files['manifest.json'] as string);
  change(files, manifest[0]);
  files['manifest.json'] = JSON.stringify(manifest);
  return files;
};

test('archive: a docker-archive that does not fit together is refused', async (context) => {
  const cases: [string, Files, string, RegExp][] = [
    [
      'a root file system',
      { 'bin/sh': 'x', 'etc/passwd': '' },
      'ERR_TSBOX_DAMAGED',
      /no manifest\.json, index\.json or repositories/,
    ],
    ['no JSON', { 'manifest.json': '<html>' }, 'ERR_TSBOX_DAMAGED', /HTML where JSON was expected/],
    ['another shape', { 'manifest.json': '{"a":1}' }, 'ERR_TSBOX_DAMAGED', /manifest\.json/],
    ['10 MB of JSON', { 'manifest.json': `[${'1,'.repeat(5_000_000)}1]` }, 'ERR_TSBOX_LIMIT', /more than/],
    [
      'a layer that is missing',
      docker((_, m) => m.Layers.splice(1, 1, 'no/layer.tar')),
      'ERR_TSBOX_DAMAGED',
      /no file "no\/layer\.tar"/,
    ],
    ['a layer outside', docker((_, m) => m.Layers.splice(1, 1, '../../etc/passwd')), 'ERR_TSBOX_DAMAGED', /no file/],
    [
      'a layer too few',
      docker((_, m) => m.Layers.pop()),
      'ERR_TSBOX_DAMAGED',
      /layers length mismatch: expected 2, got 1/,
    ],
    [
      'another config',
      docker((f, m) => {
        f[m.Config] = configOf([base]);
      }),
      'ERR_TSBOX_DAMAGED',
      /digest/,
    ],
    [
      'a bad tag',
      docker((_, m) => {
        m.RepoTags = ['../../x'];
      }),
      'ERR_TSBOX_DAMAGED',
      /invalid tag/,
    ],
  ];
  for (const [name, files, code, message] of cases) {
    await assert.rejects(images(context, tarOf(files)), (error: Error & { code: string }) => {
      assert.equal(error.code, code, name);
      assert.match(error.message, message, name);
      return true;
    });
  }
});

test('archive: a root file system is sent to import', async (context) => {
  await assert.rejects(images(context, tarOf({ 'bin/sh': 'x' })), { hint: /tsbox import/ });
});

test('archive: 1,000 layers are refused before any is read', async (context) => {
  const config = configOf(Array.from({ length: 1000 }, () => base));
  await assert.rejects(
    images(context, tarOf({ c: config, 'manifest.json': JSON.stringify([{ Config: 'c', Layers: [] }]) })),
    {
      code: 'ERR_TSBOX_LIMIT',
      message: /1000 layers, at most 127/,
    },
  );
});

test('archive: __proto__ in a document changes nothing', async (context) => {
  const config = configOf([base]);
  const manifest = `[{"__proto__":{"polluted":1},"Config":"c","Layers":["l"]}]`;
  assert.equal((await images(context, tarOf({ c: config, l: base, 'manifest.json': manifest }))).length, 1);
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
});

test('archive: an OCI layout that is not what it says is refused', async (context) => {
  const config = blobOf(OCI.config, configOf([base]));
  const layer = blobOf(OCI.layer, base);
  const document = {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  };
  const manifest = blobOf(OCI.manifest, document);
  const both = blobOf(OCI.manifest, { ...document, manifests: [] });
  const artifact = blobOf(OCI.manifest, {
    ...document,
    config: { ...descriptorOf(config), mediaType: 'application/vnd.x+json' },
  });
  const foreign = blobOf(OCI.manifest, {
    ...document,
    layers: [{ ...descriptorOf(layer), mediaType: 'application/x' }],
  });
  const wrongSize = blobOf(OCI.manifest, { ...document, layers: [{ ...descriptorOf(layer), size: 3 }] });
  const all = [config, layer, manifest, both, artifact, foreign, wrongSize];
  const layout = (entry: object) => layoutFiles(all, [entry]);
  const damaged = layout(descriptorOf(manifest));
  damaged[`blobs/sha256/${manifest.digest.slice(7)}`] = Buffer.from(
    manifest.bytes.toString().replace('schemaVersion', 'schemaversion'),
  );
  const cases: [string, Files, string, RegExp][] = [
    ['wrong digest', damaged, 'ERR_TSBOX_DAMAGED', /digest/],
    ['wrong size', layout({ ...descriptorOf(manifest), size: 1 }), 'ERR_TSBOX_DAMAGED', /bytes/],
    ['wrong layer size', layout(descriptorOf(wrongSize)), 'ERR_TSBOX_DAMAGED', /should have 3/],
    [
      'manifest called an index',
      layout({ ...descriptorOf(manifest), mediaType: OCI.index }),
      'ERR_TSBOX_DAMAGED',
      /manifests/,
    ],
    ['both at once', layout(descriptorOf(both)), 'ERR_TSBOX_DAMAGED', /both an index and a manifest/],
    ['an artifact', layout(descriptorOf(artifact)), 'ERR_TSBOX_UNSUPPORTED', /not a container image/],
    ['a foreign layer', layout(descriptorOf(foreign)), 'ERR_TSBOX_UNSUPPORTED', /application\/x/],
    [
      'a digest that is a path',
      layout({ ...descriptorOf(manifest), digest: 'sha256:../../../x' }),
      'ERR_TSBOX_DAMAGED',
      /invalid digest/,
    ],
    [
      'another type',
      layout({ ...descriptorOf(manifest), mediaType: 'text/plain' }),
      'ERR_TSBOX_UNSUPPORTED',
      /text\/plain/,
    ],
    [
      'no oci-layout',
      { ...layout(descriptorOf(manifest)), 'oci-layout': '{}' },
      'ERR_TSBOX_DAMAGED',
      /imageLayoutVersion/,
    ],
    ['nothing in it', layoutFiles([], []), 'ERR_TSBOX_DAMAGED', /names no image/],
  ];
  for (const [name, files, code, message] of cases) {
    await assert.rejects(images(context, files), (error: Error & { code: string }) => {
      assert.equal(error.code, code, `${name}: ${error.message}`);
      assert.match(error.message, message, name);
      return true;
    });
  }
});

test('archive: indexes in each other come to an end', async (context) => {
  let inner = blobOf(OCI.index, { schemaVersion: 2, manifests: [] });
  const blobs = [inner];
  for (let depth = 0; depth < 5; depth++) {
    inner = blobOf(OCI.index, { schemaVersion: 2, manifests: [descriptorOf(inner)] });
    blobs.push(inner);
  }
  await assert.rejects(images(context, layoutFiles(blobs, [descriptorOf(inner)])), { code: 'ERR_TSBOX_DAMAGED' });
});

test('archive: what is written is read by GNU tar, in order and with exact sizes', async (context) => {
  const directory = temporary(context);
  const data = Buffer.alloc(1000, 'd');
  async function* pieces() {
    yield data.subarray(0, 300);
    yield data.subarray(300);
  }
  const files = [
    { path: 'first', size: 3, mtime: 0, data: Buffer.from('abc') },
    { path: 'dir', size: 0, mtime: 0 },
    { path: 'dir/second', size: 1000, mtime: 5, data: pieces() },
    { path: 'empty', size: 0, mtime: 0, data: Buffer.alloc(0) },
  ];
  const archive = await collect(writeArchive(files));
  writeFileSync(join(directory, 'a.tar'), archive);
  const list = execFileSync('tar', ['tf', join(directory, 'a.tar')]).toString();
  assert.equal(list, 'first\ndir/\ndir/second\nempty\n');
  assert.deepEqual(execFileSync('tar', ['xOf', join(directory, 'a.tar'), 'dir/second']), data);
  await assert.rejects(
    collect(writeArchive([{ path: 'x', size: 2, mtime: 0, data: Buffer.from('abc') }])),
    /has 3 bytes and not 2/,
  );
});
