/** Archives that mean harm or are broken: each ends in a clear error, and nothing outside of the target is touched. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { apply, archive, entryBytes, type Made, patch, scratch, snapshot } from './layer-support.ts';

/** Unpacks beside a victim that must be as it was. */
async function refused(
  t: TestContext,
  bytes: Buffer | ((victim: string) => Buffer),
  message: RegExp,
  code = 'ERR_TSBOX_DAMAGED',
) {
  const root = scratch(t);
  for (const name of ['victim', 'store']) mkdirSync(join(root, name));
  mkdirSync(join(root, 'store/layer'));
  writeFileSync(join(root, 'victim/file'), 'untouched');
  const before = snapshot(join(root, 'victim'));
  const archived = typeof bytes === 'function' ? bytes(join(root, 'victim')) : bytes;
  await assert.rejects(apply(archived, join(root, 'store/layer'), { tarSplit: join(root, 'store/split') }), (error) => {
    assert.equal((error as { code?: string }).code, code, String(error));
    assert.match((error as Error).message, message);
    return true;
  });
  assert.deepEqual(snapshot(join(root, 'victim')), before);
  const beside = Object.keys(snapshot(join(root, 'store'))).filter((name) => !/^\.(\/layer.*)?$/.test(name));
  assert.deepEqual(beside, [], 'no tar-split file is left');
}

const symlink = (name: string, linkname: string): Made => ({ name, type: 'symlink', linkname });
const link = (name: string, linkname: string): Made => ({ name, type: 'link', linkname });

test('layer: an absolute name does not reach the host', (t) =>
  refused(t, (victim) => archive({ name: `${victim}/file`, data: 'evil' }), /absolute/));

test('layer: ".." in a name does not lead out of the root', async (t) => {
  await refused(t, archive({ name: '../../victim/file', data: 'evil' }), /"\.\." in it/);
  await refused(t, archive({ name: 'a/../../../victim/file', data: 'evil' }), /"\.\." in it/);
  await refused(t, archive({ name: '..', type: 'directory' }), /"\.\." in it/);
});

test('layer: a symlink does not lead an entry out of the root', async (t) => {
  await refused(
    t,
    (victim) => archive(symlink('x', victim), { name: 'x/file', data: 'evil' }),
    /parent "x" is a symbolic/,
  );
  await refused(t, archive(symlink('x', '../../victim'), { name: 'x/file', data: 'evil' }), /parent "x" is a symbolic/);
  await refused(t, archive(symlink('x', '/'), { name: 'x/etc/', mode: 0o777 }), /parent "x" is a symbolic/);
});

test('layer: a chain of symlinks does not lead an entry out of the root', (t) =>
  refused(
    t,
    archive({ name: 'd/' }, symlink('d/up', '..'), symlink('out', 'd/up/../..'), {
      name: 'out/victim/file',
      data: 'evil',
    }),
    /parent "out" is a symbolic/,
  ));

test('layer: an entry does not go through a symlinked parent, be it inside of the layer', (t) =>
  refused(t, archive({ name: 'real/' }, symlink('x', 'real'), { name: 'x/file' }), /parent "x" is a symbolic link/));

test('layer: a directory turned into a symlink does not lead the entries that follow', (t) =>
  refused(
    t,
    (victim) => archive({ name: 'd/' }, { name: 'd/one' }, symlink('d', victim), { name: 'd/file', data: 'evil' }),
    /parent "d" is a symbolic/,
  ));

test('layer: a file is not written through a symlink of its name', async (t) => {
  const root = scratch(t);
  writeFileSync(join(root, 'victim'), 'untouched');
  mkdirSync(join(root, 'layer'));
  await apply(archive(symlink('f', '../victim'), { name: 'f', data: 'evil' }), join(root, 'layer'));
  assert.equal(readFileSync(join(root, 'victim'), 'utf8'), 'untouched');
  assert.equal(readFileSync(join(root, 'layer/f'), 'utf8'), 'evil');
});

test('layer: permissions and times of a symlink do not reach its target', async (t) => {
  const root = scratch(t);
  writeFileSync(join(root, 'victim'), 'untouched', { mode: 0o600 });
  mkdirSync(join(root, 'layer'));
  const before = snapshot(root)['./victim'];
  await apply(archive({ ...symlink('f', '../victim'), mode: 0o777, uid: 1, gid: 1 }), join(root, 'layer'));
  assert.equal(snapshot(root)['./victim'], before);
});

test('layer: a hard link does not lead out of the root', async (t) => {
  await refused(t, (victim) => archive(link('x', `${victim}/file`), { name: 'x', data: 'evil' }), /is not there/);
  await refused(t, archive(link('x', '../../victim/file')), /"\.\." in it/);
  await refused(t, archive(link('x', '/../../victim/file')), /"\.\." in it/);
  await refused(t, archive(link('x', '/etc/passwd')), /"etc\/passwd" is not there/);
});

test('layer: a hard link does not lead out by way of a symlink', async (t) => {
  await refused(
    t,
    (victim) => archive(symlink('d', victim), link('x', 'd/file'), { name: 'x' }),
    /"d\/file" is not there/,
  );
  await refused(t, archive(symlink('d', '../../victim'), link('x', 'd/file')), /"d\/file" is not there/);
});

test('layer: a hard link to a symlink is that symlink', async (t) => {
  const root = scratch(t);
  writeFileSync(join(root, 'victim'), 'untouched');
  mkdirSync(join(root, 'layer'));
  await apply(archive(symlink('s', '../victim'), link('x', 's'), { name: 'x', data: 'evil' }), join(root, 'layer'));
  assert.equal(readFileSync(join(root, 'victim'), 'utf8'), 'untouched');
});

test('layer: a hard link to nothing, to a directory, to the root', async (t) => {
  await refused(t, archive(link('x', 'nowhere')), /"nowhere" is not there/);
  await refused(t, archive({ name: 'd/' }, link('x', 'd')), /the directory "d"/);
  await refused(t, archive(link('x', './')), /to the root/);
});

test('layer: a whiteout does not hide the root, its parent or nothing at all', async (t) => {
  await refused(t, archive({ name: '.wh..' }), /whiteout of the directory itself/);
  await refused(t, archive({ name: '.wh...' }), /whiteout of the directory itself/);
  await refused(t, archive({ name: 'a/.wh...' }), /whiteout of the directory itself/);
  await refused(t, archive({ name: '.wh.' }), /whiteout of the directory itself/);
});

test('layer: a whiteout does not reach through a symlink', (t) =>
  refused(t, archive(symlink('d', '../../victim'), { name: 'd/.wh.file' }), /parent "d" is a symbolic/));

test('layer: an opaque marker does not reach through a symlink', (t) =>
  refused(t, archive(symlink('d', '../../victim'), { name: 'd/.wh..wh..opq' }), /parent "d" is a symbolic/));

test('layer: a whiteout is no directory', (t) =>
  refused(t, archive({ name: '.wh.d/file' }), /whiteout is used as a directory/));

test('layer: the root is a directory', async (t) => {
  await refused(t, archive(symlink('./', '/')), /root is not a directory/);
  await refused(t, archive({ name: './.', data: 'x' }), /root is not a directory/);
});

test('layer: a file is no parent', (t) =>
  refused(t, archive({ name: 'f' }, { name: 'f/x' }), /parent "f" is not a directory/));

test('layer: a size of 2^63, beyond 2^53, and negative', async (t) => {
  const one = archive({ name: 'f' });
  const max = Buffer.from([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
  await refused(t, patch(one, 0, 124, max), /size is out of range/);
  await refused(
    t,
    patch(one, 0, 124, Buffer.from([0x80, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    /out of range/,
  );
  await refused(t, patch(one, 0, 124, Buffer.alloc(12, 0xff)), /size is negative/);
  await refused(t, patch(one, 0, 124, '-0000000001\0'), /size is not an octal number/);
});

test('layer: octal rubbish', async (t) => {
  const one = archive({ name: 'f' });
  await refused(t, patch(one, 0, 124, '00000000x00\0'), /size is not an octal number/);
  await refused(t, patch(one, 0, 100, '0000999\0'), /mode is not an octal number/);
  await refused(t, patch(one, 0, 108, 'nobody\0\0'), /owner is not an octal number/);
});

test('layer: the owner that means "leave it" to chown', async (t) => {
  const one = archive({ name: 'f' });
  await refused(t, patch(one, 0, 108, Buffer.from([0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])), /owner .* out of range/);
  await refused(t, patch(one, 0, 116, Buffer.alloc(8, 0xff)), /owner .* out of range/);
});

test('layer: an archive that ends early', async (t) => {
  const bytes = archive({ name: 'first', data: 'x' }, { name: 'second', data: 'y'.repeat(2000) });
  await refused(t, bytes.subarray(0, 300), /ends after it|not a tar/);
  await refused(t, bytes.subarray(0, 600), /"first": the archive ends within it/);
  await refused(t, bytes.subarray(0, 1024 + 100), /"first": the archive ends after it/);
  await refused(t, bytes.subarray(0, 1024 + 512 + 1000), /"second": the archive ends within it/);
});

test('layer: what is no archive', async (t) => {
  await refused(t, Buffer.from('<html>'.repeat(1000)), /not a tar archive/);
  await refused(t, Buffer.alloc(512, 0xff), /not a tar archive/);
});

test('layer: a damaged header is named by the entry before', (t) => {
  const bytes = archive({ name: 'good' }, { name: 'bad' });
  bytes[512 + 3] = 0x7a;
  return refused(t, bytes, /header after "good" has a wrong checksum/);
});

test('layer: a lone block of zeros does not hide what follows', (t) =>
  refused(
    t,
    Buffer.concat([entryBytes({ name: 'a' }), Buffer.alloc(512), archive({ name: 'b' })]),
    /lone block of zeros/,
  ));

test('layer: extended headers that lie', async (t) => {
  const pax = (records: string): Buffer =>
    Buffer.concat([patch(entryBytes({ name: 'x', data: records }), 0, 156, 'x'), archive({ name: 'f' })]);
  await refused(t, pax('99 path=a\n'), /wrong length/);
  await refused(t, pax('5 path=a\n'), /wrong length/);
  await refused(t, pax('99999999999999999999 path=a\n'), /no length/);
  await refused(t, pax('path=a\n'), /no length/);
  await refused(t, pax('7 pathx\n'), /wrong length|no key/);
  await refused(t, pax('10 =value\n'), /no key/);
  await refused(t, pax('11 size=-1\n'), /not a number/);
  await refused(t, pax('25 size=9999999999999999\n'), /not a number|wrong length/);
  await refused(t, pax('12 path=a\0b\n'), /NUL/);
  await refused(t, pax('19 path=../../evil\n'), /"\.\." in it/);
  await refused(t, pax('22 SCHILY.xattr.=abcd\n'), /extended attribute/);
});

test('layer: an extended header of gigabytes is not read into memory', async (t) => {
  for (const flag of ['x', 'g', 'L', 'K']) {
    const bytes = patch(patch(entryBytes({ name: 'x' }), 0, 156, flag), 0, 124, '77777777777\0');
    await refused(t, bytes, /8589934591 bytes/, 'ERR_TSBOX_LIMIT');
  }
});

test('layer: an extended header that nothing follows', (t) =>
  refused(
    t,
    Buffer.concat([patch(entryBytes({ name: 'x', data: '9 path=a\n' }), 0, 156, 'x'), Buffer.alloc(1024)]),
    /is the last/,
  ));

test('layer: maps of sparse files that lie', async (t) => {
  const sparse = (records: string[], size: number): Buffer => {
    const text = records.map((body) => {
      const length = body.length + 3 + (body.length + 3 >= 100 ? 1 : 0) + 1;
      return `${length} ${body}\n`;
    });
    const head = patch(entryBytes({ name: 'x', data: text.join('') }), 0, 156, 'x');
    return Buffer.concat([head, entryBytes({ name: 'f', data: 'z'.repeat(size) }), Buffer.alloc(1024)]);
  };
  const of = (map: string, real: number) => ['GNU.sparse.name=sp', `GNU.sparse.size=${real}`, `GNU.sparse.map=${map}`];
  await refused(t, sparse(of('0,100,50,100', 1000), 200), /overlap/);
  await refused(t, sparse(of('900,200', 1000), 200), /beyond its end/);
  await refused(t, sparse(of('0,100', 1000), 200), /does not fit/);
  await refused(t, sparse(of('0,100,200', 1000), 100), /pairs/);
  await refused(t, sparse(of('9007199254740990,9007199254740990', 1000), 200), /beyond its end/);
  await refused(t, sparse(of('0,x', 1000), 100), /not a number/);
  await refused(
    t,
    sparse(['GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.realsize=9'], 600),
    /not made of numbers/,
  );
  await refused(t, sparse(['GNU.sparse.major=7'], 0), /sparse format 7/, 'ERR_TSBOX_UNSUPPORTED');
});

test('layer: a sparse file of 8 EiB', (t) => {
  const head = patch(patch(entryBytes({ name: 'f' }), 0, 156, 'S'), 0, 257, 'ustar  \0');
  const big = Buffer.concat([head.subarray(0, 512), Buffer.alloc(1024)]);
  const size = Buffer.from([0x80, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  return refused(t, patch(big, 0, 483, size), /more than .* bytes/, 'ERR_TSBOX_LIMIT');
});

test('layer: a type that nobody knows', (t) =>
  refused(t, patch(archive({ name: 'f' }), 0, 156, 'Q'), /entry of type "Q"/, 'ERR_TSBOX_UNSUPPORTED'));

test('layer: an entry without a name', (t) => refused(t, patch(archive({ name: 'f' }), 0, 0, '\0\0'), /no name/));

test('layer: names that are too long for a file system', async (t) => {
  await refused(t, archive({ name: `${'d/'.repeat(2047)}ff` }), /at most 4095/);
  await refused(t, archive({ name: 'n'.repeat(300) }), /longer than 255/);
  await refused(t, archive({ name: `${'n'.repeat(300)}/f` }), /longer than 255/);
  await refused(t, archive(symlink('s', 'x'.repeat(5000))), /longer than 4095/);
});

test('layer: a tree as deep as a name allows, replaced by a file', async (t) => {
  const target = scratch(t);
  await apply(archive({ name: `${'d/'.repeat(1900)}f`, data: 'x' }, { name: 'd', data: 'file' }), target);
  assert.deepEqual(Object.keys(snapshot(target)), ['.', './d']);
});

test('layer: attributes of overlayfs in an archive do not steer the overlay', async (t) => {
  const target = scratch(t);
  const xattrs = new Map(
    ['trusted.overlay.opaque', 'trusted.overlay.redirect', 'user.overlay.opaque', 'user.overlay.metacopy'].map(
      (name) => [name, Buffer.from('y')] as const,
    ),
  );
  const { notices } = await apply(archive({ name: 'd/', xattrs }, { name: 'f', xattrs }), target);
  const { flistxattr } = await import('../../src/sys/xattr.ts');
  const { openSync, closeSync } = await import('node:fs');
  for (const name of ['d', 'f']) {
    const fd = openSync(join(target, name), 'r');
    assert.deepEqual(flistxattr(fd), []);
    closeSync(fd);
  }
  assert.deepEqual(notices, []);
});
