/** Names and types: every spelling that writers use, and those that mean nothing. */
import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { diffLayer } from '../../src/layer/diff.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { encodeHeader } from '../../src/layer/write.ts';
import {
  apply,
  archive,
  collect,
  entryBytes,
  type Made,
  patch,
  run,
  scratch,
  sha256,
  snapshot,
} from './layer-support.ts';

/** Unpacks with tar-split, and sees that the bytes come back. @returns names in the layer, and its directory */
async function unpacked(t: TestContext, bytes: Buffer): Promise<{ names: string[]; target: string }> {
  const root = scratch(t);
  const target = join(root, 'layer');
  mkdirSync(target);
  await apply(bytes, target, { tarSplit: join(root, 'split') });
  assert.ok((await collect(reassembleLayer(target, join(root, 'split')))).equals(bytes));
  const names = Object.keys(snapshot(target)).map((name) => name.slice(2));
  return { names: names.filter((name) => name !== ''), target };
}

test('names: dots and slashes that say nothing', async (t) => {
  const spelled: [string, string[]][] = [
    ['a', ['a']],
    ['./a', ['a']],
    ['././/a', ['a']],
    ['a//b', ['a', 'a/b']],
    ['a/./b/.', ['a', 'a/b']],
    ['.a', ['.a']],
    ['..a', ['..a']],
    ['a..', ['a..']],
    ['...', ['...']],
  ];
  for (const [name, wanted] of spelled) {
    const { names } = await unpacked(t, archive({ name, data: 'x' }));
    assert.deepEqual(names, wanted, name);
  }
});

test('names: the root, however it is called, has the attributes of its entry', async (t) => {
  for (const name of ['.', './', '/', '//', '/.', '././']) {
    const { names, target } = await unpacked(
      t,
      archive({ name, type: 'directory', mode: 0o711, mtime: 5 }, { name: 'f' }),
    );
    assert.deepEqual(names, ['f'], name);
    assert.equal(lstatSync(target).mode & 0o7777, 0o711);
    assert.equal(lstatSync(target).mtimeMs, 5000);
  }
});

test('names: absolute ones and ".." are refused wherever they stand', async (t) => {
  for (const name of ['/a', '//a', '/./a', '..', '../a', 'a/..', 'a/../b', './../a', 'a/b/../../..']) {
    for (const type of ['file', 'directory', 'symlink', 'fifo'] as const) {
      const bytes = archive({ name, type, linkname: type === 'symlink' ? 'x' : '' });
      await assert.rejects(apply(bytes, scratch(t)), { code: 'ERR_TSBOX_DAMAGED', message: /absolute|"\.\."/ }, name);
    }
  }
});

test('names: the longest parts, and the longest path', async (t) => {
  const part = 'n'.repeat(255);
  const long = `${`${'d'.repeat(254)}/`.repeat(16)}${'d'.repeat(10)}/file`;
  assert.equal(long.length, 4095);
  const bytes = archive({ name: part, data: 'part' }, { name: long, data: 'path' });
  const [target, again] = [scratch(t), scratch(t)];
  await apply(bytes, target);
  assert.equal(readFileSync(join(target, part), 'utf8'), 'part');
  const packed = await collect(diffLayer(target, { whiteouts: 'overlay' }));
  await apply(packed, again, { tarSplit: `${again}.split` });
  t.after(() => rmSync(`${again}.split`));
  assert.ok((await collect(diffLayer(again, { whiteouts: 'overlay' }))).equals(packed));
  assert.ok((await collect(reassembleLayer(again, `${again}.split`))).equals(packed));
});

test('names: types of other programs', async (t) => {
  const typed = (flag: string, data = ''): Buffer => patch(archive({ name: 'x', data }), 0, 156, flag);
  for (const flag of ['0', '\0', '7']) {
    const { target } = await unpacked(t, typed(flag, 'data'));
    assert.equal(readFileSync(join(target, 'x'), 'utf8'), 'data');
  }
  const label = await unpacked(t, typed('V'));
  assert.deepEqual(label.names, [], 'a volume label');
  const listed = await unpacked(t, typed('D', 'Yname\0\0'));
  assert.ok(lstatSync(join(listed.target, 'x')).isDirectory(), 'a directory with a list of its names');
  for (const flag of ['M', 'N', 'A', 'Q', ' ', '8', '\xff']) {
    await assert.rejects(apply(typed(flag), scratch(t)), { code: 'ERR_TSBOX_UNSUPPORTED', message: /of type/ }, flag);
  }
});

test('names: a device of no number is a whiteout to an overlay, and packed as one', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root');
  const { target } = await unpacked(t, archive({ name: 'gone', type: 'char', mode: 0 }));
  const packed = await collect(diffLayer(target, { whiteouts: 'overlay' }));
  assert.equal(run('tar', ['-tf', '-'], { input: packed }).toString(), '.wh.gone\n');
});

test('names: the archive of nothing is Docker’s empty layer', async (t) => {
  const packed = await collect(diffLayer(scratch(t), { whiteouts: 'overlay' }));
  assert.equal(sha256(packed), 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef');
  for (const bytes of [packed, Buffer.alloc(0), Buffer.alloc(512), Buffer.alloc(10_240)]) {
    const { names } = await unpacked(t, bytes);
    assert.deepEqual(names, []);
  }
});

test('names: numbers beyond eight digits are written for everyone to read', () => {
  const made: Made = {
    name: 'big',
    size: 9 * 2 ** 30,
    uid: 2 ** 31,
    gid: 2 ** 32 - 2,
    mtime: -5,
  };
  const head = encodeHeader({ ...plain(), ...made } as Parameters<typeof encodeHeader>[0]);
  const args = ['--full-time', '--utc', '--numeric-owner', '-tvf', '-'];
  const listed = run('bash', ['-c', `tar ${args.join(' ')} 2> /dev/null || true`], { input: head }).toString();
  assert.match(listed, /^-rw-r--r-- 2147483648\/4294967294 9663676416 1969-12-31 23:59:55 big$/m);
});

function plain() {
  return {
    type: 'file',
    mode: 0o644,
    mtimeNsec: 0,
    linkname: '',
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: undefined,
  } as const;
}

test('names: layers unpacked side by side do not lead each other out', async (t) => {
  const root = scratch(t);
  mkdirSync(join(root, 'victim'));
  const layers = Array.from({ length: 6 }, (_, at) => join(root, `layer${at}`));
  for (const layer of layers) mkdirSync(layer);
  const other = (at: number): string => `../layer${(at + 1) % 6}/d`;
  await Promise.all(
    layers.map((layer, at) => {
      const half: Made[] =
        at % 2 === 0 ? [{ name: 'd', type: 'symlink', linkname: other(at) }] : [{ name: 'd/f', data: `${at}` }];
      const more = Array.from({ length: 200 }, (_, number): Made => ({ name: `e/${number}`, data: `${at}` }));
      return apply(archive(...more, ...half, { name: 'up', type: 'symlink', linkname: '../victim' }), layer);
    }),
  );
  assert.deepEqual(readdirSync(join(root, 'victim')), []);
  for (const [at, layer] of layers.entries()) {
    assert.equal(readFileSync(join(layer, 'e/199'), 'utf8'), `${at}`);
    if (at % 2 === 1) assert.equal(readFileSync(join(layer, 'd/f'), 'utf8'), `${at}`);
  }
});

test('names: GNU tar sees the types that are written', () => {
  const made: Made[] = [
    { name: 'd/' },
    { name: 'f', data: 'x' },
    { name: 'h', type: 'link', linkname: 'f' },
    { name: 's', type: 'symlink', linkname: 'f' },
    { name: 'p', type: 'fifo' },
    { name: 'c', type: 'char', deviceMajor: 5, deviceMinor: 6 },
    { name: 'b', type: 'block', deviceMajor: 7, deviceMinor: 8 },
  ];
  const listed = run('tar', ['-tvf', '-'], {
    input: Buffer.concat([...made.map(entryBytes), Buffer.alloc(1024)]),
  }).toString();
  assert.equal(
    listed
      .split('\n')
      .map((line) => line[0] ?? '')
      .join(''),
    'd-hlpcb',
  );
  assert.match(listed, / 5,6 .* c\n.* 7,8 .* b\n/);
});
