/** `pull` from registries that are broken or hostile: a clear error, and the store as it was. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { EngineOptions } from '../../src/engine/api.ts';
import { pullImage } from '../../src/engine/pull.ts';
import { findImageId } from '../../src/store/images.ts';
import { layerIds } from '../../src/store/layers.ts';
import { requires } from '../requires.ts';
import { blobOf, configOf, descriptorOf, OCI, sha256, tarOf } from '../unit/engine-archives.ts';
import { sendError, serve } from '../unit/registry-fixture.ts';
import { type Answer, type Blob, type Image, image, registry } from './image-server.ts';
import { engineIn, failing, layerDirectories, listener } from './images-setup.ts';

const base = tarOf({ 'etc/os-release': 'ID=test\n', 'data/kept': 'kept' });
const top = tarOf({ 'etc/motd': 'hello\n', big: Buffer.alloc(300_000, 'big ') });
const good = image([base, top], [gzipSync(base), top]);
const goodId = `sha256:${sha256(configOf([base, top]))}`;
const [first, second] = good.layers as [Blob, Blob];
const config = good.blobs.get(goodId)!;
const list = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** As much patience as a busy machine may need, and nobody waits for long between tries. */
const patient: Partial<EngineOptions> = {
  registry: {
    timeouts: { connect: 30_000, stall: 30_000, uploaded: 30_000 },
    retry: { attempts: 3, delay: 1, longest: 20 },
  },
};

/** Quick to lose patience: for registries that never answer. */
const impatient: Partial<EngineOptions> = {
  registry: {
    timeouts: { connect: 500, stall: 150, uploaded: 500 },
    retry: { attempts: 3, delay: 1, longest: 20 },
  },
};

/** Whoever expects `message`. */
const expecting = ({ source }: RegExp) => (source.includes('ETIMEDOUT') ? impatient : patient);

const nothing = (): void => {};
const html: Answer = (_, response) =>
  void response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>sign in</html>');
const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    void response.writeHead(code, headers).end();
const hang: Answer = () => {};
/** To `?1`, from there to `?2`, and so on. */
const led =
  (next: (turn: number) => number): Answer =>
  (_, response, request) => {
    const [path, turn = '0'] = (request.url ?? '').split('?');
    response.writeHead(307, { location: `${path}?${next(Number(turn))}` }).end();
  };
const circle = led((turn) => (turn + 1) % 3);
const far = led((turn) => turn + 1);
const bytes =
  (content: Buffer, headers: Record<string, string> = {}): Answer =>
  ({ mediaType }, response) =>
    void response.writeHead(200, { 'content-type': mediaType, ...headers }).end(content);
/** Says that it sends everything, and cuts. */
const cut =
  (count: number): Answer =>
  (blob, response, request) => {
    response.writeHead(200, { 'content-type': blob.mediaType, 'content-length': blob.size });
    response.write(blob.bytes.subarray(0, count), () => setTimeout(() => request.socket.destroy(), 5));
  };
const stop =
  (count: number): Answer =>
  (blob, response) => {
    response.writeHead(200, { 'content-type': blob.mediaType, 'content-length': blob.size });
    response.write(blob.bytes.subarray(0, count));
  };

function flipped(content: Buffer, at: number): Buffer {
  const other = Buffer.from(content);
  other[at]! ^= 1;
  return other;
}

/** The registry of an image in which an index stands for the tag. */
function indexed(mediaType: string, entries: readonly object[], more: readonly Blob[] = []): Image {
  const manifest = blobOf(mediaType, { schemaVersion: 2, mediaType, manifests: entries });
  return {
    ...good,
    manifest,
    blobs: new Map([...good.blobs, ...[manifest, ...more].map((blob) => [blob.digest, blob] as const)]),
  };
}

/** The image with another manifest, of whatever form. */
function described(document: object | Buffer, mediaType = OCI.manifest, ...more: Blob[]): Image {
  const manifest = blobOf(mediaType, document);
  return {
    ...good,
    manifest,
    blobs: new Map([...good.blobs, ...[manifest, ...more].map((blob) => [blob.digest, blob] as const)]),
  };
}

const document = JSON.parse(good.manifest.bytes.toString()) as { config: object; layers: object[] };
const amd64 = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };

type Case = [name: string, from: Image, answers: [Blob, Answer][], code: string, message: RegExp];

async function checkAll(context: TestContext, cases: readonly Case[]): Promise<void> {
  for (const [name, from, answers, code, message] of cases) {
    const server = await serve(
      context,
      registry(from, new Map(answers.map(([blob, answer]) => [blob.digest, answer]))),
    );
    const engine = engineIn(context, expecting(message));
    const error = await failing(engine, () => pullImage(engine, `${server.host}/x:1`, {}, nothing));
    assert.equal(error.code, code, `${name}: ${error.message}`);
    assert.match(error.message, message, name);
    // The same once more, beside an image that is there. A network that only breaks leaves whole layers for the next try.
    if (['ERR_TSBOX_REGISTRY', 'ERR_TSBOX_UNAUTHORIZED'].includes(code)) continue;
    const honest = await serve(context, registry(image([base])));
    await pullImage(engine, `${honest.host}/base:1`, {}, nothing);
    await failing(engine, () => pullImage(engine, `${server.host}/x:1`, {}, nothing));
    assert.ok(server.seen.length < 40, `${name}: ${server.seen.length} requests`);
  }
}

test('bad registry: manifests', async (context) => {
  if (!requires(context, 'root')) return;
  const { manifest } = good;
  const tall = Array.from({ length: 5 }).reduce<Blob[]>(
    (tower) => [
      blobOf(OCI.index, { schemaVersion: 2, manifests: [{ ...descriptorOf(tower[0]!), platform: amd64 }] }),
      ...tower,
    ],
    [manifest],
  );
  const chart = described({
    ...document,
    config: { ...document.config, mediaType: 'application/vnd.cncf.helm.config.v1+json' },
  });
  const attestation = { ...descriptorOf(manifest), platform: { os: 'unknown', architecture: 'unknown' } };
  const lie = (as: object) => indexed(OCI.index, [{ ...descriptorOf(manifest), platform: amd64, ...as }]);
  await checkAll(context, [
    ['hangs', good, [[manifest, hang]], 'ERR_TSBOX_REGISTRY', /ETIMEDOUT \(no answer for 0\.15 s\)/],
    ['stops', good, [[manifest, stop(50)]], 'ERR_TSBOX_REGISTRY', /ETIMEDOUT \(no byte for 0\.15 s\)/],
    ['cuts', good, [[manifest, cut(50)]], 'ERR_TSBOX_REGISTRY', /ECONNRESET/],
    ['HTML', good, [[manifest, html]], 'ERR_TSBOX_REGISTRY', /answered HTML, not registry data/],
    ['circle', good, [[manifest, circle]], 'ERR_TSBOX_REGISTRY', /redirected in a circle/],
    ['503', good, [[manifest, status(503)]], 'ERR_TSBOX_REGISTRY', /answered HTTP 503/],
    ['429', good, [[manifest, status(429, { 'retry-after': '3600' })]], 'ERR_TSBOX_REGISTRY', /HTTP 429/],
    ['10 MB', described(Buffer.alloc(10 * 1024 * 1024, ' ')), [], 'ERR_TSBOX_LIMIT', /sends more than 4194304 bytes/],
    ['rubbish', described(Buffer.from('{"schemaVersion":2')), [], 'ERR_TSBOX_DAMAGED', /not JSON/],
    [
      'no manifest',
      described({ schemaVersion: 2, mediaType: OCI.manifest }),
      [],
      'ERR_TSBOX_DAMAGED',
      /config: missing/,
    ],
    [
      'schema 1',
      described({ schemaVersion: 1, fsLayers: [] }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'),
      [],
      'ERR_TSBOX_UNSUPPORTED',
      /schema 1/,
    ],
    ['manifest sent as an index', described(document, OCI.index), [], 'ERR_TSBOX_DAMAGED', /calls itself/],
    [
      'index sent as a manifest',
      described({ schemaVersion: 2, mediaType: OCI.index, manifests: [] }),
      [],
      'ERR_TSBOX_DAMAGED',
      /calls itself/,
    ],
    [
      'both at once',
      described({ ...document, manifests: [] }),
      [],
      'ERR_TSBOX_DAMAGED',
      /both an index and a manifest/,
    ],
    [
      'another digest in the header',
      good,
      [[manifest, bytes(manifest.bytes, { 'docker-content-digest': first.digest })]],
      'ERR_TSBOX_DAMAGED',
      /should have sha256/,
    ],
    ['chart', chart, [], 'ERR_TSBOX_UNSUPPORTED', /not a container image but application\/vnd\.cncf\.helm/],
    [
      'attestations only',
      indexed(OCI.index, [attestation]),
      [],
      'ERR_TSBOX_NOT_FOUND',
      /no matching manifest for linux\//,
    ],
    [
      'another platform',
      indexed(list, [{ ...descriptorOf(manifest), platform: { os: 'linux', architecture: 's390x' } }]),
      [],
      'ERR_TSBOX_NOT_FOUND',
      /no matching manifest/,
    ],
    ['an index of nothing', indexed(OCI.index, []), [], 'ERR_TSBOX_NOT_FOUND', /no matching manifest/],
    [
      'tower',
      indexed(OCI.index, [{ ...descriptorOf(tall[0]!), platform: amd64 }], tall),
      [],
      'ERR_TSBOX_DAMAGED',
      /an index in an index/,
    ],
    ['wrong size in the index', lie({ size: manifest.size + 1 }), [], 'ERR_TSBOX_DAMAGED', /bytes, should have/],
    [
      'wrong type in the index',
      lie({ mediaType: 'application/vnd.docker.distribution.manifest.v2+json' }),
      [],
      'ERR_TSBOX_DAMAGED',
      /the index says/,
    ],
    [
      'wrong digest in the index',
      lie({}),
      [[manifest, bytes(flipped(manifest.bytes, 30))]],
      'ERR_TSBOX_DAMAGED',
      /has the digest/,
    ],
    [
      'the index itself for its entry',
      lie({}),
      [[manifest, bytes(lie({}).manifest.bytes)]],
      'ERR_TSBOX_DAMAGED',
      /bytes, should have/,
    ],
  ]);
});

test('bad registry: configs and layers', async (context) => {
  if (!requires(context, 'root')) return;
  const other = (layers: readonly Buffer[], more: object) => image([base, top], layers, configOf([base, top], more));
  const huge = image([base], [base], Buffer.from(`{${' '.repeat(5 * 1024 * 1024)}}`));
  const layer = (change: object) =>
    described({ ...document, layers: [{ ...document.layers[0], ...change }, document.layers[1]] });
  const nowhere = layer({ digest: `sha256:${sha256('nowhere')}`, urls: ['http://127.0.0.1:1/layer'] });
  const notGzip = image([base, top], [gzipSync(base).subarray(0, 100), top]);
  await checkAll(context, [
    ['config hangs', good, [[config, hang]], 'ERR_TSBOX_REGISTRY', /ETIMEDOUT/],
    [
      'config with other bytes',
      good,
      [[config, bytes(flipped(config.bytes, 20))]],
      'ERR_TSBOX_DAMAGED',
      /has the digest/,
    ],
    ['config that is gone', good, [[config, status(404)]], 'ERR_TSBOX_NOT_FOUND', /HTTP 404/],
    ['config of 5 MB', huge, [], 'ERR_TSBOX_LIMIT', /more than 4194304/],
    ['config that is HTML', image([base], [base], Buffer.from('<html>')), [], 'ERR_TSBOX_DAMAGED', /HTML where JSON/],
    ['config of another image', other([base, base], {}), [], 'ERR_TSBOX_DAMAGED', /unpacked it has the digest/],
    ['config with a layer more', other([base], {}), [], 'ERR_TSBOX_DAMAGED', /the manifest has 1 layers, the config 2/],
    ['layer hangs', good, [[first, hang]], 'ERR_TSBOX_REGISTRY', /ETIMEDOUT/],
    ['layer stops', good, [[first, stop(100)]], 'ERR_TSBOX_REGISTRY', /ETIMEDOUT \(no byte/],
    ['layer is cut', good, [[first, cut(100)]], 'ERR_TSBOX_REGISTRY', /ECONNRESET/],
    ['layer is HTML', good, [[first, html]], 'ERR_TSBOX_REGISTRY', /answered HTML/],
    ['layer in circles', good, [[first, circle]], 'ERR_TSBOX_REGISTRY', /redirected in a circle/],
    ['layer far away', good, [[first, far]], 'ERR_TSBOX_REGISTRY', /redirected more than 10 times/],
    ['layer is gone', good, [[second, status(404)]], 'ERR_TSBOX_NOT_FOUND', /HTTP 404/],
    ['layer denied', good, [[first, status(403)]], 'ERR_TSBOX_UNAUTHORIZED', /HTTP 403/],
    ['layer busy', good, [[first, status(503)]], 'ERR_TSBOX_REGISTRY', /HTTP 503/],
    ['layer with other bytes', good, [[second, bytes(flipped(top, 100_000))]], 'ERR_TSBOX_DAMAGED', /has the digest/],
    [
      'layer with other gzip bytes',
      good,
      [[first, bytes(flipped(first.bytes, 60))]],
      'ERR_TSBOX_DAMAGED',
      /gzip|digest|tar/,
    ],
    [
      'layer announced shorter',
      good,
      [[second, bytes(top.subarray(512), { 'content-length': `${top.length - 512}` })]],
      'ERR_TSBOX_DAMAGED',
      /bytes of it, the manifest says/,
    ],
    ['layer that is longer', good, [[second, bytes(Buffer.concat([top, top]))]], 'ERR_TSBOX_DAMAGED', /longer than/],
    [
      'layer that is shorter',
      good,
      [[first, bytes(first.bytes.subarray(0, 50))]],
      'ERR_TSBOX_REGISTRY',
      /ends after|ECONNRESET/,
    ],
    ['wrong size in the manifest', layer({ size: first.size - 10 }), [], 'ERR_TSBOX_DAMAGED', /the manifest says/],
    [
      'wrong type in the manifest',
      layer({ mediaType: 'application/vnd.in-toto+json' }),
      [],
      'ERR_TSBOX_UNSUPPORTED',
      /in-toto/,
    ],
    ['a digest that is a path', layer({ digest: 'sha256:../../x' }), [], 'ERR_TSBOX_DAMAGED', /invalid digest/],
    ['nobody has it', nowhere, [], 'ERR_TSBOX_REGISTRY', /127\.0\.0\.1:1.*ECONNREFUSED/],
    ['truncated gzip', notGzip, [], 'ERR_TSBOX_DAMAGED', /gzip/],
    [
      'encoded on the way',
      good,
      [[second, bytes(top, { 'content-encoding': 'gzip' })]],
      'ERR_TSBOX_DAMAGED',
      /sends it as gzip/,
    ],
  ]);
});

test('bad registry: what is odd but right is pulled', async (context) => {
  if (!requires(context, 'root')) return;
  const foreign = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
  const elsewhere = await serve(context, (_, response) => response.end(first.bytes));
  const layer = (change: object) =>
    described({ ...document, layers: [{ ...document.layers[0], ...change }, document.layers[1]] });
  const abroad = layer({ mediaType: foreign, urls: [`http://${elsewhere.host}/base.tar.gz`] });
  abroad.blobs.delete(first.digest);
  const carried = layer({ data: first.bytes.toString('base64') });
  carried.blobs.delete(first.digest);
  const polluting = Buffer.from(
    good.manifest.bytes
      .toString()
      .replace('{', '{"__proto__":{"layers":[],"polluted":1},"constructor":{"prototype":{"polluted":1}},'),
  );
  const twice = image([base, base, top]);
  const cases: [string, Image, string][] = [
    [
      'an index within an index',
      indexed(
        OCI.index,
        [descriptorOf(indexed(list, [{ ...descriptorOf(good.manifest), platform: amd64 }]).manifest)],
        [indexed(list, [{ ...descriptorOf(good.manifest), platform: amd64 }]).manifest],
      ),
      goodId,
    ],
    ['a foreign layer', abroad, goodId],
    ['a layer within the manifest', carried, goodId],
    ['__proto__', described(polluting), goodId],
    ['the same layer twice', twice, `sha256:${sha256(configOf([base, base, top]))}`],
  ];
  for (const [name, from, id] of cases) {
    const server = await serve(context, registry(from));
    const engine = engineIn(context, patient);
    const pulled = await pullImage(engine, `${server.host}/x:1`, {}, nothing);
    assert.equal(pulled.id, id, name);
    assert.equal(
      readFileSync(`${layerDirectories(engine, `${server.host}/x:1`).at(-1)}/etc/motd`, 'utf8'),
      'hello\n',
      name,
    );
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    // The second time everything is there.
    assert.equal((await pullImage(engine, `${server.host}/x:1`, {}, nothing)).upToDate, true, name);
  }
});

test('bad registry: a mirror that lies or breaks is left out with a notice, and what was right is not fetched again', async (context) => {
  if (!requires(context, 'root')) return;
  const wrongTar = flipped(top, 100_000);
  const wrongGzip = flipped(first.bytes, 60);
  const cases: [string, [Blob, Answer][], RegExp][] = [
    ['wrong digest', [[second, bytes(wrongTar)]], /has the digest/],
    ['wrong gzip', [[first, bytes(wrongGzip)]], /gzip|digest/],
    ['not a tar at all', [[second, bytes(Buffer.alloc(top.length, 'x'))]], /not a tar|checksum|header/],
    [
      'a bomb',
      [[first, bytes(zstdCompressSync(Buffer.alloc(1 << 24)).subarray(0, first.size))]],
      /zstd|digest|tar|ends after|longer/,
    ],
    ['wrong size', [[second, bytes(top.subarray(512), { 'content-length': `${top.length - 512}` })]], /bytes of it/],
    ['too long', [[second, bytes(Buffer.concat([top, top]))]], /longer than/],
    ['wrong config', [[config, bytes(flipped(config.bytes, 20))]], /has the digest/],
    ['wrong manifest', [[good.manifest, bytes(good.manifest.bytes.subarray(1))]], /./],
    ['hangs', [[second, hang]], /ETIMEDOUT/],
    ['stops', [[second, stop(1000)]], /ETIMEDOUT/],
    ['HTML', [[first, html]], /HTML/],
    ['gone', [[first, status(404)]], /404/],
    ['busy', [[first, status(503)]], /503/],
    ['denied', [[first, status(401)]], /401/],
  ];
  for (const [name, answers, message] of cases) {
    const origin = await serve(context, registry(good));
    const mirror = await serve(
      context,
      registry(good, new Map(answers.map(([blob, answer]) => [blob.digest, answer]))),
    );
    const idle = await serve(context, (_, response) => sendError(response, 404, 'MANIFEST_UNKNOWN'));
    const engine = engineIn(context, expecting(message));
    const box = withMirrors(context, origin.host, [`http://${idle.host}`, `http://${mirror.host}`]);
    const { texts, say } = listener();
    const pulled = await box(() => pullImage(engine, `${origin.host}/x:1`, {}, say));
    assert.equal(pulled.id, goodId, name);
    const told = texts().filter((text) => text.includes(mirror.host));
    assert.ok(told.length > 0, `${name}: no notice`);
    assert.match(told.join('\n'), message, name);
    assert.equal(layerIds(engine.store).length, 2);
    assert.ok(findImageId(engine.store, `${origin.host}/x:1`));
  }
});

test('bad registry: after a mirror that lies only what it lied about is fetched again', async (context) => {
  if (!requires(context, 'root')) return;
  const origin = await serve(context, registry(good));
  const late: Answer = (_, response) => void setTimeout(() => response.end(flipped(top, 100_000)), 500);
  const mirror = await serve(context, registry(good, new Map([[second.digest, late]])));
  const engine = engineIn(context, patient);
  const { say } = listener();
  const box = withMirrors(context, origin.host, [`http://${mirror.host}`]);
  assert.equal((await box(() => pullImage(engine, `${origin.host}/x:1`, {}, say))).id, goodId);
  const asked = (digest: string) => origin.seen.filter(({ url }) => url.endsWith(digest)).length;
  assert.deepEqual([asked(first.digest), asked(second.digest)], [0, 1]);
  assert.equal(layerIds(engine.store).length, 2);
});

/** Runs something with mirrors in the user's registries.json. */
function withMirrors(
  context: TestContext,
  host: string,
  mirrors: readonly string[],
): <T>(work: () => Promise<T>) => Promise<T> {
  const { directory } = engineIn(context);
  const file = `${directory}/tsbox/registries.json`;
  mkdirSync(`${directory}/tsbox`);
  writeFileSync(file, JSON.stringify({ registries: { [host]: { mirrors } } }));
  return async (work) => {
    const before = process.env['XDG_CONFIG_HOME'];
    process.env['XDG_CONFIG_HOME'] = directory;
    try {
      return await work();
    } finally {
      if (before === undefined) delete process.env['XDG_CONFIG_HOME'];
      else process.env['XDG_CONFIG_HOME'] = before;
    }
  };
}
