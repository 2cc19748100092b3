/** `push`: into a real registry, and through a proxy that counts and spoils. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { gunzipSync, zstdCompressSync } from 'node:zlib';
import { loadImages } from '../../src/engine/load.ts';
import type { Engine } from '../../src/engine/open.ts';
import { pullImage } from '../../src/engine/pull.ts';
import { pushImage } from '../../src/engine/push.ts';
import { removeImage } from '../../src/engine/remove-image.ts';
import { blobsOfLayer, rememberBlob } from '../../src/store/distribution.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { tag } from '../../src/store/image-changes.ts';
import { findImageId, imageIds, imageNames } from '../../src/store/images.ts';
import { layerIds } from '../../src/store/layers.ts';
import { requires } from '../requires.ts';
import { configOf, dockerFiles, ociFiles, sha256, tarOf, temporary, writeFiles } from '../unit/engine-archives.ts';
import { serve, type TestServer } from '../unit/registry-fixture.ts';
import { sandbox, until } from './harness.ts';
import { engineIn, layerDirectories, listener, run } from './images-setup.ts';
import { startRegistry, withPassword } from './registry-daemon.ts';
import { tokenServer } from './token-server.ts';

const base = tarOf({ 'etc/os-release': 'ID=test\n', 'data/old': 'old', 'data/kept': 'kept' });
const middle = tarOf({ 'usr/big': randomBytes(3_000_000) });
// What no tar writer of today would write the same: rubbish behind the end.
const top = Buffer.concat([
  tarOf({ 'etc/motd': 'hello\n', 'data/.wh.old': '' }),
  Buffer.from('rubbish behind the end'),
]);
const layers = [base, middle, top];
const id = `sha256:${sha256(configOf(layers))}`;
const NEEDS = ['root', 'command:docker-registry'] as const;

type Spoil = (request: IncomingMessage, response: ServerResponse) => boolean;

/** In front of a registry. `spoil` returns true when it has dealt with the request itself. */
function between(context: TestContext, host: string, spoil: Spoil = () => false): Promise<TestServer> {
  const [hostname, port] = host.split(':');
  return serve(context, (request, response) => {
    if (spoil(request, response)) return;
    const { url, method, headers } = request;
    const onward = httpRequest({ hostname, port, path: url, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
}

const methods = ({ seen }: TestServer, ...of: string[]) => seen.filter(({ method }) => of.includes(method)).length;
const short = (layer: Buffer) => sha256(layer).slice(0, 12);

async function loadInto(engine: Engine, content: readonly Buffer[], ...names: string[]): Promise<void> {
  const input = join(engine.options.dataRoot, 'image.tar');
  writeFileSync(input, tarOf(dockerFiles(content, names)));
  await loadImages(engine, { input }, () => {});
}

/** An engine with an image of three layers by these names. */
async function prepared(context: TestContext, ...names: string[]): Promise<ReturnType<typeof engineIn>> {
  const engine = engineIn(context);
  await loadInto(engine, layers, ...names);
  return engine;
}

interface Descriptor {
  mediaType: string;
  size: number;
  digest: string;
}

interface Manifest {
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
}

const TYPE = 'application/vnd.docker.distribution.manifest.v2+json';

async function fetched(host: string, path: string): Promise<Buffer> {
  const response = await fetch(`http://${host}/v2/${path}`, { headers: { accept: TYPE } });
  assert.equal(response.status, 200, path);
  return Buffer.from(await response.arrayBuffer());
}

async function manifestOf(host: string, repository: string, reference = 'latest'): Promise<Manifest> {
  return JSON.parse((await fetched(host, `${repository}/manifests/${reference}`)).toString());
}

/** What a registry has under a name is the image of the three layers, byte for byte. */
async function assertPushed(host: string, repository: string, reference?: string): Promise<Manifest> {
  const manifest = await manifestOf(host, repository, reference);
  assert.equal(manifest.mediaType, TYPE);
  assert.deepEqual(await fetched(host, `${repository}/blobs/${manifest.config.digest}`), configOf(layers));
  for (const [at, { digest, size, mediaType }] of manifest.layers.entries()) {
    const blob = await fetched(host, `${repository}/blobs/${digest}`);
    assert.equal(`sha256:${sha256(blob)}`, digest);
    assert.equal(blob.length, size);
    assert.equal(mediaType, 'application/vnd.docker.image.rootfs.diff.tar.gzip');
    assert.deepEqual(gunzipSync(blob), layers[at]);
  }
  return manifest;
}

async function failure(work: Promise<unknown>): Promise<Error & { code: string; hint?: string }> {
  return work.then(
    () => assert.fail('it worked'),
    (error: Error & { code: string }) => error,
  );
}

test("push: the exact bytes of image and layers, told in Docker's words; the digest is a name here too", async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context);
  const engine = await prepared(context, `${host}/some/image:1`);
  const { say, events, texts, words } = listener();
  const [pushed] = await pushImage(engine, `${host}/some/image:1`, {}, say);
  await assertPushed(host, 'some/image', '1');
  const manifest = await fetched(host, 'some/image/manifests/1');
  const digest = `sha256:${sha256(manifest)}`;
  assert.deepEqual(pushed, { tag: '1', digest });
  assert.deepEqual(texts(), [
    `The push refers to repository [${host}/some/image]`,
    `1: digest: ${digest} size: ${manifest.length}`,
  ]);
  assert.deepEqual(words(), ['Preparing', 'Pushing', 'Pushed']);
  const listed = events.flatMap((event) =>
    event.kind === 'layer' && event.status === 'Preparing' ? [event.layer] : [],
  );
  assert.deepEqual(listed, [top, middle, base].map(short));
  assert.deepEqual(imageNames(engine.store, id), {
    tags: [`${host}/some/image:1`],
    digests: [`${host}/some/image@${digest}`],
  });
});

test('push: what the registry has is not sent again, and the manifest is the same', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host: registry } = await startRegistry(context);
  const proxy = await between(context, registry);
  const engine = await prepared(context, `${proxy.host}/some/image:1`, `${proxy.host}/some/image:2`);
  const [first] = await pushImage(engine, `${proxy.host}/some/image:1`, {}, () => {});
  assert.equal(methods(proxy, 'PATCH'), 3);
  proxy.seen.length = 0;
  const { say, words } = listener();
  const [second] = await pushImage(engine, `${proxy.host}/some/image:2`, {}, say);
  assert.equal(second?.digest, first?.digest);
  assert.deepEqual(words(), ['Preparing', 'Layer already exists']);
  assert.deepEqual([methods(proxy, 'HEAD'), methods(proxy, 'PUT'), proxy.seen.length], [4, 1, 5]);

  // Another store knows nothing of it, and makes the same blobs.
  const other = await prepared(context, `${proxy.host}/some/image:3`);
  const [third] = await pushImage(other, `${proxy.host}/some/image:3`, {}, () => {});
  assert.equal(third?.digest, first?.digest);
});

test('push: another repository of the registry lends its blobs', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host: registry } = await startRegistry(context);
  const proxy = await between(context, registry);
  const engine = await prepared(context, `${proxy.host}/one:1`, `${proxy.host}/some/two:1`);
  const [first] = await pushImage(engine, `${proxy.host}/one:1`, {}, () => {});
  proxy.seen.length = 0;
  const { say, words } = listener();
  const [second] = await pushImage(engine, `${proxy.host}/some/two:1`, {}, say);
  assert.equal(second?.digest, first?.digest);
  assert.deepEqual(words(), ['Preparing', 'Mounted from one']);
  assert.equal(proxy.seen.filter(({ url }) => /uploads\/\?mount=sha256.*&from=one$/.test(url)).length, 3);
  assert.equal(methods(proxy, 'PATCH'), 0);
  await assertPushed(registry, 'some/two', '1');
});

test('push: blobs that the registry has lost are sent again', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host: old } = await startRegistry(context);
  const { host: fresh } = await startRegistry(context);
  let target = old;
  // One name, first for the one registry and then for the other.
  const proxies = { [old]: await between(context, old), [fresh]: await between(context, fresh) };
  const proxy = await serve(context, (request, response) => {
    proxies[target]!.server.emit('request', request, response);
  });
  const engine = await prepared(context, `${proxy.host}/one:1`);
  await pushImage(engine, `${proxy.host}/one:1`, {}, () => {});
  target = fresh;
  const { say, words } = listener();
  await pushImage(engine, `${proxy.host}/one:1`, {}, say);
  assert.deepEqual(words(), ['Preparing', 'Pushing', 'Pushed']);
  await assertPushed(fresh, 'one', '1');
  assert.equal(blobsOfLayer(engine.store, `sha256:${sha256(base)}`).length, 1);
});

test('push: an upload that is cut or refused in the middle is begun again', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host: registry } = await startRegistry(context);
  const faults: [string, (request: IncomingMessage, response: ServerResponse) => void][] = [
    ['a cut', (request) => request.socket.destroy()],
    ['502', (_, response) => void response.writeHead(502, { connection: 'close' }).end()],
    ['429', (_, response) => void response.writeHead(429, { 'retry-after': '0', connection: 'close' }).end()],
  ];
  for (const [name, fault] of faults) {
    let left = 1;
    const proxy = await between(context, registry, (request, response) => {
      // The large layer, when the first of it has arrived.
      if (request.method !== 'PATCH' || left === 0) return false;
      left--;
      request.once('data', () => fault(request, response));
      return true;
    });
    const repository = `image-${sha256(name).slice(0, 8)}`;
    const engine = await prepared(context, `${proxy.host}/${repository}:1`);
    const { say, words, texts } = listener();
    await pushImage(engine, `${proxy.host}/${repository}:1`, {}, say);
    await assertPushed(registry, repository, '1');
    assert.ok(
      words().some((word) => /^Retrying in \d+ seconds?$/.test(word)),
      `${name}: ${words()}`,
    );
    assert.ok(
      texts().some((text) => /: sending again in /.test(text)),
      `${name}: ${texts()}`,
    );
    assert.equal(methods(proxy, 'PATCH'), 4, name);
  }
});

test('push: a file that was changed behind our back is named, and nothing is put under the tag', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context);
  const proxy = await between(context, host);
  const engine = await prepared(context, `${proxy.host}/one:1`);
  const [, directory] = layerDirectories(engine, `${proxy.host}/one:1`);
  writeFileSync(join(directory!, 'usr/big'), randomBytes(3_000_000));
  const error = await failure(pushImage(engine, `${proxy.host}/one:1`, {}, () => {}));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
  assert.match(error.message, /^push layer sha256:.*: file integrity checksum failed for "usr\/big"$/);
  assert.equal(methods(proxy, 'DELETE'), 1, 'the upload is given up');
  assert.equal((await fetch(`http://${host}/v2/one/manifests/1`)).status, 404);
  assert.deepEqual(imageNames(engine.store, id).digests, []);
});

test('push: all tags, and what is not there', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context);
  const engine = await prepared(context, `${host}/one:b`, `${host}/one:a`, 'local:1');
  await loadInto(engine, [base], `${host}/one:c`);
  const { say, texts } = listener();
  const pushed = await pushImage(engine, `${host}/one`, { allTags: true }, say);
  assert.deepEqual(
    pushed.map(({ tag: each }) => each),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(
    texts().map((text) => text.split(' ')[0]),
    ['The', 'a:', 'b:', 'c:'],
  );
  for (const each of ['a', 'b']) await assertPushed(host, 'one', each);
  assert.equal((await manifestOf(host, 'one', 'c')).layers.length, 1);

  const quiet = listener();
  await pushImage(engine, `${host}/one:a`, { quiet: true }, quiet.say);
  assert.deepEqual(quiet.events, []);
  const cases: [string, { allTags?: boolean }, string, string][] = [
    [`${host}/one`, {}, 'ERR_TSBOX_NOT_FOUND', `tag does not exist: ${host}/one:latest`],
    [`${host}/two:1`, {}, 'ERR_TSBOX_NOT_FOUND', `An image does not exist locally with the tag: ${host}/two`],
    [
      `${host}/two`,
      { allTags: true },
      'ERR_TSBOX_NOT_FOUND',
      `An image does not exist locally with the tag: ${host}/two`,
    ],
    [`${host}/one:a`, { allTags: true }, 'ERR_TSBOX_USAGE', "tag can't be used with --all-tags/-a"],
    [`${host}/one@${id}`, {}, 'ERR_TSBOX_USAGE', 'cannot push a digest reference'],
    [`${host}/One`, {}, 'ERR_TSBOX_SPEC', `invalid reference format: repository name (One) must be lowercase`],
  ];
  for (const [name, options, code, message] of cases) {
    const error = await failure(pushImage(engine, name, options, () => {}));
    assert.deepEqual([error.code, error.message], [code, message]);
  }
});

test('push: a layer that the image has twice is sent once; an image without layers is one', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context);
  const proxy = await between(context, host);
  const engine = engineIn(context);
  await loadInto(engine, [base, middle, base], `${proxy.host}/twice:1`);
  await pushImage(engine, `${proxy.host}/twice:1`, {}, () => {});
  assert.equal(methods(proxy, 'PATCH'), 2);
  const { layers: pushed } = await manifestOf(host, 'twice', '1');
  assert.deepEqual([pushed.length, pushed[0]], [3, pushed[2]]);
  const other = engineIn(context);
  await pullImage(other, `${proxy.host}/twice:1`, {}, () => {});
  assert.equal(findImageId(other.store, `${proxy.host}/twice:1`), findImageId(engine.store, `${proxy.host}/twice:1`));

  await loadInto(engine, [], `${proxy.host}/none:1`);
  await pushImage(engine, `${proxy.host}/none:1`, {}, () => {});
  assert.deepEqual((await manifestOf(host, 'none', '1')).layers, []);
});

test('push: a blob that is not gzip does not stand for a layer in a manifest that says gzip', async (context) => {
  if (!requires(context, ...NEEDS, 'command:skopeo')) return;
  const { host, directory } = await startRegistry(context);
  const layout = join(directory, 'layout');
  const packed = [zstdCompressSync(base), middle, zstdCompressSync(top)];
  writeFiles(layout, ociFiles(layers, 'one', packed));
  const to = `docker://${host}/other:1`;
  await run('skopeo', ['copy', '-q', '--preserve-digests', '--dest-tls-verify=false', `oci:${layout}:one`, to]);
  const engine = engineIn(context);
  await pullImage(engine, `${host}/other:1`, {}, () => {});
  for (const name of [`${host}/other:2`, `${host}/new:1`]) {
    tag(engine.store, name, id);
    await pushImage(engine, name, {}, () => {});
  }
  await assertPushed(host, 'other', '2');
  await assertPushed(host, 'new', '1');
  // What is only said to be gzip by somebody else is looked at.
  const liar = { Digest: `sha256:${sha256(packed[0]!)}`, SourceRepository: `${host}/new` };
  rememberBlob(engine.store, `sha256:${sha256(base)}`, liar);
  await pushImage(engine, `${host}/new:1`, {}, () => {});
  await assertPushed(host, 'new', '1');
});

test('push: without the password it is refused with the way in, with it everything works', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context, withPassword);
  const box = sandbox(context);
  const archive = join(box.directory, 'image.tar');
  writeFileSync(archive, tarOf(dockerFiles(layers, [`${host}/one:latest`])));
  box.ok(['load', '-q', '-i', archive]);
  const refused = box.tsbox(['push', `${host}/one`]);
  assert.equal(refused.status, 1);
  assert.equal(
    refused.stderr,
    `tsbox: push ${host}/one: unauthorized: authentication required\n` +
      `hint: Log in with "tsbox login ${host}" as somebody who may write to this repository.\n`,
  );
  box.ok(['login', '--username', 'alice', '--password-stdin', host], { input: 's3cret\n' });
  assert.match(
    box.ok(['push', `${host}/one`]),
    /^Using default tag: latest\nThe push refers to repository \[.*\/one\]\n([0-9a-f]{12}: Preparing\n){3}([0-9a-f]{12}: Pushed\n){3}latest: digest: sha256:[0-9a-f]{64} size: \d+$/,
  );
  assert.equal(box.ok(['push', '-q', `${host}/one`]), `${host}/one:latest`);
  assert.equal(box.ok(['image', 'push', '-aq', '--disable-content-trust', `${host}/one`]), `${host}/one`);
  box.ok(['rmi', `${host}/one`]);
  box.ok(['pull', '-q', '--disable-content-trust', `${host}/one`]);
  assert.equal(box.ok(['inspect', '-f', '{{.Id}}', `${host}/one`]), id);
  box.ok(['logout', host]);
  assert.equal(box.tsbox(['push', `${host}/one`]).status, 1);
  for (const verb of ['push', 'pull']) {
    const { status, stderr } = box.tsbox([verb, '-a', `${host}/one:1`]);
    const message = `tsbox: tag can't be used with --all-tags/-a\nSee 'tsbox ${verb} --help'.\n`;
    assert.deepEqual([status, stderr], [1, message]);
  }
  const trust = box.tsbox(['push', '--disable-content-trust=false', `${host}/one`]);
  assert.deepEqual(
    [trust.status, trust.stderr.split('\n')[0]],
    [125, 'tsbox: --disable-content-trust=false: content trust is not supported'],
  );
});

test('push: bearer tokens: push and mount each get the scope that they need', async (context) => {
  if (!requires(context, ...NEEDS, 'command:openssl')) return;
  const tokens = await tokenServer(context, temporary(context), { login: 'alice:s3cret' });
  const { host } = await startRegistry(context, () => tokens.settings);
  const box = sandbox(context);
  const archive = join(box.directory, 'image.tar');
  const names = ['one', 'two'].map((name) => `${host}/${name}:latest`);
  writeFileSync(archive, tarOf(dockerFiles([base], names)));
  box.ok(['load', '-q', '-i', archive]);
  // The token server is in this process: nothing may block it.
  const tsbox = (args: string[], input = '') => box.start(args, { input }).done;
  const wrong = await tsbox(['login', '-u', 'alice', '--password-stdin', host], 'wrong');
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /^tsbox: log in to .*: unauthorized: incorrect username or password$/m);
  const refused = await tsbox(['push', `${host}/one`]);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, new RegExp(`^hint: Log in with "tsbox login ${host}" first\\.$`, 'm'));
  assert.equal((await tsbox(['login', '-u', 'alice', '--password-stdin', host], 's3cret')).stdout, 'Login Succeeded\n');
  tokens.scopes.length = 0;
  assert.match((await tsbox(['push', `${host}/one`])).stdout, /: Pushed$/m);
  assert.deepEqual(tokens.scopes, [['repository:one:pull,push']]);
  tokens.scopes.length = 0;
  assert.match((await tsbox(['push', `${host}/two`])).stdout, /: Mounted from one$/m);
  // A mount needs both in one token.
  assert.ok(tokens.scopes.some((scopes) => scopes.join() === 'repository:two:pull,push,repository:one:pull'));
});

test('push: what may not be mounted is sent', async (context) => {
  if (!requires(context, ...NEEDS, 'command:openssl')) return;
  const tokens = await tokenServer(context, temporary(context), { denied: /^repository:secret:pull$/ });
  const { host } = await startRegistry(context, () => tokens.settings);
  const engine = await prepared(context, `${host}/secret:1`, `${host}/open:1`);
  await pushImage(engine, `${host}/secret:1`, {}, () => {});
  const { say, words } = listener();
  await pushImage(engine, `${host}/open:1`, {}, say);
  assert.deepEqual(words(), ['Preparing', 'Pushing', 'Pushed']);
});

test('push: interrupted, it ends at once, holds nothing and leaves nothing', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context);
  const proxy = await between(context, host, ({ method }) => method === 'PATCH');
  const box = sandbox(context);
  const archive = join(box.directory, 'image.tar');
  writeFileSync(archive, tarOf(dockerFiles(layers, [`${proxy.host}/one:latest`])));
  box.ok(['load', '-q', '-i', archive]);
  const running = box.start(['push', `${proxy.host}/one`]);
  await until('the upload', () => methods(proxy, 'PATCH') === 3);
  running.child.kill('SIGINT');
  const { signal } = await running.done;
  assert.equal(signal, 'SIGINT');
  box.ok(['rmi', `${proxy.host}/one`]);
  assert.equal(box.ok(['images', '-aq']), '');
});

test('push: an image that is removed while it is on its way arrives all the same', async (context) => {
  if (!requires(context, ...NEEDS)) return;
  const { host } = await startRegistry(context);
  const engine = await prepared(context, `${host}/one:1`);
  let removed = false;
  await pushImage(engine, `${host}/one:1`, {}, (event) => {
    if (removed || event.kind !== 'layer' || event.status !== 'Pushing') return;
    removed = true;
    removeImage(engine, `${host}/one:1`, { force: false, noPrune: false });
  });
  await assertPushed(host, 'one', '1');
  assert.deepEqual(imageIds(engine.store), []);
  collectGarbage(engine.store);
  assert.deepEqual(layerIds(engine.store), []);
});
