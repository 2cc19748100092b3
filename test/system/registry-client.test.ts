import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { type ClientOptions, createClient } from '../../src/registry/client.ts';
import { parseImageConfig } from '../../src/spec/oci-image-schema.ts';
import { parsePlatform } from '../../src/spec/platform.ts';
import { parseReference } from '../../src/spec/reference.ts';
import { requires } from '../requires.ts';
import {
  makeLayout,
  type RegistryDaemon,
  readBlobFile,
  sha256,
  skopeo,
  startRegistry,
  temporary,
  withPassword,
} from './registry-daemon.ts';
import { tokenServer } from './token-server.ts';

const AMD64 = parsePlatform('linux/amd64');
const TEXTS = ['base', 'middle', randomBytes(3_000_000).toString('base64')];
const ALICE = { username: 'alice', password: 's3cret' };

function client(context: TestContext, options: ClientOptions = {}) {
  const made = createClient({ config: new Map(), credentials: async () => undefined, environment: {}, ...options });
  context.after(() => made.close());
  return made;
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function code(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, String(error));
  return `${error.code}: ${error.message}`;
}

/** A registry with the layout's images, pushed by skopeo as `lab/one:v1` and `lab/many:v1`. */
async function filled(context: TestContext): Promise<RegistryDaemon & { layout: string }> {
  const registry = await startRegistry(context);
  const layout = makeLayout(registry.directory, TEXTS);
  const to = (name: string) => [
    '--dest-tls-verify=false',
    `oci:${layout}:${name}`,
    `docker://${registry.host}/lab/${name}:v1`,
  ];
  await skopeo(registry.directory, 'copy', ...to('one'));
  await skopeo(registry.directory, 'copy', '--all', ...to('many'));
  return { ...registry, layout };
}

test('registry: what skopeo pushed is pulled with the same digests', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await filled(context);
  const puller = client(context);
  const reference = parseReference(`${registry.host}/lab/one:v1`);
  const found = await puller.resolveManifest(reference, AMD64);
  const raw = await skopeo(
    registry.directory,
    'inspect',
    '--raw',
    '--tls-verify=false',
    `docker://${registry.host}/lab/one:v1`,
  );
  assert.deepEqual(found.bytes, raw);
  assert.equal(found.digest, sha256(raw));
  const config = await puller.readBlob(reference, found.manifest.config);
  assert.deepEqual(config, readBlobFile(registry.layout, found.manifest.config.digest));
  assert.equal(parseImageConfig(config, 'read').rootfs.diff_ids.length, TEXTS.length);
  const layers = await Promise.all(found.manifest.layers.map((layer) => collect(puller.fetchBlob(reference, layer))));
  assert.deepEqual(
    layers.map(sha256),
    found.manifest.layers.map(({ digest }) => digest),
  );
  assert.deepEqual(await puller.listTags(reference), ['v1']);
});

test('registry: an index gives each platform its image, by tag and by digest', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await filled(context);
  const puller = client(context);
  const tagged = parseReference(`${registry.host}/lab/many:v1`);
  const amd64 = await puller.resolveManifest(tagged, AMD64);
  const arm64 = await puller.resolveManifest(tagged, parsePlatform('linux/arm64'));
  assert.ok(amd64.index !== undefined && arm64.index?.digest === amd64.index.digest);
  assert.equal(amd64.manifest.layers.length, TEXTS.length);
  assert.equal(arm64.manifest.layers.length, 1);
  const pinned = parseReference(`${registry.host}/lab/many@${amd64.index.digest}`);
  assert.equal((await puller.resolveManifest(pinned, AMD64)).digest, amd64.digest);
});

test('registry: Docker’s own manifest types and zstd layers are read', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const cases = [
    [['--format', 'v2s2'], 'application/vnd.docker.image.rootfs.diff.tar.gzip'],
    [['--dest-compress-format', 'zstd'], 'application/vnd.oci.image.layer.v1.tar+zstd'],
  ] as const;
  for (const [options, type] of cases) {
    const registry = await startRegistry(context);
    // Uncompressed, so that skopeo has to compress, and without what it remembers of other registries.
    const raw = join(registry.directory, 'raw');
    const layout = makeLayout(registry.directory, [randomBytes(1000).toString('hex')]);
    await skopeo(registry.directory, 'copy', '--dest-decompress', `oci:${layout}:one`, `dir:${raw}`);
    const to = `docker://${registry.host}/lab/image:1`;
    await skopeo(registry.directory, 'copy', ...options, '--dest-tls-verify=false', `dir:${raw}`, to);
    const puller = client(context);
    const reference = parseReference(`${registry.host}/lab/image:1`);
    const { manifest } = await puller.resolveManifest(reference, AMD64);
    const layer = manifest.layers[0]!;
    assert.equal(layer.mediaType, type);
    assert.equal(sha256(await collect(puller.fetchBlob(reference, layer))), layer.digest);
  }
});

test('registry: what is missing is told as Docker tells it', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await filled(context);
  const puller = client(context);
  const ask = (rest: string) => code(puller.resolveManifest(parseReference(`${registry.host}/${rest}`), AMD64));
  const { host } = registry;
  assert.equal(
    await ask('lab/one:nope'),
    `ERR_TSBOX_NOT_FOUND: manifest for ${host}/lab/one:nope not found: manifest unknown`,
  );
  assert.match(await ask('lab/none:v1'), /^ERR_TSBOX_NOT_FOUND: (manifest for|repository) .* not found/);
  assert.match(await ask(`lab/one@sha256:${'0'.repeat(64)}`), /^ERR_TSBOX_NOT_FOUND: manifest for .* not found/);
});

test('registry: a blob that was changed on the registry’s disk is refused', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await filled(context);
  const reference = parseReference(`${registry.host}/lab/one:v1`);
  const { manifest } = await client(context).resolveManifest(reference, AMD64);
  const { digest } = manifest.layers[2]!;
  const hex = digest.slice('sha256:'.length);
  const file = join(registry.directory, 'storage/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  const bytes = readFileSync(file);
  bytes[1000]! ^= 1;
  writeFileSync(file, bytes);
  const outcome = await code(collect(client(context).fetchBlob(reference, manifest.layers[2]!)));
  assert.match(outcome, /^ERR_TSBOX_DAMAGED: fetch blob sha256:.*: has the digest sha256:/);
});

test('registry: what tsbox pushes, skopeo reads with the same digests', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await filled(context);
  const pusher = client(context);
  const from = parseReference(`${registry.host}/lab/one:v1`);
  const { manifest, bytes, mediaType } = await pusher.resolveManifest(from, AMD64);
  const empty = await startRegistry(context);
  const to = parseReference(`${empty.host}/new/image:v2`);
  const how: string[] = [];
  for (const [index, each] of [manifest.config, ...manifest.layers].entries()) {
    const open = () => pusher.fetchBlob(from, each);
    // Some with what is known, some as a stream.
    const blob = index % 2 === 0 ? { digest: each.digest, size: each.size, open } : { open };
    const pushed = await pusher.pushBlob(to, blob);
    assert.deepEqual([pushed.digest, pushed.size], [each.digest, each.size]);
    how.push(pushed.how);
    assert.equal(await pusher.blobSize(to, each.digest), each.size);
  }
  assert.deepEqual(new Set(how), new Set(['uploaded']));
  assert.equal(await pusher.pushManifest(to, bytes, mediaType), sha256(bytes));
  const copy = join(empty.directory, 'copy');
  await skopeo(
    empty.directory,
    'copy',
    '--src-tls-verify=false',
    `docker://${empty.host}/new/image:v2`,
    `oci:${copy}:x`,
  );
  for (const { digest } of manifest.layers)
    assert.deepEqual(readBlobFile(copy, digest), readBlobFile(registry.layout, digest));
  const index = JSON.parse(readFileSync(join(copy, 'index.json'), 'utf8'));
  assert.equal(index.manifests[0].digest, sha256(bytes));
  // The same blobs for a second repository: there, or mounted, never sent.
  const other = parseReference(`${empty.host}/other/image:v2`);
  for (const { digest, size } of manifest.layers) {
    const open = () => assert.fail('sent again');
    assert.ok(await pusher.mountBlob(other, digest, 'new/image'));
    assert.ok(await pusher.isGzipBlob(other, digest));
    assert.equal((await pusher.pushBlob(other, { digest, size, open })).how, 'exists');
  }
});

test('registry: a manifest with a part missing is refused by the registry', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await filled(context);
  const pusher = client(context);
  const { bytes, mediaType } = await pusher.resolveManifest(parseReference(`${registry.host}/lab/one:v1`), AMD64);
  const outcome = await code(pusher.pushManifest(parseReference(`${registry.host}/empty:1`), bytes, mediaType));
  assert.match(outcome, /^ERR_TSBOX_REGISTRY: push .*: .* answered HTTP 400 \(manifest blob unknown: blob unknown/);
});

test('registry: basic auth: login, pull and push with the password, nothing without', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo')) return;
  const registry = await startRegistry(context, withPassword);
  const layout = makeLayout(registry.directory, ['one']);
  const to = `docker://${registry.host}/lab/one:v1`;
  await skopeo(
    registry.directory,
    'copy',
    '--dest-tls-verify=false',
    '--dest-creds',
    'alice:s3cret',
    `oci:${layout}:one`,
    to,
  );
  const reference = parseReference(`${registry.host}/lab/one:v1`);
  const asked: string[] = [];
  const credentials = async (domain: string) => {
    asked.push(domain);
    return ALICE;
  };
  const alice = client(context, { credentials });
  const { manifest, bytes, mediaType } = await alice.resolveManifest(reference, AMD64);
  const layer = manifest.layers[0]!;
  assert.equal(sha256(await collect(alice.fetchBlob(reference, layer))), layer.digest);
  await alice.pushManifest({ ...reference, tag: 'v2' }, bytes, mediaType);
  assert.deepEqual((await alice.listTags(reference)).sort(), ['v1', 'v2']);
  assert.deepEqual(asked, [registry.host]);
  const nobody = client(context);
  assert.match(await code(nobody.resolveManifest(reference, AMD64)), /^ERR_TSBOX_UNAUTHORIZED: pull access denied for/);
  assert.match(await code(nobody.blobSize(reference, layer.digest)), /^ERR_TSBOX_UNAUTHORIZED: push .*/);
  await nobody.checkLogin(registry.host, ALICE);
  const wrong = code(nobody.checkLogin(registry.host, { ...ALICE, password: 'wrong' }));
  assert.match(await wrong, /^ERR_TSBOX_UNAUTHORIZED: log in to .*: unauthorized: incorrect username or password$/);
});

test('registry: bearer tokens: pull, push and mount each get the scope they need', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo', 'command:openssl')) return;
  const { settings, scopes } = await tokenServer(context, temporary(context));
  const registry = await startRegistry(context, () => settings);
  const layout = makeLayout(registry.directory, ['one']);
  await skopeo(
    registry.directory,
    'copy',
    '--dest-tls-verify=false',
    `oci:${layout}:one`,
    `docker://${registry.host}/lab/one:v1`,
  );
  scopes.length = 0;
  const reference = parseReference(`${registry.host}/lab/one:v1`);
  const other = parseReference(`${registry.host}/lab/two:v1`);
  const user = client(context);
  const { manifest, bytes, mediaType } = await user.resolveManifest(reference, AMD64);
  const layer = manifest.layers[0]!;
  assert.equal(sha256(await collect(user.fetchBlob(reference, layer))), layer.digest);
  for (const { digest, size } of [manifest.config, ...manifest.layers]) {
    assert.equal(await user.blobSize(other, digest), undefined);
    assert.ok(await user.mountBlob(other, digest, 'lab/one'));
    assert.equal(await user.blobSize(other, digest), size);
  }
  await user.pushManifest(other, bytes, mediaType);
  assert.equal((await user.resolveManifest(other, AMD64)).digest, sha256(bytes));
  assert.deepEqual(scopes, [
    ['repository:lab/one:pull'],
    ['repository:lab/two:pull,push'],
    ['repository:lab/two:pull,push', 'repository:lab/one:pull'],
    ['repository:lab/two:pull'],
  ]);
});

test('registry: https on the loopback is found out', async (context) => {
  if (!requires(context, 'command:docker-registry', 'command:skopeo', 'command:openssl')) return;
  const registry = await startRegistry(
    context,
    () => '',
    (directory) => {
      const [key, cert] = [join(directory, 'tls.key'), join(directory, 'tls.crt')];
      const what = ['-subj', '/CN=x', '-keyout', key, '-out', cert];
      execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...what], {
        stdio: 'pipe',
      });
      return { key, cert };
    },
  );
  const layout = makeLayout(registry.directory, ['one']);
  await skopeo(
    registry.directory,
    'copy',
    '--dest-tls-verify=false',
    `oci:${layout}:one`,
    `docker://${registry.host}/lab/one:v1`,
  );
  const reference = parseReference(`${registry.host}/lab/one:v1`);
  const { manifest } = await client(context).resolveManifest(reference, AMD64);
  const layer = manifest.layers[0]!;
  assert.equal(sha256(await collect(client(context).fetchBlob(reference, layer))), layer.digest);
});
