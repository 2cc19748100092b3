/** Owners, permissions, times, attributes and access lists, as GNU tar unpacks them. */
import assert from 'node:assert/strict';
import { chmodSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { diffLayer } from '../../src/layer/diff.ts';
import { requires } from '../requires.ts';
import {
  apply,
  archive,
  attributes,
  collect,
  entryBytes,
  extendedHeader,
  type Made,
  MEMORY,
  paxRecord,
  run,
  scratch,
  snapshot,
} from './layer-support.ts';

const TAR = ['--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner', '--warning=no-timestamp', '-xpf', '-'];

/** Unpacks with tsbox and with GNU tar: the same tree, attributes included, and packed again the same as what came. */
async function same(t: TestContext, bytes: Buffer): Promise<string> {
  const [ours, theirs] = [scratch(t, MEMORY), scratch(t, MEMORY)];
  const { notices } = await apply(bytes, ours);
  assert.deepEqual(notices, []);
  run('tar', TAR, { cwd: theirs, input: bytes });
  assert.deepEqual({ ...snapshot(ours), '.': '' }, { ...snapshot(theirs), '.': '' });
  assert.equal(attributes(ours), attributes(theirs));
  return ours;
}

test('metadata: times before 1970, after 2038 and 2446, with nanoseconds, of everything', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const times = [-1, -(2 ** 31), -(2 ** 33), 0, 2 ** 31, 2 ** 32, 15_032_385_536, 2 ** 40];
  const made: Made[] = times.flatMap((mtime, at): Made[] => [
    { name: `d${at}/`, mtime, mtimeNsec: at },
    { name: `d${at}/f`, mtime, mtimeNsec: 999_999_999 },
    { name: `d${at}/s`, type: 'symlink', linkname: 'x', mtime, mtimeNsec: at },
    { name: `d${at}/p`, type: 'fifo', mtime, mtimeNsec: 1 },
  ]);
  const bytes = archive(...made);
  const target = await same(t, bytes);
  assert.ok((await collect(diffLayer(target, { whiteouts: 'overlay' }))).equals(archive(...sorted(made))));
});

function sorted(made: Made[]): Made[] {
  return [...made].sort((a, b) => (a.name < b.name ? -1 : 1)).map((one) => ({ ...one, mode: modeOf(one) }));
}

function modeOf({ type, name }: Made): number {
  return type === 'symlink' ? 0o777 : name.endsWith('/') ? 0o755 : 0o644;
}

test('metadata: owners up to the last that there is', async (t) => {
  if (!requires(t, 'root', 'command:getfattr')) return;
  const ids = [2 ** 21 - 1, 2 ** 21, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2];
  const made = ids.map((id, at): Made => ({ name: `f${at}`, uid: id, gid: ids[ids.length - 1 - at]! }));
  const link: Made = { name: 's', type: 'symlink', linkname: 'x', uid: 2 ** 31, gid: 5 };
  const target = await same(t, archive(...made, link));
  assert.equal(lstatSync(join(target, 'f4')).uid, 2 ** 32 - 2);
});

test('metadata: set-user-ID, set-group-ID and sticky bits outlast the change of owner', async (t) => {
  if (!requires(t, 'root', 'command:getfattr')) return;
  const owner = { uid: 1234, gid: 4321 };
  const modes = [0o4755, 0o2755, 0o1755, 0o7777, 0o6000];
  const made = modes.flatMap((mode, at): Made[] => [
    { name: `f${at}`, mode, data: 'x', ...owner },
    { name: `d${at}/`, mode, ...owner },
  ]);
  const before = process.umask(0o077);
  try {
    const target = await same(t, archive(...made));
    for (const [at, mode] of modes.entries()) {
      assert.equal(lstatSync(join(target, `f${at}`)).mode & 0o7777, mode);
      assert.equal(lstatSync(join(target, `d${at}`)).mode & 0o7777, mode);
    }
  } finally {
    process.umask(before);
  }
});

test('metadata: directories that nobody may enter or write, with all they have', async (t) => {
  const made = [
    { name: 'a/', mode: 0o500 },
    { name: 'a/b/', mode: 0 },
    { name: 'a/b/c/', mode: 0o111 },
    { name: 'a/b/c/f', data: 'f', mode: 0 },
    { name: 'late/d/f', data: 'f' },
    { name: 'late/d/', mode: 0 },
    { name: 'late/', mode: 0o500 },
  ];
  const target = scratch(t);
  await apply(archive(...made), target);
  const mode = (name: string): number => lstatSync(join(target, name)).mode & 0o7777;
  assert.deepEqual(['a', 'late'].map(mode), [0o500, 0o500]);
  for (const name of ['a/b', 'late/d']) {
    assert.equal(mode(name), 0);
    chmodSync(join(target, name), 0o700);
  }
  assert.deepEqual(['a/b/c', 'a/b/c/f', 'late/d/f'].map(mode), [0o111, 0, 0o644]);
});

test('metadata: values of attributes are bytes: NUL, line feed, "=", nothing at all, 60 KB', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const values: [string, Buffer][] = [
    ['user.nul', Buffer.from([0, 0, 1, 0])],
    ['user.line', Buffer.from('a\nb=c\n')],
    ['user.empty', Buffer.alloc(0)],
    ['user.caf\xe9', Buffer.from([0xff, 0xfe])],
    ['user.with=%25%3D', Buffer.from('percent')],
  ];
  const target = scratch(t);
  const xattrs = new Map(values);
  const made: Made[] = [
    { name: 'd/', xattrs },
    { name: 'd/f', xattrs },
  ];
  const bytes = archive(...made);
  const { notices } = await apply(bytes, target);
  assert.deepEqual(notices, []);
  const shown = (value: Buffer): string => `=0x${value.toString('hex')}`;
  const dump = run('getfattr', ['-d', '-e', 'hex', '--absolute-names', join(target, 'd/f')]).toString();
  for (const [name, value] of values.slice(0, 2)) assert.ok(dump.includes(`${name}${shown(value)}\n`), dump);
  assert.ok((await collect(diffLayer(target, { whiteouts: 'overlay' }))).equals(bytes));
  const large = new Map([['user.large', Buffer.alloc(60_000, 'v')]]);
  const { notices: none } = await apply(archive({ name: 'large', xattrs: large }), scratch(t, MEMORY));
  assert.deepEqual(none, []);
});

test('metadata: capabilities of both versions, with owner and set-user-ID bit', async (t) => {
  if (!requires(t, 'root', 'command:getfattr')) return;
  const made = [
    ['two', '0100000200200000000000000000000000000000'],
    ['three', '0100000300200000000000000000000000000000a0860100'],
  ].map(([name, hex]): Made => {
    const xattrs = new Map([['security.capability', Buffer.from(hex!, 'hex')]]);
    return { name: name!, uid: 7, mode: 0o4755, data: 'x', xattrs };
  });
  const target = await same(t, archive(...made));
  assert.match(attributes(target), /security.capability=0x0100000300200000000000000000000000000000a0860100/);
  assert.ok((await collect(diffLayer(target, { whiteouts: 'overlay' }))).equals(archive(...made.reverse())));
});

test('metadata: an empty capability, which can be set and not read, is packed as none', async (t) => {
  if (!requires(t, 'root')) return;
  const target = scratch(t);
  const xattrs = new Map([['security.capability', Buffer.alloc(0)]]);
  await apply(archive({ name: 'f', xattrs }), target);
  assert.ok((await collect(diffLayer(target, { whiteouts: 'overlay' }))).equals(archive({ name: 'f' })));
});

test('metadata: an attribute that no file of this kind can have is left out, and said', async (t) => {
  const target = scratch(t);
  const xattrs = new Map([['user.x', Buffer.from('y')]]);
  const link: Made = { name: 's', type: 'symlink', linkname: 'x', xattrs };
  const { notices } = await apply(archive(link, { ...link, name: 's2' }, { name: 'f', xattrs }), target);
  assert.deepEqual(notices, ['left out of 2 entries: attribute user.x: not permitted']);
  const strange = new Map([['nosuch.x', Buffer.from('y')]]);
  const other = await apply(archive({ name: 'g', xattrs: strange }), scratch(t));
  assert.deepEqual(other.notices, ['left out of 1 entry: attribute nosuch.x: not supported']);
});

function withAcl(name: string, ...records: [string, string][]): Buffer {
  const header = extendedHeader('x', ...records.map(([key, value]) => paxRecord(`SCHILY.acl.${key}`, value)));
  return Buffer.concat([header, entryBytes({ name })]);
}

test('metadata: access lists in the ways that GNU tar, star and libarchive write them', async (t) => {
  if (!requires(t, 'command:setfacl')) return;
  const lists = [
    'user::rwx\nuser:1000:r-x\ngroup::r--\nmask::r-x\nother::---\n',
    'user::rwx,user:1000:r-x,group::r--,mask::r-x,other::---',
    'u::rwx,u:1000:r-x,g::r--,m::r-x,o::---',
    'user::rwx,user:somebody:r-x:1000,group::r--,mask::r-x,other::---',
    ' other:---,mask:r-x,group::r--,user:1000:r-x # effective:r-x\nuser::rwx',
  ];
  const bytes = Buffer.concat([...lists.map((list, at) => withAcl(`f${at}`, ['access', list])), Buffer.alloc(1024)]);
  const target = scratch(t);
  assert.deepEqual((await apply(bytes, target)).notices, []);
  const shown = lists.map((_, at) => run('getfacl', ['-ncp', join(target, `f${at}`)]).toString());
  for (const list of shown) assert.equal(list, 'user::rwx\nuser:1000:r-x\ngroup::r--\nmask::r-x\nother::---\n\n');
});

test('metadata: an access list that cannot be is left out, and said', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const bytes = Buffer.concat([
    withAcl('name', ['access', 'user::rwx,user:nobody-knows:r-x,group::r--,mask::r-x,other::---']),
    withAcl('none', ['access', 'everyone@:rwxpdDaARWcCos:fd:allow']),
    withAcl('nfs', ['ace', 'owner@:rw-p--aARWcCos:-------:allow']),
    withAcl('part', ['access', 'user::rwx']),
    withAcl('default', ['default', 'user::rwx,group::r-x,other::r-x']),
    withAcl('huge', ['access', 'user::rwx,user:4294967295:r-x,group::r--,mask::r-x,other::---']),
    Buffer.alloc(1024),
  ]);
  const target = scratch(t);
  const { notices } = await apply(bytes, target);
  assert.deepEqual(notices, [
    'left out of 4 entries: an ACL that names users or groups, or is none of POSIX',
    'left out of 1 entry: an ACL that cannot be (access)',
    'left out of 1 entry: an ACL that cannot be (default)',
  ]);
  assert.equal(attributes(target), '');
  assert.equal(readdirSync(target).length, 6);
});

test('metadata: a default ACL of the directory that is unpacked into does not reach the layer', async (t) => {
  if (!requires(t, 'command:setfacl')) return;
  const root = scratch(t);
  run('setfacl', ['-d', '-m', 'u::rwx,g::-,o::-,u:54321:rwx,m:rwx', root]);
  mkdirSync(join(root, 'layer'));
  const made: Made[] = [
    { name: 'f', mode: 0o644 },
    { name: 'd/', mode: 0o755 },
    { name: 'd/g', mode: 0o666 },
    { name: 'i/f' },
  ];
  await apply(archive(...made), join(root, 'layer'));
  assert.equal(attributes(join(root, 'layer')).includes('acl_default'), false);
  const modes = ['f', 'd', 'd/g', 'i', 'i/f'].map((name) => lstatSync(join(root, 'layer', name)).mode & 0o777);
  assert.deepEqual(modes, [0o644, 0o755, 0o666, 0o755, 0o644]);
  const below = run('getfattr', ['-R', '-d', '-m-', '--absolute-names', join(root, 'layer/d'), join(root, 'layer/f')]);
  assert.equal(below.toString(), '');
});

test('metadata: devices with the largest numbers, and those of an overlay', async (t) => {
  if (!requires(t, 'root', 'command:getfattr')) return;
  const target = await same(
    t,
    archive(
      { name: 'c', type: 'char', deviceMajor: 4095, deviceMinor: 1_048_575, mode: 0o6640, uid: 3 },
      { name: 'b', type: 'block', deviceMajor: 259, deviceMinor: 300, mode: 0 },
      { name: 'zero', type: 'block', deviceMajor: 0, deviceMinor: 0 },
    ),
  );
  assert.equal(run('stat', ['-c', '%t:%T', join(target, 'c')]).toString(), 'fff:fffff\n');
});

test('metadata: a file of 9 GB that is one hole and a last word', async (t) => {
  const root = scratch(t);
  for (const name of ['from', 'ours']) mkdirSync(join(root, name));
  run('bash', ['-c', 'truncate -s 9G big; echo end >> big'], { cwd: join(root, 'from') });
  for (const format of ['gnu', 'pax']) {
    const bytes = run('tar', [`--format=${format}`, '-S', '-cf', '-', 'big'], { cwd: join(root, 'from') });
    const { size } = await apply(bytes, join(root, 'ours'));
    assert.equal(size, 9 * 2 ** 30 + 4);
    const stat = lstatSync(join(root, 'ours/big'));
    assert.equal(stat.size, 9 * 2 ** 30 + 4);
    assert.ok(stat.blocks < 1000);
    assert.equal(run('tail', ['-c', '4', join(root, 'ours/big')]).toString(), 'end\n');
    run('rm', [join(root, 'ours/big')]);
  }
});
