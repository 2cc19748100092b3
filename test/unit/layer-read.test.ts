import assert from 'node:assert/strict';
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Header } from 'tar';
import type { TarEntry } from '../../src/layer/entry.ts';
import { createTarReader } from '../../src/layer/read.ts';
import { archive, entryBytes, extendedHeader, patch, paxRecord, run, scratch } from './layer-support.ts';

interface Read {
  entry: TarEntry;
  data: Buffer;
}

/** Reads an archive given in pieces of `size`, and checks that nothing of it gets lost on the way. */
function read(bytes: Buffer, size = bytes.length || 1): Read[] {
  const found: Read[] = [];
  const all: Buffer[] = [];
  let data: Buffer[] = [];
  const reader = createTarReader({
    raw: (chunk, start, end) => all.push(Buffer.from(chunk.subarray(start, end))),
    entry: () => {
      data = [];
    },
    data(chunk, start, end) {
      data.push(Buffer.from(chunk.subarray(start, end)));
      all.push(Buffer.from(chunk.subarray(start, end)));
    },
    done: (entry) => found.push({ entry, data: Buffer.concat(data) }),
  });
  for (let at = 0; at < bytes.length; at += size) reader.push(Buffer.from(bytes.subarray(at, at + size)));
  reader.end();
  assert.ok(Buffer.concat(all).equals(bytes), 'raw and data together are the archive');
  return found;
}

const byName = (entries: Read[]): Map<string, Read> => new Map(entries.map((found) => [found.entry.name, found]));

const LONG = `${'long-'.repeat(19)}/${'n'.repeat(120)}`;

/** A tree for GNU tar to pack. v7 and ustar cannot say all of it. */
function tree(t: TestContext, long: boolean, fifo: boolean): string {
  const root = scratch(t);
  mkdirSync(join(root, 'd'));
  writeFileSync(join(root, 'd/file'), 'x'.repeat(1000), { mode: 0o640 });
  writeFileSync(join(root, 'd/empty'), '');
  linkSync(join(root, 'd/file'), join(root, 'd/link'));
  symlinkSync('file', join(root, 'd/symlink'));
  writeFileSync(Buffer.concat([Buffer.from(`${root}/d/`), Buffer.from([0x66, 0xff, 0xe9])]), 'bytes');
  if (fifo) run('mkfifo', [join(root, 'd/fifo')]);
  utimesSync(join(root, 'd/file'), 1_600_000_000, 1_600_000_000);
  if (long) {
    mkdirSync(join(root, 'd', LONG, '..'), { recursive: true });
    writeFileSync(join(root, 'd', LONG), 'long');
    symlinkSync(`/${LONG}`, join(root, 'd/to-long'));
  }
  return root;
}

for (const format of ['v7', 'ustar', 'gnu', 'oldgnu', 'pax']) {
  test(`read: what GNU tar packs as ${format}, in pieces of any size`, (t) => {
    const long = format !== 'v7' && format !== 'ustar';
    const root = tree(t, long, format !== 'v7');
    const bytes = run('tar', [`--format=${format}`, '--sort=name', '--numeric-owner', '-cf', '-', 'd'], { cwd: root });
    const whole = read(bytes);
    const found = byName(whole);
    assert.deepEqual(found.get('d/')?.entry.type, 'directory');
    const first = found.get('d/file');
    assert.equal(first?.entry.type, 'file');
    assert.equal(first?.entry.mode, 0o640);
    assert.equal(first?.entry.uid, process.getuid?.());
    assert.equal(first?.entry.mtime, 1_600_000_000);
    assert.equal(first?.data.toString(), 'x'.repeat(1000));
    assert.equal(found.get('d/link')?.entry.type, 'link');
    assert.equal(found.get('d/link')?.entry.linkname, 'd/file');
    assert.equal(found.get('d/symlink')?.entry.linkname, 'file');
    assert.equal(found.get('d/f\xff\xe9')?.data.toString(), 'bytes');
    if (format !== 'v7') assert.equal(found.get('d/fifo')?.entry.type, 'fifo');
    if (long) {
      assert.equal(found.get(`d/${LONG}`)?.data.toString(), 'long');
      assert.equal(found.get('d/to-long')?.entry.linkname, `/${LONG}`);
    }
    for (const size of [1, 7, 511, 512, 513, 10_240]) assert.deepEqual(read(bytes, size), whole, `pieces of ${size}`);
  });
}

for (const [format, version] of [
  ['gnu', undefined],
  ['pax', '0.0'],
  ['pax', '0.1'],
  ['pax', '1.0'],
] as const) {
  test(`read: sparse files as ${format} ${version ?? ''}, with more parts than one header holds`, (t) => {
    const root = scratch(t);
    const file = join(root, 'sparse');
    const wanted = Buffer.alloc(4_000_000);
    const fd = openSync(file, 'w');
    for (let i = 0; i < 60; i++) {
      const at = i * 65_536 + 8192;
      wanted.write(`part ${i}`, at);
      writeSync(fd, `part ${i}`, at);
    }
    closeSync(fd);
    truncateSync(file, wanted.length);
    const how = version === undefined ? [] : [`--sparse-version=${version}`];
    const bytes = run('tar', [`--format=${format}`, '-S', ...how, '-cf', '-', 'sparse'], { cwd: root });
    assert.ok(bytes.length < 1_000_000, 'GNU tar saw the holes');
    for (const size of [bytes.length, 512, 100]) {
      const [found] = read(bytes, size);
      assert.equal(found!.entry.name, 'sparse');
      assert.equal(found!.entry.size, wanted.length);
      assert.ok(found!.entry.sparse!.length >= 60);
      const got = Buffer.alloc(wanted.length);
      let at = 0;
      for (const part of found!.entry.sparse!) {
        found!.data.copy(got, part.offset, at, at + part.length);
        at += part.length;
      }
      assert.equal(at, found!.data.length);
      assert.ok(got.equals(wanted));
    }
  });
}

test('read: numbers that no octal field holds, as GNU tar writes them', (t) => {
  const root = scratch(t);
  writeFileSync(join(root, 'f'), '');
  const pack = (format: string, mtime: string) =>
    read(
      run(
        'tar',
        [`--format=${format}`, '--owner=:3000000', '--group=:4000000000', `--mtime=${mtime}`, '-cf', '-', 'f'],
        {
          cwd: root,
        },
      ),
    )[0]!.entry;
  for (const format of ['gnu', 'pax']) {
    const old = pack(format, '@-86400.25');
    assert.deepEqual([old.uid, old.gid], [3_000_000, 4_000_000_000]);
    assert.equal(old.mtime, format === 'pax' ? -86_401 : old.mtime);
    if (format === 'pax') assert.equal(old.mtimeNsec, 750_000_000);
    else assert.ok(old.mtime === -86_400 || old.mtime === -86_401);
    assert.equal(pack(format, '@10000000000').mtime, 10_000_000_000);
  }
});

test('read: a size of 9 GB, in base 256 and in PAX', (t) => {
  const root = scratch(t);
  run('truncate', ['-s', '9G', join(root, 'big')]);
  for (const format of ['gnu', 'pax']) {
    const head = run('bash', ['-c', `tar --format=${format} -cf - big | head -c 10240`], { cwd: root });
    let seen: TarEntry | undefined;
    const reader = createTarReader({
      entry: (entry) => {
        seen = entry;
      },
      data: () => {},
      done: () => {},
    });
    reader.push(head);
    assert.equal(seen?.size, 9 * 2 ** 30);
  }
});

test('read: PAX records of bytes, empty values, and global ones', () => {
  const value = Buffer.from([0, 1, 0xff, 0x0a, 0x3d, 0]);
  const bytes = Buffer.concat([
    extendedHeader('g', paxRecord('mtime', '5'), paxRecord('uid', '7')),
    extendedHeader('x', paxRecord('SCHILY.xattr.user.binary', value), paxRecord('uid', '9'), paxRecord('path', 'real')),
    entryBytes({ name: 'nominal', uid: 1 }),
    extendedHeader('x', paxRecord('mtime', ''), paxRecord('LIBARCHIVE.xattr.user.a%20b', value.toString('base64'))),
    entryBytes({ name: 'plain', uid: 1, mtime: 77 }),
    Buffer.alloc(1024),
  ]);
  const found = byName(read(bytes));
  const real = found.get('real')!.entry;
  assert.deepEqual(real.xattrs, new Map([['user.binary', value]]));
  assert.deepEqual([real.uid, real.mtime], [9, 5]);
  const plain = found.get('plain')!.entry;
  assert.deepEqual([plain.uid, plain.mtime], [7, 77], 'a global value, and one that was taken back');
  assert.deepEqual(plain.xattrs, new Map([['user.a b', value]]));
  assert.equal(found.get('PaxHeaders/x')?.entry.type, 'none');
});

test('read: a directory spelled as a file with a trailing slash, a contiguous file, data after a hard link', () => {
  const bytes = Buffer.concat([
    patch(entryBytes({ name: 'old/' }), 0, 156, '\0'),
    patch(entryBytes({ name: 'newer/' }), 0, 156, '0'),
    patch(entryBytes({ name: 'contiguous', data: 'data' }), 0, 156, '7'),
    patch(entryBytes({ name: 'hard', type: 'link', linkname: 'contiguous' }), 0, 124, '00000000700\0'),
    entryBytes({ name: 'last' }),
  ]);
  assert.deepEqual(
    read(bytes).map(({ entry, data }) => [entry.name, entry.type, data.toString()]),
    [
      ['old/', 'directory', ''],
      ['newer/', 'directory', ''],
      ['contiguous', 'file', 'data'],
      ['hard', 'link', ''],
      ['last', 'file', ''],
    ],
  );
});

test('read: what comes after the end belongs to the archive and means nothing', () => {
  const bytes = Buffer.concat([archive({ name: 'a', data: 'a' }), entryBytes({ name: 'b' }), Buffer.from('garbage')]);
  assert.deepEqual(
    read(bytes, 100).map(({ entry }) => entry.name),
    ['a'],
  );
  assert.deepEqual(read(Buffer.alloc(0)), []);
  assert.deepEqual(read(Buffer.alloc(1024)), []);
});

test('read: an archive that ends right after its last data, without padding, is whole', () => {
  const bytes = archive({ name: 'a', data: 'abc' });
  const cut = bytes.subarray(0, bytes.indexOf('abc') + 3);
  assert.deepEqual(
    read(cut).map(({ entry, data }) => [entry.name, data.toString()]),
    [['a', 'abc']],
  );
  assert.throws(() => read(cut.subarray(0, -1)), /the archive ends within it/);
});

test('read: a header with the checksum of signed bytes', () => {
  const bytes = Buffer.from(archive({ name: 'caf\xe9' }));
  let sum = 8 * 0x20;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += bytes.readInt8(i);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  assert.equal(read(bytes)[0]!.entry.name, 'caf\xe9');
});

test('read: the header of the tar package says the same', () => {
  const bytes = entryBytes({ name: `${'p'.repeat(90)}/${'q'.repeat(90)}`, uid: 12, gid: 34, mode: 0o751, data: 'abc' });
  const theirs = new Header(bytes);
  const ours = read(Buffer.concat([bytes, Buffer.alloc(1024)]))[0]!.entry;
  assert.equal(ours.name, theirs.path);
  assert.deepEqual([ours.uid, ours.gid, ours.mode, ours.size], [theirs.uid, theirs.gid, theirs.mode, theirs.size]);
});

test('read: sparse files of star, as GNU tar reads them', (t) => {
  const parts = [0, 1024, 2048, 4096, 8192, 16384];
  const pairs = (from: number, count: number): Buffer => {
    const bytes = Buffer.alloc(24 * count);
    for (const [at, offset] of parts.slice(from, from + count).entries()) {
      bytes.write(`${offset.toString(8).padStart(11, '0')}\0${'1000'.padStart(11, '0')}\0`, 24 * at, 'latin1');
    }
    return bytes;
  };
  const more = Buffer.alloc(512);
  pairs(4, 21).copy(more);
  const data = parts.map((offset) => String(offset).padEnd(512, '-')).join('');
  let head: Buffer = entryBytes({ name: 'sparse', size: data.length }).subarray(0, 512);
  for (const [offset, value] of [
    [156, 'S'],
    [355, '1'],
    [356, pairs(0, 4)],
    [452, '00000041000\0'],
    [476, '00000000000 00000000000 '],
    [508, 'tar\0'],
  ] as const) {
    head = patch(head, 0, offset, value);
  }
  const bytes = Buffer.concat([head, more, Buffer.from(data), Buffer.alloc(1024)]);
  const root = scratch(t);
  run('tar', ['-xf', '-'], { cwd: root, input: bytes });
  const wanted = readFileSync(join(root, 'sparse'));
  const [{ entry, data: stored }] = read(bytes) as [Read];
  const got = Buffer.alloc(entry.size);
  entry.sparse!.reduce((at, part) => at + stored.copy(got, part.offset, at, at + part.length), 0);
  assert.deepEqual([got.length, got.equals(wanted)], [wanted.length, true]);
});
