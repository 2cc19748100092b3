/** `import`: root file systems from a file, a pipe and the web. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type ImportRequest, importImage } from '../../src/engine/import.ts';
import type { Engine } from '../../src/engine/open.ts';
import { findImageId, imageIds, requireImage } from '../../src/store/images.ts';
import { requires } from '../requires.ts';
import { sha256, tarOf } from '../unit/engine-archives.ts';
import { serve } from '../unit/registry-fixture.ts';
import { sandbox } from './harness.ts';
import { engineIn, failing, layerDirectories, startDocker } from './images-setup.ts';

const rootfs = tarOf({ 'bin/sh': '#!', 'etc/os-release': 'ID=test\n', big: Buffer.alloc(500_000, 'x') });

const importing = (engine: Engine, source: string, more: Partial<ImportRequest> = {}) =>
  importImage(engine, { source, message: '', changes: [], ...more });

test('import: plain, gzip and zstd give an image of one layer', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  for (const [name, bytes] of [
    ['a', rootfs],
    ['b', gzipSync(rootfs)],
    ['c', zstdCompressSync(rootfs)],
  ] as const) {
    const path = join(engine.directory, name);
    writeFileSync(path, bytes);
    const id = await importing(engine, path, {
      reference: `x:${name}`,
      message: 'hello',
      changes: ['CMD ["/bin/sh"]', 'ENV A=1'],
    });
    const { config } = requireImage(engine.store, `x:${name}`);
    assert.equal(findImageId(engine.store, `x:${name}`), id);
    assert.deepEqual(config.rootfs.diff_ids, [`sha256:${sha256(rootfs)}`]);
    assert.deepEqual(
      [config.config?.Cmd, config.config?.Env, config.history?.[0]?.comment],
      [['/bin/sh'], ['A=1'], 'hello'],
    );
    assert.equal(readFileSync(`${layerDirectories(engine, `x:${name}`)[0]}/etc/os-release`, 'utf8'), 'ID=test\n');
  }
});

test('import: without a name the image has only its id', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  writeFileSync(join(engine.directory, 'a'), rootfs);
  const id = await importing(engine, join(engine.directory, 'a'), { platform: 'linux/arm/v7' });
  assert.deepEqual(imageIds(engine.store), [id]);
  const { architecture, variant, history } = requireImage(engine.store, id).config;
  assert.deepEqual([architecture, variant, history?.[0]?.comment], ['arm', 'v7', 'Imported from -']);
});

test('import: from the web, redirected, cut off, refused', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  const { host } = await serve(context, (request, response) => {
    if (request.url === '/moved') response.writeHead(302, { location: '/rootfs.tar.gz' }).end();
    else if (request.url === '/rootfs.tar.gz') response.end(gzipSync(rootfs));
    else if (request.url === '/cut') {
      response.writeHead(200, { 'content-length': rootfs.length });
      response.write(rootfs.subarray(0, 100_000), () => response.destroy());
    } else response.writeHead(404).end('not here');
  });
  const url = `http://${host}/moved`;
  const id = await importing(engine, url, { reference: 'web:1' });
  assert.equal(requireImage(engine.store, id).config.history?.[0]?.comment, `Imported from ${url}`);
  assert.match((await failing(engine, () => importing(engine, `http://${host}/cut`))).message, /^import http:/);
  assert.match((await failing(engine, () => importing(engine, `http://${host}/none`))).message, /HTTP status 404/);
});

test('import: what is wrong is told, and the store is as it was', async (context) => {
  if (!requires(context, 'root')) return;
  const engine = engineIn(context);
  const path = (name: string, bytes: Buffer): string => {
    writeFileSync(join(engine.directory, name), bytes);
    return join(engine.directory, name);
  };
  const good = path('good', rootfs);
  const cases: [() => Promise<unknown>, string, RegExp][] = [
    [
      () => importing(engine, path('cut', rootfs.subarray(0, 300_000))),
      'ERR_TSBOX_DAMAGED',
      /"big": the archive ends within it/,
    ],
    [() => importing(engine, path('gz', gzipSync(rootfs).subarray(0, 500))), 'ERR_TSBOX_DAMAGED', /gzip/],
    [() => importing(engine, path('text', Buffer.from('hello'))), 'ERR_TSBOX_DAMAGED', /./],
    [() => importing(engine, '/nonexistent'), 'ERR_TSBOX_SYSCALL', /open \/nonexistent: ENOENT/],
    [() => importing(engine, engine.directory), 'ERR_TSBOX_SYSCALL', /EISDIR/],
    [() => importing(engine, good, { changes: ['RUN x'] }), 'ERR_TSBOX_USAGE', /run is not a valid change command/],
    [() => importing(engine, good, { reference: 'UPPER' }), 'ERR_TSBOX_SPEC', /must be lowercase/],
    [() => importing(engine, good, { platform: 'a/b/c/d' }), 'ERR_TSBOX_SPEC', /invalid platform/],
  ];
  for (const [work, code, message] of cases) {
    const error = await failing(engine, work);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  }
});

test('import: from standard input, in the words of the command', async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const box = sandbox(context);
  const id = box.ok(['import', '-c', 'LABEL a=b', '-m', 'by hand', '-', 'piped:1'], { input: gzipSync(rootfs) });
  assert.match(id, /^sha256:[0-9a-f]{64}$/);
  const [image] = JSON.parse(await box.quick(['inspect', 'piped:1']));
  assert.deepEqual([image.Id, image.Config.Labels], [id, { a: 'b' }]);
});

test('import: docker imports the same layer', async (context) => {
  if (!requires(context, 'root', 'command:dockerd', 'command:docker')) return;
  const docker = await startDocker(context);
  const engine = engineIn(context);
  const path = join(engine.directory, 'a');
  writeFileSync(path, rootfs);
  await importing(engine, path, { reference: 'x:1', changes: ['CMD sh'] });
  await docker('import', '-c', 'CMD sh', path, 'x:1');
  const [theirs] = JSON.parse(await docker('image', 'inspect', 'x:1'));
  const { config } = requireImage(engine.store, 'x:1');
  assert.deepEqual(config.rootfs.diff_ids, theirs.RootFS.Layers);
  assert.deepEqual(config.config?.Cmd, theirs.Config.Cmd);
});
