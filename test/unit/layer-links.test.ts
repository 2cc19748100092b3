/** Hard links: what they may name, and what they meet. Lower layers as the kernel shows them: test/system/layer-overlay.test.ts. */
import assert from 'node:assert/strict';
import { linkSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { requires } from '../requires.ts';
import { apply, archive, asRoot, collect, type Made, run, scratch, snapshot } from './layer-support.ts';

const link = (name: string, linkname: string): Made => ({ name, type: 'link', linkname });

/** Unpacks with tar-split, and sees that the bytes come back. @returns the layer's directory */
async function unpacked(t: TestContext, entries: Made[], lowers: string[] = []): Promise<string> {
  const root = scratch(t);
  const target = join(root, 'layer');
  mkdirSync(target);
  const bytes = archive(...entries);
  await apply(bytes, target, { whiteouts: asRoot ? 'overlay' : 'overlay-user', lowers, tarSplit: join(root, 'split') });
  assert.ok((await collect(reassembleLayer(target, join(root, 'split')))).equals(bytes));
  return target;
}

const inode = (target: string, name: string): number => lstatSync(join(target, name)).ino;

test('links: an absolute target begins at the root of the layer, as kaniko writes it', async (t) => {
  const entries = [
    { name: '/', type: 'directory' as const, mode: 0o711 },
    { name: 'usr/x', data: 'x' },
  ];
  const target = await unpacked(t, [...entries, link('usr/y', '/usr/x'), link('usr/z', '//usr//./y')]);
  assert.equal(inode(target, 'usr/y'), inode(target, 'usr/x'));
  assert.equal(inode(target, 'usr/z'), inode(target, 'usr/x'));
  assert.equal(lstatSync(target).mode & 0o777, 0o711);
});

test('links: to a symlink, to a fifo, to another link', async (t) => {
  const entries: Made[] = [
    { name: 's', type: 'symlink', linkname: '/etc/passwd' },
    { name: 'p', type: 'fifo' },
  ];
  const target = await unpacked(t, [...entries, link('s2', 's'), link('p2', './p'), link('s3', 's2')]);
  assert.equal(readlinkSync(join(target, 's3')), '/etc/passwd');
  assert.equal(inode(target, 's3'), inode(target, 's'));
  assert.equal(inode(target, 'p2'), inode(target, 'p'));
});

test('links: a chain of links before their file', async (t) => {
  const target = await unpacked(t, [link('a', 'b'), link('b', 'c'), link('c', 'd'), { name: 'd', data: 'd' }]);
  for (const name of ['a', 'b', 'c']) assert.equal(inode(target, name), inode(target, 'd'));
});

test('links: a ring of links', async (t) => {
  for (const ring of [
    [link('a', 'a')],
    [link('a', 'b'), link('b', 'c'), link('c', 'a')],
    [link('a', 'b'), link('b', 'b')],
  ]) {
    await assert.rejects(unpacked(t, ring), { code: 'ERR_TSBOX_DAMAGED', message: /is not there/ });
  }
});

test('links: of two entries of one name the later counts, also when a link waits for its file', async (t) => {
  const lower = scratch(t);
  writeFileSync(join(lower, 'below'), 'below');
  const late = { name: 'late', data: 'late' };
  const file = await unpacked(t, [{ name: 'x', data: 'old' }, link('x', 'late'), late]);
  assert.equal(inode(file, 'x'), inode(file, 'late'));
  const directory = await unpacked(t, [{ name: 'x/f', data: 'old' }, link('x', 'below')], [lower]);
  assert.equal(readFileSync(join(directory, 'x'), 'utf8'), 'below');
  const replaced = await unpacked(t, [link('x', 'late'), { name: 'x', data: 'new' }, late]);
  assert.equal(readFileSync(join(replaced, 'x'), 'utf8'), 'new');
  const full = await unpacked(t, [link('x', 'late'), { name: 'x/' }, { name: 'x/f', data: 'f' }, late]);
  assert.equal(readFileSync(join(full, 'x/f'), 'utf8'), 'f');
  const twice = await unpacked(t, [link('x', 'late'), link('x', 'below'), late], [lower]);
  assert.equal(readFileSync(join(twice, 'x'), 'utf8'), 'below');
  const first = await unpacked(t, [link('x', 'late'), { name: 'y', data: 'y' }, link('x', 'y'), late]);
  assert.equal(inode(first, 'x'), inode(first, 'y'));
});

test('links: a whiteout of the link’s own name speaks of lower layers', async (t) => {
  for (const order of [0, 1]) {
    const entries = [link('x', 'late'), { name: '.wh.x' }];
    if (order === 1) entries.reverse();
    const target = await unpacked(t, [...entries, { name: 'late', data: 'late' }]);
    assert.equal(readFileSync(join(target, 'x'), 'utf8'), 'late');
  }
});

test('links: to what this layer hides, or what a directory that starts empty hides', async (t) => {
  const lower = scratch(t);
  mkdirSync(join(lower, 'd'));
  for (const name of ['f', 'd/f']) writeFileSync(join(lower, name), 'below');
  const refused: Made[][] = [
    [{ name: '.wh.f' }, link('x', 'f')],
    [link('x', 'f'), { name: '.wh.f' }],
    [{ name: 'd/.wh.f' }, link('x', 'd/f')],
    [{ name: '.wh.d' }, link('x', 'd/f')],
    [{ name: '.wh.d' }, { name: 'd/new' }, link('x', 'd/f')],
    [{ name: 'd/.wh..wh..opq' }, link('x', 'd/f')],
    [link('x', 'd/f'), { name: '.wh..wh..opq' }],
    [{ name: 'd', data: 'a file' }, link('x', 'd/f')],
  ];
  for (const entries of refused) {
    await assert.rejects(unpacked(t, entries, [lower]), { code: 'ERR_TSBOX_DAMAGED', message: /is not there/ });
  }
  const directory = { code: 'ERR_TSBOX_DAMAGED', message: /the directory "d"/ };
  await assert.rejects(unpacked(t, [link('x', 'd')], [lower]), directory);
  await assert.rejects(unpacked(t, [link('d', 'd')], [lower]), directory);
});

test('links: what a link cannot be', async (t) => {
  const refused: [Made[], RegExp][] = [
    [[link('x', '')], /a hard link to nothing/],
    [[link('x', '/')], /a hard link to the root/],
    [[link('x', '/../etc/passwd')], /"\.\." in it/],
    [[{ name: 'd/f' }, link('d', 'd/f')], /replaces its own file/],
    [[link('d', 'd/f')], /replaces its own file/],
    [[{ name: 'd/f' }, { name: 's', type: 'symlink', linkname: 'd' }, link('x', 's/f')], /"s\/f" is not there/],
    [[{ name: 'f' }, link('x', 'f/f')], /"f\/f" is not there/],
    [[{ name: 'd/' }, link('x', 'd')], /the directory "d"/],
    [[link('x', 'd'), { name: 'd/f' }], /the directory "d"/],
  ];
  for (const [entries, message] of refused) {
    await assert.rejects(unpacked(t, entries), { code: 'ERR_TSBOX_DAMAGED', message });
  }
});

test('links: a target beside the layer is not reached by a link in a lower layer', async (t) => {
  const root = scratch(t);
  for (const name of ['victim', 'lower', 'layer']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'victim/f'), 'secret');
  run('ln', ['-s', '../victim', join(root, 'lower/s')]);
  linkSync(join(root, 'lower/s'), join(root, 'lower/s2'));
  const before = snapshot(join(root, 'victim'));
  const options = { lowers: [join(root, 'lower')] };
  await assert.rejects(apply(archive(link('x', 's/f')), join(root, 'layer'), options), { code: 'ERR_TSBOX_DAMAGED' });
  assert.deepEqual(snapshot(join(root, 'victim')), before);
});

test('links: a directory that no entry describes looks as it does in the layers below', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const lower = scratch(t);
  const below = archive(
    { name: 'tmp/', mode: 0o1777, mtime: 1_234_567_890, mtimeNsec: 5, xattrs: new Map([['user.x', Buffer.from('y')]]) },
    { name: 'tmp/deep/', mode: 0o700 },
    { name: 'was-file', data: 'x' },
    { name: 'hidden/', mode: 0o700 },
    { name: 'late/', mode: 0o700 },
    { name: 'opaque/', mode: 0o700 },
    { name: 'opaque/d/', mode: 0o700 },
    { name: 'said/', mode: 0o700 },
  );
  await apply(below, lower);
  const target = await unpacked(
    t,
    [
      { name: 'tmp/deep/new', data: 'new' },
      { name: 'tmp/.wh.old' },
      { name: 'was-file/f' },
      { name: '.wh.hidden' },
      { name: 'hidden/f' },
      { name: 'late/f' },
      { name: '.wh.late' },
      { name: 'opaque/.wh..wh..opq' },
      { name: 'opaque/d/f' },
      { name: 'said/f' },
      { name: 'said/', mode: 0o750 },
    ],
    [lower],
  );
  const mode = (name: string): string => (lstatSync(join(target, name)).mode & 0o7777).toString(8);
  const names = ['tmp', 'tmp/deep', 'was-file', 'hidden', 'late', 'opaque', 'opaque/d', 'said'];
  assert.deepEqual(names.map(mode), ['1777', '700', '755', '755', '755', '700', '755', '750']);
  assert.equal(lstatSync(join(target, 'tmp'), { bigint: true }).mtimeNs, 1_234_567_890_000_000_005n);
  assert.match(run('getfattr', ['-d', '--absolute-names', join(target, 'tmp')]).toString(), /user\.x="y"/);
});
