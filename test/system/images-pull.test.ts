/** `pull`: from a real registry, and from one that misbehaves. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pullImage } from '../../src/engine/pull.ts';
import { defaultPlatform, formatPlatform } from '../../src/spec/platform.ts';
import { diffIdOfBlob } from '../../src/store/distribution.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { findImageId, imageIds } from '../../src/store/images.ts';
import { layerIds } from '../../src/store/layers.ts';
import { requires } from '../requires.ts';
import {
  blobOf,
  configOf,
  descriptorOf,
  OCI,
  ociFiles,
  sha256,
  tarOf,
  temporary,
  writeFiles,
} from '../unit/engine-archives.ts';
import { serve, type TestServer } from '../unit/registry-fixture.ts';
import { sandbox, TSBOX, until } from './harness.ts';
import { type Answer, type Blob, type Image, image, registry } from './image-server.ts';
import { contents, engineIn, failing, layerDirectories, listener, run, startDocker } from './images-setup.ts';
import { startRegistry } from './registry-daemon.ts';

const layers = [
  tarOf({ 'etc/os-release': 'ID=test\n', 'data/old': 'old', 'data/kept': 'kept' }),
  tarOf({ 'etc/motd': 'hello\n', 'data/.wh.old': '' }),
  tarOf({ 'usr/big': Buffer.alloc(2_000_000, 'big ') }),
];
const id = `sha256:${sha256(configOf(layers))}`;
const packed = [gzipSync(layers[0]!), zstdCompressSync(layers[1]!), layers[2]!];

const blobRequests = ({ seen }: TestServer, blob: Blob) => seen.filter(({ url }) => url.endsWith(blob.digest)).length;

test("pull: from a real registry, all compressions, told in Docker's words", async (context) => {
  if (!requires(context, 'root', 'command:docker-registry', 'command:skopeo')) return;
  const { host, directory } = await startRegistry(context);
  const layout = join(directory, 'layout');
  writeFiles(layout, ociFiles(layers, 'one', packed));
  const from = ['copy', '-q', '--preserve-digests', '--dest-tls-verify=false', `oci:${layout}:one`];
  for (const tag of ['latest', '2']) await run('skopeo', [...from, `docker://${host}/some/image:${tag}`]);
  const digest = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests[0].digest;
  const engine = engineIn(context);
  const first = listener();
  const reference = `${host}/some/image`;
  const pulled = await pullImage(engine, reference, {}, first.say);
  assert.deepEqual(pulled, { id, digest, upToDate: false, reference: `${reference}:latest` });
  assert.deepEqual(first.texts(), [
    'latest: Pulling from some/image',
    `Digest: ${digest}`,
    `Status: Downloaded newer image for ${reference}:latest`,
  ]);
  assert.deepEqual(first.words(), [
    'Pulling fs layer',
    'Downloading',
    'Verifying Checksum',
    'Download complete',
    'Pull complete',
  ]);
  assert.equal(findImageId(engine.store, `${reference}@${digest}`), id);
  assert.equal(readFileSync(`${layerDirectories(engine, reference)[1]}/etc/motd`, 'utf8'), 'hello\n');
  assert.equal(diffIdOfBlob(engine.store, `sha256:${sha256(packed[0]!)}`), `sha256:${sha256(layers[0]!)}`);

  const second = listener();
  assert.equal((await pullImage(engine, reference, {}, second.say)).upToDate, true);
  assert.deepEqual(second.words(), ['Already exists']);
  assert.equal(second.texts().at(-1), `Status: Image is up to date for ${reference}:latest`);

  const all = listener();
  assert.equal((await pullImage(engine, reference, { allTags: true }, all.say)).upToDate, false);
  assert.equal(all.texts().at(-1), `Status: Downloaded newer image for ${reference}`);
  assert.equal(findImageId(engine.store, `${reference}:2`), id);

  const quiet = listener();
  const byDigest = await pullImage(engineIn(context), `${reference}@${digest}`, { quiet: true }, quiet.say);
  assert.deepEqual([byDigest.id, quiet.events], [id, []]);
});

test('pull: docker pushes, tsbox pulls and runs, with the same id', async (context) => {
  if (!requires(context, 'root', 'overlay', 'command:docker-registry', 'command:dockerd')) return;
  const { host } = await startRegistry(context);
  const docker = await startDocker(context);
  const box = sandbox(context);
  box.image('busybox');
  box.ok(['save', '-o', join(box.directory, 'b.tar'), 'busybox:offline']);
  await docker('load', '-qi', join(box.directory, 'b.tar'));
  await docker('tag', 'busybox:offline', `${host}/library/ubuntu:latest`);
  await docker('push', '-q', `${host}/library/ubuntu:latest`);
  const mirror = ['--registry-mirror', `http://${host}`];
  assert.match(box.ok([...mirror, 'pull', 'ubuntu']), /^docker\.io\/library\/ubuntu:latest$/m);
  assert.equal(box.ok(['run', '--rm', '--network', 'none', 'ubuntu', 'echo', 'hello']), 'hello');
  const theirs = await docker('image', 'inspect', '-f', '{{.Id}}', 'busybox:offline');
  assert.equal(box.ok(['images', '--no-trunc', '-q', 'ubuntu']), theirs);
});

test('pull: a layer that links to a file of a layer below, whichever arrives first', async (context) => {
  if (!requires(context, 'root')) return;
  const directory = temporary(context);
  writeFiles(directory, { 'data/kept': 'kept' });
  await run('ln', [join(directory, 'data/kept'), join(directory, 'linked')]);
  const links = (await run('tar', ['-cC', directory, '--format=ustar', 'data/kept', 'linked'])).subarray(1024);
  const one = image([layers[0]!, layers[1]!, links]);
  const slow: Answer = (blob, response) => void sleep(200).then(() => response.end(blob.bytes));
  const server = await serve(context, registry(one, new Map([[one.layers[0]!.digest, slow]])));
  const engine = engineIn(context);
  await pullImage(engine, `${server.host}/x:1`, {}, () => {});
  const top = layerDirectories(engine, `${server.host}/x:1`)[2];
  assert.equal(readFileSync(`${top}/linked`, 'utf8'), 'kept');
  assert.equal(lstatSync(`${top}/linked`).ino, lstatSync(`${top}/data/kept`).ino);
});

test('pull: an image that is not what it says leaves the store as it was', async (context) => {
  if (!requires(context, 'root')) return;
  const [base, top] = layers as [Buffer, Buffer, Buffer];
  const flipped = Buffer.from(base);
  const content = base.lastIndexOf('ID=test');
  flipped[content] = flipped[content]! ^ 1;
  const good = image([base, top]);
  const serving = (bytes: Buffer): Map<string, Answer> =>
    new Map([[good.layers[0]!.digest, (_, response) => void response.end(bytes)]]);
  const many = Array.from({ length: 1000 }, () => base);
  const cases: [string, Image, Map<string, Answer>, string, RegExp][] = [
    [
      'wrong diffID',
      image([base, top], [base, base], configOf([base, top])),
      new Map(),
      'ERR_TSBOX_DAMAGED',
      /unpacked it has the digest/,
    ],
    ['wrong digest', good, serving(flipped), 'ERR_TSBOX_DAMAGED', /digest/],
    ['too long', good, serving(Buffer.concat([base, base])), 'ERR_TSBOX_DAMAGED', /bytes|longer/],
    ['HTML', good, serving(Buffer.from('<html>not here</html>')), 'ERR_TSBOX_', /./],
    [
      'a layer too few',
      image([base, top], [base], configOf([base, top])),
      new Map(),
      'ERR_TSBOX_DAMAGED',
      /the manifest has 1 layers, the config 2/,
    ],
    ['1,000 layers', image(many), new Map(), 'ERR_TSBOX_LIMIT', /1000 layers, at most 127/],
    [
      'another system',
      image([base], [base], configOf([base], { os: 'windows' })),
      new Map(),
      'ERR_TSBOX_UNSUPPORTED',
      /"windows" cannot be used/,
    ],
    ['a truncated layer', image([base.subarray(0, 1000)]), new Map(), 'ERR_TSBOX_DAMAGED', /the archive ends/],
    ['no config', image([base], [base], Buffer.from('[]')), new Map(), 'ERR_TSBOX_DAMAGED', /config/],
  ];
  for (const [name, one, answers, code, message] of cases) {
    const server = await serve(context, registry(one, answers));
    const engine = engineIn(context);
    const error = await failing(engine, () => pullImage(engine, `${server.host}/x:1`, {}, () => {}));
    assert.ok(error.code.startsWith(code), `${name}: ${error.code} ${error.message}`);
    assert.match(error.message, message, name);
  }
});

test('pull: an image for another platform is refused when another was asked for, else taken with a warning', async (context) => {
  if (!requires(context, 'root')) return;
  const server = await serve(context, registry(image(layers, layers, configOf(layers, { architecture: 's390x' }))));
  const engine = engineIn(context);
  const error = await failing(engine, () =>
    pullImage(engine, `${server.host}/x:1`, { platform: 'linux/arm64' }, () => {}),
  );
  assert.match(error.message, /it is for linux\/s390x and not for linux\/arm64/);
  for (const [options, warned] of [
    [{ platform: 'linux/s390x' }, false],
    [{}, true],
  ] as const) {
    const { texts, say } = listener();
    await pullImage(engine, `${server.host}/x:1`, options, say);
    const host = formatPlatform(defaultPlatform());
    const warning = `WARNING: The requested image's platform (linux/s390x) does not match the detected host platform (${host}) and no specific platform was requested`;
    assert.equal(texts().includes(warning), warned);
  }
});

test('pull: what an index says of the platform is believed, as old configs do not tell the variant', async (context) => {
  if (!requires(context, 'root')) return;
  const arm = image(layers, layers, configOf(layers, { architecture: 'arm' }));
  const platform = { os: 'linux', architecture: 'arm', variant: 'v6' };
  const index = blobOf(OCI.index, { schemaVersion: 2, manifests: [{ ...descriptorOf(arm.manifest), platform }] });
  const server = await serve(
    context,
    registry({ ...arm, manifest: index, blobs: new Map([...arm.blobs, [index.digest, index]]) }),
  );
  const engine = engineIn(context);
  await pullImage(engine, `${server.host}/x:1`, { platform: 'linux/arm/v6' }, () => {});
  await pullImage(engine, `${server.host}/x:1`, { platform: 'linux/arm/v7' }, () => {});
  const error = await failing(engine, () =>
    pullImage(engine, `${server.host}/x:1`, { platform: 'linux/arm/v5' }, () => {}),
  );
  assert.match(error.message, /no matching manifest for linux\/arm\/v5/);
});

test('pull: all tags, page after page, and quietly', async (context) => {
  if (!requires(context, 'root')) return;
  const one = image(layers);
  const pages = registry(one);
  const server = await serve(context, (request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    if (!url.pathname.endsWith('/tags/list')) return pages(request, response);
    const last = url.searchParams.get('last') ?? '';
    const [tag, next] = { '': ['1', 'list?last=1'], '1': ['2', '/v2/x/tags/list?last=2'], '2': ['3'] }[last] ?? [];
    if (next !== undefined) response.setHeader('link', `<${next}>; rel="next"`);
    response.end(JSON.stringify({ name: 'x', tags: [tag] }));
  });
  const box = sandbox(context);
  const quiet = await box.start(['pull', '-aq', `${server.host}/x`]).done;
  assert.deepEqual([quiet.status, quiet.stdout, quiet.stderr], [0, `${server.host}/x\n`, '']);
  assert.deepEqual(
    box
      .ok(['images', '--format', '{{.Tag}}', `${server.host}/x`])
      .split('\n')
      .sort(),
    ['1', '2', '3'],
  );
  const again = await box.start(['pull', '-q', `${server.host}/x:2`]).done;
  assert.deepEqual([again.status, again.stdout], [0, `${server.host}/x:2\n`]);
});

test('pull: a layer of the store is not taken for a blob that only claims to be it', async (context) => {
  if (!requires(context, 'root')) return;
  const [base, top] = layers as [Buffer, Buffer, Buffer];
  const engine = engineIn(context);
  const honest = await serve(context, registry(image([base, top])));
  await pullImage(engine, `${honest.host}/x:1`, {}, () => {});
  // The config names the layer that is here, the blob is another one.
  const liar = await serve(
    context,
    registry(image([base, top], [base, base], configOf([base, top], { author: 'liar' }))),
  );
  const error = await failing(engine, () => pullImage(engine, `${liar.host}/x:1`, {}, () => {}));
  assert.match(error.message, /unpacked it has the digest/);
});

test('pull: an interrupted one keeps what is complete, and the next goes on from there', async (context) => {
  if (!requires(context, 'root')) return;
  const one = image(layers);
  const answers = new Map<string, Answer>();
  const server = await serve(context, registry(one, answers));
  const engine = engineIn(context);
  // A status that says "not now" is tried again; one that says "no" is not. It comes when the other two are complete.
  answers.set(
    one.layers[2]!.digest,
    (_, response) =>
      void until('two layers in the store', () => layerIds(engine.store).length === 2).finally(() =>
        response.writeHead(403).end(),
      ),
  );
  await assert.rejects(pullImage(engine, `${server.host}/x:1`, {}, () => {}));
  assert.deepEqual([imageIds(engine.store), layerIds(engine.store).length], [[], 2]);
  assert.deepEqual(readdirSync(`${engine.store.images}/layerdb/tmp`), []);
  answers.clear();
  const next = listener();
  await pullImage(engine, `${server.host}/x:1`, {}, next.say);
  assert.equal(next.words().includes('Already exists'), true);
  assert.deepEqual(
    one.layers.map((blob) => blobRequests(server, blob)),
    [1, 1, 2],
  );
});

/** `tsbox pull` in a process of its own, whose third layer never ends. */
async function hanging(context: TestContext): Promise<{
  child: ChildProcess;
  engine: ReturnType<typeof engineIn>;
  free(): void;
  name: string;
  server: TestServer;
  one: Image;
}> {
  const one = image(layers);
  const hang: Answer = (blob, response) => void response.writeHead(200).write(blob.bytes.subarray(0, 1_000_000));
  const answers = new Map([[one.layers[2]!.digest, hang]]);
  const server = await serve(context, registry(one, answers));
  const engine = engineIn(context);
  const roots = ['--data-root', engine.options.dataRoot, '--run-root', engine.options.runRoot];
  const child = spawn(TSBOX, [...roots, 'pull', `${server.host}/x:1`], { stdio: 'ignore' });
  context.after(() => child.kill('SIGKILL'));
  const staged = () => readdirSync(`${engine.store.images}/layerdb/tmp`).length;
  await until(
    'two layers, and one that is being unpacked',
    () => layerIds(engine.store).length === 2 && staged() === 1,
  );
  return { child, engine, free: () => answers.clear(), name: `${server.host}/x:1`, server, one };
}

const ended = (child: ChildProcess) =>
  new Promise<NodeJS.Signals | number | null>((resolve) =>
    child.once('close', (code, signal) => resolve(signal ?? code)),
  );

test('pull: after Ctrl-C nothing is left but complete layers', async (context) => {
  if (!requires(context, 'root')) return;
  const { child, engine, free, name } = await hanging(context);
  const end = ended(child);
  child.kill('SIGINT');
  assert.equal(await end, 'SIGINT');
  assert.deepEqual(readdirSync(`${engine.store.images}/layerdb/tmp`), []);
  assert.deepEqual([imageIds(engine.store), layerIds(engine.store).length], [[], 2]);
  assert.equal(readdirSync(engine.store.overlay).length, 3);
  assert.deepEqual(collectGarbage(engine.store), []);
  free();
  assert.equal((await pullImage(engine, name, {}, () => {})).id, id);
});

test('pull: after SIGKILL complete layers are there for the next one, and what else is left is found', async (context) => {
  if (!requires(context, 'root')) return;
  const { child, engine, server, one, free, name } = await hanging(context);
  const end = ended(child);
  child.kill('SIGKILL');
  await end;
  assert.deepEqual([imageIds(engine.store), layerIds(engine.store).length], [[], 2]);
  collectGarbage(engine.store);
  assert.deepEqual(readdirSync(`${engine.store.images}/layerdb/tmp`), []);
  assert.equal(readdirSync(engine.store.overlay).length, 3);
  free();
  assert.equal((await pullImage(engine, name, {}, () => {})).id, id);
  assert.deepEqual(
    one.layers.map((blob) => blobRequests(server, blob)),
    [1, 1, 2],
  );
});

test('pull: a bad layer that comes last takes those back that were in the store already, but not what others use', async (context) => {
  if (!requires(context, 'root')) return;
  const one = image(layers);
  let held: (() => void) | undefined;
  const bad: Answer = (blob, response) => {
    held = () => void response.end(Buffer.alloc(blob.size));
  };
  const server = await serve(context, registry(one, new Map([[one.layers[2]!.digest, bad]])));
  const engine = engineIn(context);
  const alone = failing(engine, () => pullImage(engine, `${server.host}/x:1`, {}, () => {}));
  const release = async () => {
    // The request for the third may come later than the end of the other two.
    (await until('two layers, and the third', () => layerIds(engine.store).length === 2 && held))();
    held = undefined;
  };
  await release();
  assert.match((await alone).message, /digest/);

  const other = await serve(context, registry(image(layers.slice(0, 1))));
  await pullImage(engine, `${other.host}/y:1`, {}, () => {});
  const shared = failing(engine, () => pullImage(engine, `${server.host}/x:1`, {}, () => {}));
  await release();
  assert.match((await shared).message, /digest/);
  assert.equal(layerIds(engine.store).length, 1);
});

test('pull: a layer below that another pull has stored first serves the links of those above', async (context) => {
  if (!requires(context, 'root')) return;
  const directory = temporary(context);
  writeFiles(directory, { 'data/kept': 'kept' });
  await run('ln', [join(directory, 'data/kept'), join(directory, 'linked')]);
  const links = (await run('tar', ['-cC', directory, '--format=ustar', 'data/kept', 'linked'])).subarray(1024);
  const one = image([layers[0]!, links]);
  const held: (() => void)[] = [];
  const hold: Answer = (blob, response) => void held.push(() => response.end(blob.bytes));
  const server = await serve(context, registry(one, new Map([[one.layers[1]!.digest, hold]])));
  const engine = engineIn(context);
  const pulls = [1, 2].map(() => pullImage(engine, `${server.host}/x:1`, {}, () => {}));
  // One base layer, two copies of the layer above that are being unpacked.
  const directories = () => readdirSync(engine.store.overlay).length - 1;
  await until('one base', () => held.length === 2 && layerIds(engine.store).length === 1 && directories() === 3);
  for (const release of held) release();
  await Promise.all(pulls);
  assert.equal(readFileSync(`${layerDirectories(engine, `${server.host}/x:1`)[1]}/linked`, 'utf8'), 'kept');
  assert.equal(directories(), 2);
});

test('pull: two of the same image at once', async (context) => {
  if (!requires(context, 'root')) return;
  const server = await serve(context, registry(image(layers)));
  const engine = engineIn(context);
  const [one, two] = await Promise.all([1, 2].map(() => pullImage(engine, `${server.host}/x:1`, {}, () => {})));
  assert.equal(one?.id, two?.id);
  assert.equal(layerIds(engine.store).length, 3);
  assert.equal(readdirSync(engine.store.overlay).length, 4);
  assert.deepEqual(collectGarbage(engine.store), []);
});

test('pull: a reference that cannot be, and a registry that is not there', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  const before = contents(engine);
  await assert.rejects(
    pullImage(engine, 'UPPER', {}, () => {}),
    { code: 'ERR_TSBOX_SPEC' },
  );
  await assert.rejects(
    pullImage(engine, 'x:1', { allTags: true }, () => {}),
    { message: "tag can't be used with --all-tags/-a" },
  );
  await assert.rejects(
    pullImage(engine, '127.0.0.1:1/x', {}, () => {}),
    { code: 'ERR_TSBOX_REGISTRY' },
  );
  assert.deepEqual(contents(engine), before);
});
