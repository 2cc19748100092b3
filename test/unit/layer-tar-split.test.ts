import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { crc64Bytes, newCrc64, updateCrc64 } from '../../src/layer/crc64.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { apply, archive, collect, entryBytes, type Made, patch, run, scratch, sha256 } from './layer-support.ts';

interface Layer {
  target: string;
  split: string;
}

/** Unpacks with tar-split and checks that the bytes come back. */
async function roundTrip(t: TestContext, bytes: Buffer): Promise<Layer> {
  const root = scratch(t);
  const layer = { target: join(root, 'diff'), split: join(root, 'tar-split.json.gz') };
  mkdirSync(layer.target);
  const { diffId } = await apply(bytes, layer.target, { tarSplit: layer.split });
  assert.equal(diffId, sha256(bytes));
  const back = await collect(reassembleLayer(layer.target, layer.split));
  assert.ok(back.equals(bytes), 'the same bytes');
  assert.deepEqual(readdirSync(root).sort(), ['diff', 'tar-split.json.gz'], 'nothing temporary is left');
  return layer;
}

test('tar-split: the checksum is that of the ISO polynomial', () => {
  const check = Buffer.from('123456789');
  const crc = newCrc64();
  updateCrc64(crc, check, 0, 3);
  updateCrc64(crc, check, 3, 9);
  assert.equal(crc64Bytes(crc).toString('hex'), 'b90956c775a41001');
});

test('tar-split: the checksum by words is that by bits', () => {
  const data = Buffer.from(Array.from({ length: 200 }, (_, i) => (i * i * 31 + 7) & 0xff));
  for (let length = 0; length <= data.length; length++) {
    let wanted = 0xffff_ffff_ffff_ffffn;
    for (const byte of data.subarray(3, 3 + length)) {
      wanted ^= BigInt(byte);
      for (let bit = 0; bit < 8; bit++)
        wanted = (wanted & 1n) === 1n ? (wanted >> 1n) ^ 0xd800000000000000n : wanted >> 1n;
    }
    const crc = newCrc64();
    updateCrc64(crc, data, 3, Math.min(3 + length, data.length));
    if (3 + length <= data.length) {
      assert.equal(crc64Bytes(crc).toString('hex'), (wanted ^ 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, '0'));
    }
  }
});

for (const format of ['v7', 'ustar', 'gnu', 'pax']) {
  test(`tar-split: an archive of GNU tar (${format}) comes back byte for byte`, async (t) => {
    const root = scratch(t);
    mkdirSync(join(root, 'd'));
    writeFileSync(join(root, 'd/f'), 'data'.repeat(100_000));
    writeFileSync(join(root, 'd/empty'), '');
    symlinkSync('f', join(root, 'd/s'));
    run('bash', ['-c', "printf x > $'d/\\xff'; printf y > d/é; truncate -s 1M d/hole; echo end >> d/hole"], {
      cwd: root,
    });
    const sparse = format === 'gnu' || format === 'pax' ? ['-S'] : [];
    await roundTrip(t, run('tar', [`--format=${format}`, ...sparse, '-cf', '-', './d'], { cwd: root }));
  });
}

test('tar-split: global headers, rubbish after the end, and no end at all', async (t) => {
  const global = patch(entryBytes({ name: 'pax_global_header', data: '13 comment=x\n' }), 0, 156, 'g');
  await roundTrip(t, Buffer.concat([global, archive({ name: 'f', data: 'f' }), Buffer.from('rubbish'.repeat(50_000))]));
  await roundTrip(t, entryBytes({ name: 'f', data: 'f' }));
  await roundTrip(t, Buffer.alloc(0));
});

test('tar-split: padding that is not zero', async (t) => {
  const bytes = archive({ name: 'f', data: 'f' }, { name: 'g' });
  bytes.fill(0x55, 513, 1024);
  await roundTrip(t, bytes);
});

test('tar-split: data that no file keeps: of whiteouts, of ignored entries, of directories', async (t) => {
  await roundTrip(t, archive({ name: '.wh.x', data: 'odd' }, { name: '.wh..wh.plnk/1', data: 'odd' }));
  await roundTrip(
    t,
    patch(archive({ name: 'd/', type: 'file', data: 'odd' }, { name: 'd/f', data: 'f' }), 0, 156, 'D'),
  );
});

test('tar-split: a file that a later entry replaces', async (t) => {
  const symlink: Made = { name: 'a', type: 'symlink', linkname: 'x' };
  const link: Made = { name: 'a', type: 'link', linkname: './b' };
  const big = Buffer.alloc(300_000, 7);
  const cases: Made[][] = [
    [
      { name: 'a', data: 'one' },
      { name: 'a', data: 'two!' },
    ],
    [
      { name: 'a', data: 'one' },
      { name: './a', data: big },
      { name: 'a', data: 'three' },
    ],
    [{ name: 'a', data: big }, symlink],
    [{ name: 'b', data: 'b' }, { name: 'a', data: 'one' }, link, { name: 'a', data: 'last' }],
    [{ name: 'b', data: 'b' }, link, { name: 'a', data: 'two' }, { name: 'b', data: 'new' }],
    [{ name: 'd/x/y', data: 'deep' }, { name: 'd/z', data: 'z' }, { name: 'd', data: 'file' }, { name: 'd/' }],
    [
      { name: 'a', data: 'same' },
      { name: 'b', data: 'other' },
      { name: 'a', data: 'same' },
    ],
    [
      { name: 'caf\xe9', data: 'one' },
      { name: 'caf\xe9', data: 'two' },
    ],
  ];
  for (const entries of cases) await roundTrip(t, archive(...entries));
});

test('tar-split: names with more slashes and dots than they need', async (t) => {
  await roundTrip(t, archive(...['./a', 'b/.', 'd//c', './/d/./e/.'].map((name) => ({ name, data: name }))));
});

test('tar-split: a file changed behind our back is found and named', async (t) => {
  const bytes = archive({ name: './a', data: 'original' }, { name: 'd/b', data: 'original' });
  const changes: [string, (target: string) => void][] = [
    ['./a', (target) => writeFileSync(join(target, 'a'), 'changed!')],
    ['./a', (target) => writeFileSync(join(target, 'a'), 'longer than it was')],
    ['d/b', (target) => writeFileSync(join(target, 'd/b'), '')],
    ['d/b', (target) => rmSync(join(target, 'd/b'))],
    ['d/b', (target) => run('bash', ['-c', 'rm b; mkfifo b'], { cwd: join(target, 'd') })],
    ['d/b', (target) => run('bash', ['-c', 'rm -r d; ln -s /etc d'], { cwd: target })],
  ];
  for (const [name, change] of changes) {
    const { target, split } = await roundTrip(t, bytes);
    change(target);
    await assert.rejects(collect(reassembleLayer(target, split)), (error) => {
      assert.equal((error as { code: string }).code, 'ERR_TSBOX_DAMAGED');
      assert.ok((error as Error).message.startsWith(`file integrity checksum failed for "${name}"`), String(error));
      return true;
    });
  }
});

test('tar-split: a symlink in the store does not make it read the host', async (t) => {
  const { target, split } = await roundTrip(t, archive({ name: 'd/passwd', data: readFileSync('/etc/passwd') }));
  run('bash', ['-c', 'rm -r d; ln -s /etc d'], { cwd: target });
  await assert.rejects(collect(reassembleLayer(target, split)), /integrity checksum failed for "d\/passwd"/);
});

test('tar-split: lines are in the form that dockerd writes', async (t) => {
  const { split } = await roundTrip(t, archive({ name: './d/' }, { name: 'd/f', data: '123456789' }, { name: '\xff' }));
  const lines = gunzipSync(readFileSync(split)).toString().trim().split('\n');
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    parsed.map(({ type }) => type),
    [2, 1, 2, 1, 2, 1, 2],
  );
  assert.deepEqual(
    parsed.map(({ position }) => position),
    [0, 1, 2, 3, 4, 5, 6],
  );
  assert.deepEqual(Object.keys(parsed[3]!), ['type', 'name', 'size', 'payload', 'position']);
  assert.deepEqual(parsed[1], { type: 1, name: './d/', payload: null, position: 1 });
  assert.deepEqual(parsed[3], { type: 1, name: 'd/f', size: 9, payload: 'uQlWx3WkEAE=', position: 3 });
  assert.deepEqual(parsed[5], { type: 1, name_raw: '/w==', payload: null, position: 5 });
});

test('tar-split: a file that is none', async (t) => {
  const root = scratch(t);
  const path = join(root, 'split');
  const rubbish = [
    'x',
    '[]',
    '{"type":3}',
    '{"type":2}',
    '{"type":1,"name":5}',
    '{"type":1,"name":"a","size":-1}',
    'null',
  ];
  for (const text of rubbish) {
    writeFileSync(path, gzipSync(`${text}\n`));
    await assert.rejects(collect(reassembleLayer(root, path)), { code: 'ERR_TSBOX_DAMAGED' }, text);
  }
  writeFileSync(path, 'not gzip');
  await assert.rejects(collect(reassembleLayer(root, path)), { code: 'ERR_TSBOX_DAMAGED' });
  await assert.rejects(collect(reassembleLayer(root, join(root, 'missing'))), { code: 'ENOENT' });
});
