/** Files that are taken many at once come out as they do one by one. Pieces of 300 bytes have no whole entry in them. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { type ApplyOptions, applyLayer } from '../../src/layer/apply.ts';
import { createPlainFiles } from '../../src/sys/plain.ts';
import {
  archive,
  asRoot,
  entryBytes,
  type Made,
  MEMORY,
  patch,
  pieces,
  scratch,
  sha256,
  snapshot,
} from './layer-support.ts';

const WHOLE = 1 << 22;
const options: ApplyOptions = { whiteouts: 'overlay', lchown: asRoot };
const files = (count: number, directory: string, data: (index: number) => string): Made[] =>
  Array.from({ length: count }, (_, index) => ({ name: `${directory}file-${index}`, data: data(index) }));

const ARCHIVES: Record<string, Made[]> = {
  'more than a table, a batch and the lines have room for': [
    { name: 'd/' },
    ...files(600, 'd/', (index) => 'x'.repeat(index)),
    { name: 'e/', mtime: 3 },
    ...files(12, 'e/', (index) => String(index).repeat(60_000)),
    ...files(3, '', () => 'at the top'),
    ...files(3, 'd/', () => 'again, over the first'),
  ],
  'sizes around the largest': [
    ...[0, 1, 511, 512, 513, 65_535, 65_536, 65_537].map((size) => ({ name: `s${size}`, data: Buffer.alloc(size, 7) })),
  ],
  'permissions and owners': [
    { name: 'd/', mode: 0o1777 },
    ...[0o4755, 0o2711, 0, 0o600, 0o666].map((mode) => ({ name: `d/m${mode}`, mode, data: 'm' })),
    ...(asRoot
      ? [
          { name: 'd/owned', uid: 1234, gid: 99, mode: 0o4711 },
          { name: 'd/group', gid: 7 },
        ]
      : []),
    { name: 'd/old', mtime: 0 },
  ],
  'one name for several things': [
    { name: 'a', data: 'first' },
    { name: 'a', data: 'second' },
    { name: 'b', data: 'a file' },
    { name: 'd/' },
    { name: 'd/f', data: 'gone with it' },
    { name: 'd', data: 'a file now' },
    { name: 'f', data: 'f' },
    { name: 'f', type: 'symlink', linkname: 'a' },
    { name: 'f', data: 'f again' },
    { name: 'g', data: 'g' },
    { name: 'h', type: 'link', linkname: 'g' },
    { name: 'x', data: 'hidden?' },
    { name: '.wh.x' },
    { name: '.wh.y' },
    { name: 'y', data: 'not any more' },
  ],
  'names that are not plain': [
    { name: 'd/' },
    ...['d/"q"', 'd/back\\slash', 'd/\xe9', 'd/.dot', './d/dot', 'd//two', 'd/tab\t', 'd/fine'].map((name) => ({
      name,
      data: name,
    })),
    { name: `${'p'.repeat(120)}/${'n'.repeat(90)}`, data: 'a prefix' },
    { name: 'implied/deep/file', data: 'no entry describes its parents' },
  ],
};

for (const [what, made] of Object.entries(ARCHIVES)) {
  test(`plain files: ${what}`, async (t) => {
    const bytes = archive(...made);
    const outcomes = [];
    for (const size of [WHOLE, 300]) {
      const root = scratch(t, MEMORY);
      mkdirSync(join(root, 'diff'));
      const tarSplit = join(root, 'tar-split.json.gz');
      const applied = await applyLayer(pieces(bytes, size), join(root, 'diff'), { ...options, tarSplit });
      assert.equal(applied.diffId, sha256(bytes));
      outcomes.push({
        applied,
        tree: snapshot(join(root, 'diff')),
        split: gunzipSync(readFileSync(tarSplit)).toString(),
      });
      // What no entry describes is as old as the test.
      for (const name of ['.', './implied', './implied/deep', `./${'p'.repeat(120)}`])
        delete outcomes.at(-1)!.tree[name];
    }
    assert.deepEqual(outcomes[0], outcomes[1]);
  });
}

test('plain files: a parent that is a file or a link, and limits, are refused in the same words', async (t) => {
  const cases: [Made[], ApplyOptions['limits']?][] = [
    [
      [
        { name: 'b', data: 'file' },
        { name: 'b/c', data: 'in it' },
      ],
    ],
    [
      [
        { name: 's', type: 'symlink', linkname: '/' },
        { name: 's/c', data: 'out' },
      ],
    ],
    [files(9, '', () => 'many'), { maxEntries: 5 }],
    [files(9, '', () => 'much'), { maxBytes: 10_000 }],
  ];
  for (const [made, limits] of cases) {
    const messages = [];
    for (const size of [WHOLE, 300]) {
      const root = scratch(t, MEMORY);
      mkdirSync(join(root, 'diff'));
      const tarSplit = join(root, 'tar-split.json.gz');
      const unpack = applyLayer(pieces(archive(...made), size), join(root, 'diff'), {
        ...options,
        ...(limits && { limits }),
        tarSplit,
      });
      messages.push(
        await unpack.then(
          () => 'none',
          (error: Error) => error.message,
        ),
      );
    }
    assert.equal(messages[0], messages[1]);
    assert.notEqual(messages[0], 'none');
  }
});

test('plain files: what is taken, and why no more', () => {
  const plain = createPlainFiles({ chown: true, givenOwner: undefined, umask: 0o22 });
  const take = (chunk: Buffer, path = 'd', operations = 0x40000) => {
    const lines = { bytes: Buffer.alloc(0x40000), filled: 0, position: 0, raw: Buffer.alloc(0x10000), rawFilled: 0 };
    const target = { bytes: Buffer.alloc(operations), filled: 0 };
    const directory = { path, fd: 3 };
    return plain.take({ chunk, from: 0, directory, operations: target, lines, mostEntries: 9, mostBytes: 1e6 });
  };
  const file = (name: string, data = 'data') => entryBytes({ name, data });
  const two = Buffer.concat([file('d/a'), file('d/b')]);
  assert.deepEqual([take(two), plain.end()], [['d/a', 'd/b'], 'other']);
  assert.deepEqual(plain.file(1), { ...plain.file(1), data: 1024 + 512 + 4, next: 2048, size: 4 });
  assert.deepEqual([take(two, 'e'), plain.end(), plain.parent()], [[], 'directory', 'd']);
  assert.deepEqual([take(two, 'd', 300), plain.end()], [['d/a'], 'operations']);
  assert.deepEqual(take(two.subarray(0, 2047)), ['d/a'], 'the padding counts');
  assert.deepEqual(take(Buffer.concat([file('d/a'), entryBytes({ name: 'd/c/' })])), ['d/a']);
  assert.deepEqual(take(patch(file('d/a'), 0, 124, '00000000-04')), [], 'a size that is none');
  const wrong = file('d/a');
  wrong[0] = 0x65;
  assert.deepEqual(take(wrong), [], 'a wrong checksum');
  for (const name of ['d/.wh.x', 'd/../x', '/d/x', 'd/"']) assert.deepEqual(take(file(name)), [], name);
});
