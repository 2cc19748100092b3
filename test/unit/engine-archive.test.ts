/** Image archives: what is found in them, and what is refused. Nothing is unpacked here. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Archive, openArchive } from '../../src/engine/archive-read.ts';
import { writeArchive } from '../../src/engine/archive-write.ts';
import { readImageArchive } from '../../src/engine/image-archive.ts';
import { canonicalString } from '../../src/spec/reference.ts';
import { requires } from '../requires.ts';
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
  if (!requires(context, 'command:bzip2')) return;
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

/** A layout whose one entry has these annotations. */
function named(annotations: Record<string, string>): Files {
  const files = ociFiles([base]);
  const index = JSON.parse(files['index.json'] as string);
  index.manifests[0].annotations = annotations;
  return { ...files, 'index.json': JSON.stringify(index) };
}

test('archive: names in an OCI layout are full ones, by containerd first; others are told, not guessed at', async (context) => {
  const [containerd, oci] = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'];
  const cases: [Record<string, string>, string[], string | undefined][] = [
    [{ [oci]: 'registry.example/foo/bar:1' }, ['registry.example/foo/bar:1'], undefined],
    [{ [oci]: 'x:1' }, ['docker.io/library/x:1'], undefined],
    [{ [oci]: 'foo/bar' }, ['docker.io/foo/bar:latest'], undefined],
    [{ [oci]: `x:1@sha256:${sha256('x')}` }, ['docker.io/library/x:1'], undefined],
    [{ [containerd]: 'docker.io/library/foo:2', [oci]: 'latest' }, ['docker.io/library/foo:2'], undefined],
    [{ [containerd]: '', [oci]: 'foo:2' }, ['docker.io/library/foo:2'], undefined],
    [{ [oci]: 'latest' }, [], 'latest'],
    [{ [oci]: 'stable+build' }, [], 'stable+build'],
    [{ [oci]: 'A b:C' }, [], 'A b:C'],
    [{ [oci]: `x@sha256:${sha256('x')}` }, [], `x@sha256:${sha256('x')}`],
    [{ [oci]: '../../etc/passwd:1' }, [], '../../etc/passwd:1'],
    [{ other: 'x:1' }, [], undefined],
  ];
  for (const [annotations, names, calledThere] of cases) {
    const [image] = await images(context, named(annotations));
    assert.deepEqual(image!.references.map(canonicalString), names, JSON.stringify(annotations));
    assert.equal(image!.calledThere, calledThere);
  }
});

test('archive: what buildkit writes: an index in the index, with attestations beside the image', async (context) => {
  const [config, layer] = [blobOf(OCI.config, configOf([base])), blobOf(OCI.layer, base)];
  const manifest = blobOf(OCI.manifest, {
    schemaVersion: 2,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  });
  const statement = blobOf('application/vnd.in-toto+json', { _type: 'https://in-toto.io/Statement/v0.1' });
  const unknown = blobOf(OCI.config, configOf([], { architecture: 'unknown', os: 'unknown' }));
  const attestation = blobOf(OCI.manifest, {
    schemaVersion: 2,
    config: descriptorOf(unknown),
    layers: [descriptorOf(statement)],
  });
  const index = blobOf(OCI.index, {
    schemaVersion: 2,
    mediaType: OCI.index,
    manifests: [
      { ...descriptorOf(manifest), platform: PLATFORM },
      { ...descriptorOf(attestation), platform: { os: 'unknown', architecture: 'unknown' } },
    ],
  });
  const annotations = { 'io.containerd.image.name': 'docker.io/library/x:1', 'org.opencontainers.image.ref.name': '1' };
  const blobs = [config, layer, manifest, statement, unknown, attestation, index];
  const found = await images(context, layoutFiles(blobs, [{ ...descriptorOf(index), annotations }]));
  assert.deepEqual(
    found.map(({ references }) => references.map(canonicalString)),
    [['docker.io/library/x:1']],
  );
  assert.deepEqual(found[0]!.config, configOf([base]));
});

test('archive: artifacts beside an image are passed over, alone they are an error', async (context) => {
  const [config, layer] = [blobOf(OCI.config, configOf([base])), blobOf(OCI.layer, base)];
  const manifest = blobOf(OCI.manifest, {
    schemaVersion: 2,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  });
  const empty = blobOf('application/vnd.oci.empty.v1+json', {});
  const signature = blobOf(OCI.manifest, {
    schemaVersion: 2,
    artifactType: 'application/vnd.example.signature',
    config: descriptorOf(empty),
    layers: [descriptorOf(empty)],
    subject: descriptorOf(manifest),
  });
  const other = { ...descriptorOf(empty), mediaType: 'application/vnd.oci.artifact.manifest.v1+json' };
  const blobs = [config, layer, manifest, empty, signature];
  const both = await images(context, layoutFiles(blobs, [descriptorOf(signature), other, descriptorOf(manifest)]));
  assert.equal(both.length, 1);
  await assert.rejects(images(context, layoutFiles(blobs, [descriptorOf(signature)])), {
    code: 'ERR_TSBOX_UNSUPPORTED',
    message: /not a container image but "application\/vnd\.example\.signature"/,
  });
});

test('archive: what descriptors carry themselves need not lie in the layout', async (context) => {
  const [config, layer] = [blobOf(OCI.config, configOf([base])), blobOf(OCI.layer, base)];
  const carried = (blob: ReturnType<typeof blobOf>) => ({ ...descriptorOf(blob), data: blob.bytes.toString('base64') });
  const manifest = blobOf(OCI.manifest, { schemaVersion: 2, config: carried(config), layers: [carried(layer)] });
  const [image] = await images(context, layoutFiles([], [carried(manifest)]));
  assert.deepEqual(image!.config, configOf([base]));
  assert.deepEqual(await collect(image!.layers[0]!.open()), base);
  const wrong = blobOf(OCI.manifest, {
    schemaVersion: 2,
    config: carried(config),
    layers: [{ ...carried(layer), data: 'AAAA' }],
  });
  await assert.rejects(images(context, layoutFiles([], [carried(wrong)])), {
    code: 'ERR_TSBOX_DAMAGED',
    message: /the data within its descriptor/,
  });
});

test('archive: entries that come twice count by the last, links out of it and in circles lead nowhere', async (context) => {
  const files = dockerFiles([base], ['x:1']);
  const [{ Config: config, Layers: layers }] = JSON.parse(files['manifest.json'] as string);
  const directory = temporary(context);
  writeFiles(join(directory, 'right'), files);
  writeFiles(join(directory, 'wrong'), { 'manifest.json': '<html>', [layers[0]]: 'no tar' });
  const path = join(directory, 'twice.tar');
  execFileSync('tar', ['-cf', path, '-C', join(directory, 'wrong'), 'manifest.json', layers[0]]);
  execFileSync('tar', ['-rf', path, '-C', join(directory, 'right'), '.']);
  const [image] = await images(context, readFileSync(path));
  assert.deepEqual(await collect(image!.layers[0]!.open()), base);
  const cases: [string, Files][] = [
    ['out of it', { ...files, [layers[0]]: { link: '../../../../etc/passwd' } }],
    ['absolute', { ...files, [layers[0]]: { link: '/etc/passwd' } }],
    ['to itself', { ...files, [layers[0]]: { link: 'layer.tar' } }],
    ['a directory', { ...files, [layers[0]]: null }],
    ['a config that is a link out', { ...files, [config]: { link: '../etc/passwd' } }],
  ];
  for (const [name, each] of cases) {
    for (const source of [tarOf(each), each]) {
      await assert.rejects(images(context, source), { code: 'ERR_TSBOX_DAMAGED', message: /no file/ }, name);
    }
  }
  // Through a directory that is a link: nothing like it is in an archive that docker wrote.
  const manifest = [{ Config: config, RepoTags: [], Layers: ['etc/passwd'] }];
  const through = { ...files, etc: { link: '/etc' }, 'manifest.json': JSON.stringify(manifest) };
  for (const source of [tarOf(through), through]) {
    await assert.rejects(images(context, source), { code: 'ERR_TSBOX_DAMAGED', message: /no file "etc\/passwd"/ });
  }
});

test('archive: the old form with names that are none, or with layers that are not there', async (context) => {
  const id = sha256('1');
  const layer = { [`${id}/json`]: '{"os":"linux"}', [`${id}/layer.tar`]: base };
  const cases: [string, Files, string, RegExp][] = [
    [
      'a bad repository',
      { ...layer, repositories: JSON.stringify({ '../x': { '1': id } }) },
      'ERR_TSBOX_DAMAGED',
      /invalid tag/,
    ],
    [
      'a bad tag',
      { ...layer, repositories: JSON.stringify({ x: { '../1': id } }) },
      'ERR_TSBOX_DAMAGED',
      /invalid tag/,
    ],
    [
      'a layer outside',
      { ...layer, repositories: JSON.stringify({ x: { '1': '../../etc' } }) },
      'ERR_TSBOX_DAMAGED',
      /invalid layer id/,
    ],
    ['no such layer', { repositories: JSON.stringify({ x: { '1': id } }) }, 'ERR_TSBOX_DAMAGED', /no file/],
    ['a number', { ...layer, repositories: '{"x":1}' }, 'ERR_TSBOX_DAMAGED', /repositories/],
    [
      'a list as a layer',
      { ...layer, [`${id}/json`]: '[]', repositories: JSON.stringify({ x: { '1': id } }) },
      'ERR_TSBOX_DAMAGED',
      /json: /,
    ],
    ['10 MB', { ...layer, repositories: `{${' '.repeat(10_000_000)}}` }, 'ERR_TSBOX_LIMIT', /more than/],
    [
      'a bomb',
      {
        ...layer,
        [`${id}/layer.tar`]: gzipSync(Buffer.alloc(2_000_000)),
        repositories: JSON.stringify({ x: { '1': id } }),
      },
      'ERR_TSBOX_LIMIT',
      /unpacks to more than 1000000/,
    ],
  ];
  for (const [name, files, code, message] of cases) {
    const archive = await open(context, tarOf(files));
    await assert.rejects(
      readImageArchive(archive, PLATFORM, { maxBytes: 1_000_000 }),
      (error: Error & { code: string }) => {
        assert.equal(error.code, code, `${name}: ${error.message}`);
        assert.match(error.message, message, name);
        return true;
      },
    );
  }
});

test('archive: the dir form of podman and skopeo is called by its name', async (context) => {
  const files: Files = { version: 'Directory Transport Version: 1.1\n', 'manifest.json': '{"schemaVersion":2}' };
  await assert.rejects(images(context, files), { code: 'ERR_TSBOX_UNSUPPORTED', message: /dir form/, hint: /oci-dir/ });
});
