/** Extended headers: whose word counts, what they may cost, and what they say of files. */
import assert from 'node:assert/strict';
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TarEntry } from '../../src/layer/entry.ts';
import { createTarReader } from '../../src/layer/read.ts';
import { requires } from '../requires.ts';
import { apply, archive, entryBytes, extendedHeader, patch, paxRecord, run, scratch } from './layer-support.ts';

function entries(bytes: Buffer, piece = bytes.length): TarEntry[] {
  const found: TarEntry[] = [];
  const reader = createTarReader({ entry: (entry) => found.push({ ...entry }), data: () => {}, done: () => {} });
  for (let at = 0; at < bytes.length; at += piece) reader.push(bytes.subarray(at, at + piece));
  reader.end();
  return found;
}

/** Names and times as GNU tar lists them. */
function listed(bytes: Buffer): string[] {
  const args = ['--full-time', '--utc', '--numeric-owner', '--quoting-style=escape', '-tvf', '-'];
  const lines = run('tar', args, { input: bytes }).toString().trim().split('\n');
  return lines.map((line) => line.split(/\s+/).slice(3).join(' '));
}

function asListed({ name, mtime }: TarEntry): string {
  return `${new Date(mtime * 1000).toISOString().replace('T', ' ').replace('.000Z', '')} ${name}`;
}

const file = archive({ name: 'header', mtime: 1_000_000_000 });
const pax = (flag: string, ...records: [string, string][]): Buffer =>
  extendedHeader(flag, ...records.map(([key, value]) => paxRecord(key, value)));

test('pax: of several extended headers the last counts, as for GNU tar', () => {
  const cases = [
    [pax('x', ['path', 'first']), pax('x', ['mtime', '5'])],
    [extendedHeader('L', 'long\0'), extendedHeader('L', 'longer\0')],
    [extendedHeader('L', 'long\0'), pax('x', ['path', 'pax'])],
    [pax('x', ['path', 'pax']), extendedHeader('L', 'long\0')],
    [extendedHeader('L', 'long\0'), pax('x', ['mtime', '5'])],
    [pax('g', ['path', 'global']), pax('x', ['path', 'own'])],
    [pax('g', ['mtime', '7']), extendedHeader('L', 'long\0')],
    [pax('x', ['path', 'one'], ['path', 'two'])],
  ];
  for (const headers of cases) {
    const bytes = Buffer.concat([...headers, file]);
    const ours = entries(bytes).filter(({ type }) => type !== 'none');
    assert.deepEqual(
      ours.map(asListed),
      listed(bytes),
      headers.map((header) => header.toString('latin1', 512, 540)).join(),
    );
  }
});

test('pax: a global header takes back only what it says itself', () => {
  const bytes = Buffer.concat([pax('g', ['path', 'one'], ['mtime', '7']), pax('g', ['path', 'two']), file]);
  assert.deepEqual([entries(bytes).at(-1)!.name, entries(bytes).at(-1)!.mtime], ['two', 7]);
});

test('pax: a word for one entry is none for the next', () => {
  const second = entryBytes({ name: 'second', mtime: 1_000_000_001 });
  const own = pax(
    'x',
    ['path', 'own'],
    ['mtime', '5'],
    ['SCHILY.xattr.user.x', 'y'],
    ['SCHILY.acl.access', 'user::rwx'],
  );
  const [first, other] = entries(Buffer.concat([own, extendedHeader('K', 'link\0'), file.subarray(0, 512), second]));
  assert.deepEqual([first!.name, first!.mtime, first!.linkname, first!.xattrs?.size], ['own', 5, 'link', 1]);
  assert.deepEqual([other!.name, other!.mtime, other!.linkname], ['second', 1_000_000_001, '']);
  assert.deepEqual([other!.xattrs, other!.acls], [undefined, undefined]);
});

test('pax: any order of pieces gives the same', () => {
  const value = 'v'.repeat(3000);
  const bytes = Buffer.concat([pax('x', ['SCHILY.xattr.user.x', value], ['path', 'n'.repeat(700)]), file]);
  const whole = entries(bytes);
  assert.equal(whole[0]!.xattrs?.get('user.x')?.toString(), value);
  for (const piece of [1, 100, 511, 513, 1000]) assert.deepEqual(entries(bytes, piece), whole);
});

test('pax: extended headers do not add up in memory', () => {
  const half = 'v'.repeat(600_000);
  const refused = (bytes: Buffer): void =>
    assert.throws(() => entries(bytes), { code: 'ERR_TSBOX_LIMIT', message: /at most 1048576 bytes/ });
  refused(Buffer.concat([pax('g', ['SCHILY.xattr.user.a', half]), pax('g', ['SCHILY.xattr.user.b', half]), file]));
  refused(Buffer.concat([pax('x', ['SCHILY.xattr.user.a', half], ['SCHILY.xattr.user.b', half]), file]));
  const again = Array.from({ length: 5 }, () => pax('g', ['SCHILY.xattr.user.a', half]));
  assert.equal(
    entries(Buffer.concat([...again, file])).at(-1)!.xattrs?.size,
    1,
    'a value said again is no more than one',
  );
  const lost = Array.from({ length: 5 }, (_, at) => pax('x', [`SCHILY.xattr.user.${at}`, half]));
  assert.deepEqual([...entries(Buffer.concat([...lost, file]))[0]!.xattrs!.keys()], ['user.4']);
});

test('pax: names in whatever encoding are bytes', async (t) => {
  const target = scratch(t);
  const name = Buffer.from('caf\xe9-\xff\xfe', 'latin1');
  const utf8 = Buffer.from('café');
  await apply(
    Buffer.concat([
      extendedHeader('x', paxRecord('hdrcharset', 'BINARY'), paxRecord('path', name)),
      entryBytes({ name: 'one' }),
      extendedHeader('x', paxRecord('hdrcharset', 'ISO-IR 10646 2000 UTF-8'), paxRecord('path', utf8)),
      entryBytes({ name: 'two' }),
      extendedHeader('L', Buffer.concat([Buffer.from('gnu-'), name, Buffer.of(0)])),
      entryBytes({ name: 'three' }),
      entryBytes({ name: 'ustar-\xe9\xff' }),
      Buffer.alloc(1024),
    ]),
    target,
  );
  const names = readdirSync(target, { encoding: 'latin1' }).sort();
  assert.deepEqual(names, [utf8.toString('latin1'), 'caf\xe9-\xff\xfe', 'gnu-caf\xe9-\xff\xfe', 'ustar-\xe9\xff']);
});

test('pax: a device number that the kernel would take for another', () => {
  const device = (major: string, minor: string): Buffer =>
    Buffer.concat([
      pax('x', ['SCHILY.devmajor', major], ['SCHILY.devminor', minor]),
      archive({ name: 'dev', type: 'char' }),
    ]);
  const [most] = entries(device('4095', '1048575'));
  assert.deepEqual([most!.deviceMajor, most!.deviceMinor], [4095, 1048575]);
  for (const bytes of [device('4096', '0'), device('4294967297', '3'), device('1', '1048576')]) {
    assert.throws(() => entries(bytes), { code: 'ERR_TSBOX_DAMAGED', message: /device number .* out of range/ });
  }
  const negative = patch(archive({ name: 'dev', type: 'block' }), 0, 329, Buffer.alloc(8, 0xff));
  assert.throws(() => entries(negative), /out of range/);
  assert.equal(entries(patch(archive({ name: 'file' }), 0, 329, 'rubbish\0'))[0]!.deviceMajor, 0, 'files have none');
});

test('pax: magic decides what the other fields are, as for GNU tar', () => {
  const device = archive({ name: 'dev', type: 'block', deviceMajor: 259, deviceMinor: 7 });
  const major = (bytes: Buffer): number => entries(bytes)[0]!.deviceMajor;
  assert.deepEqual(
    [major(device), major(patch(device, 0, 257, 'ustar  \0')), major(patch(device, 0, 257, '\0'))],
    [259, 259, 0],
  );
  const sparse = patch(archive({ name: 'f', data: 'data' }), 0, 156, 'S');
  assert.throws(() => entries(sparse), { code: 'ERR_TSBOX_DAMAGED', message: /without the map/ });
});

test('pax: times with and without fractions, before 1970, and far away', () => {
  const time = (value: string): [number, number] => {
    const [entry] = entries(Buffer.concat([pax('x', ['mtime', value]), file]));
    return [entry!.mtime, entry!.mtimeNsec];
  };
  assert.deepEqual(time('0'), [0, 0]);
  assert.deepEqual(time('-0'), [0, 0]);
  assert.deepEqual(time('1.5'), [1, 500_000_000]);
  assert.deepEqual(time('1.'), [1, 0]);
  assert.deepEqual(time('-1.25'), [-2, 750_000_000]);
  assert.deepEqual(time('-0.000000001'), [-1, 999_999_999]);
  assert.deepEqual(time('5.1234567899'), [5, 123_456_789]);
  assert.deepEqual(time('15032385535'), [15_032_385_535, 0]);
  assert.deepEqual(time('-9007199254740991'), [-9_007_199_254_740_991, 0]);
  for (const bad of ['x', '1e3', '--1', '1.x', ' 1', '9007199254740992', '99999999999999999', 'NaN']) {
    assert.throws(() => time(bad), { code: 'ERR_TSBOX_DAMAGED', message: /not a time/ }, bad);
  }
});

test('pax: what libarchive says of attributes', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const value = Buffer.from([0, 0x0a, 0x3d, 0xff]);
  const key = 'user.a%3Db%25'; // its own encoding of user.a=b%
  const both = Buffer.concat([
    extendedHeader('x', paxRecord(`LIBARCHIVE.xattr.${key}`, value.toString('base64').replace(/=+$/, ''))),
    entryBytes({ name: 'f' }),
    Buffer.alloc(1024),
  ]);
  assert.deepEqual(entries(both)[0]!.xattrs, new Map([['user.a=b%', value]]));
  const target = scratch(t);
  await apply(both, target);
  const shown = run('getfattr', ['-d', '-e', 'hex', '--absolute-names', join(target, 'f')]).toString();
  assert.match(shown, /user\.a\\075b%=0x000a3dff/);
  assert.equal(lstatSync(join(target, 'f')).size, 0);
});
