import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../requires.ts';
import { apply, archive, asRoot, attributes, run, scratch, sha256, snapshot } from './layer-support.ts';

for (const format of ['v7', 'ustar', 'gnu', 'pax']) {
  test(`apply: a tree packed as ${format} is the one that GNU tar unpacks`, async (t) => {
    const root = scratch(t);
    mkdirSync(join(root, 'from/a/b'), { recursive: true });
    mkdirSync(join(root, 'from/locked'), { mode: 0o555 });
    writeFileSync(join(root, 'from/a/file'), 'data'.repeat(500), { mode: 0o600 });
    writeFileSync(join(root, 'from/a/b/setuid'), 'x');
    run('chmod', ['6755', join(root, 'from/a/b/setuid')]);
    linkSync(join(root, 'from/a/file'), join(root, 'from/z-link'));
    symlinkSync('../nowhere', join(root, 'from/a/symlink'));
    run('bash', ['-c', "printf name > $'from/a/\\xff\\xfe'; chmod 1777 from/a/b"], { cwd: root });
    if (format !== 'v7') run('mkfifo', ['-m', '604', join(root, 'from/fifo')]);
    if (asRoot) run('chown', ['-hR', '1234:4321', join(root, 'from/a')]);
    run('chmod', ['6755', join(root, 'from/a/b/setuid')]);
    utimesSync(join(root, 'from/a'), 1_500_000_000, 1_500_000_000.25);
    const bytes = run('tar', [`--format=${format}`, '--numeric-owner', '-cf', '-', '.'], { cwd: join(root, 'from') });
    mkdirSync(join(root, 'theirs'));
    mkdirSync(join(root, 'ours'));
    run('tar', ['-xpf', '-', '--numeric-owner'], { cwd: join(root, 'theirs'), input: bytes });
    const applied = await apply(bytes, join(root, 'ours'));
    assert.deepEqual(snapshot(join(root, 'ours')), snapshot(join(root, 'theirs')));
    assert.equal(applied.diffId, sha256(bytes));
    assert.equal(applied.size, 2000 + 1 + 4 + '../nowhere'.length);
  });
}

test('apply: attributes of users, with bytes that are no text', async (t) => {
  if (!requires(t, 'command:setfattr')) return;
  const root = scratch(t);
  mkdirSync(join(root, 'from/d'), { recursive: true });
  writeFileSync(join(root, 'from/d/f'), 'f');
  run('setfattr', ['-n', 'user.binary', '-v', '0x00ff0a3d00', join(root, 'from/d/f')]);
  run('setfattr', ['-n', 'user.with=sign%', '-v', 'x', join(root, 'from/d/f')]);
  run('setfattr', ['-n', 'user.directory', '-v', 'yes', join(root, 'from/d')]);
  const bytes = run('tar', ['--format=pax', '--xattrs', '--xattrs-include=user.*', '-cf', '-', '.'], {
    cwd: join(root, 'from'),
  });
  mkdirSync(join(root, 'to'));
  const { notices } = await apply(bytes, join(root, 'to'));
  assert.equal(attributes(join(root, 'to')), attributes(join(root, 'from')));
  assert.deepEqual(notices, []);
});

test('apply: an access list as GNU tar writes it', async (t) => {
  if (!requires(t, 'command:setfacl')) return;
  const root = scratch(t);
  mkdirSync(join(root, 'from/d'), { recursive: true });
  writeFileSync(join(root, 'from/d/f'), 'f');
  run('setfacl', ['-m', 'u:54321:rwx,g:54322:r--,m:rx', join(root, 'from/d/f')]);
  run('setfacl', ['-m', 'd:u:54321:rwx', join(root, 'from/d')]);
  const bytes = run('tar', ['--acls', '-cf', '-', '.'], { cwd: join(root, 'from') });
  assert.ok(bytes.includes('SCHILY.acl.default'));
  mkdirSync(join(root, 'to'));
  await apply(bytes, join(root, 'to'));
  const list = (directory: string): string => run('getfacl', ['-Rnp', '.'], { cwd: join(root, directory) }).toString();
  assert.equal(list('to'), list('from'));
});

test('apply: an entry replaces an earlier one of any other type', async (t) => {
  const target = scratch(t);
  const types = {
    file: (name: string) => ({ name, data: 'new' }),
    directory: (name: string) => ({ name: `${name}/` }),
    symlink: (name: string) => ({ name, type: 'symlink' as const, linkname: 'elsewhere' }),
    fifo: (name: string) => ({ name, type: 'fifo' as const }),
    link: (name: string) => ({ name, type: 'link' as const, linkname: 'one' }),
  };
  const entries = [{ name: 'one', data: 'one' }];
  for (const [before, first] of Object.entries(types)) {
    for (const [after, second] of Object.entries(types)) {
      const name = `${before}-${after}`;
      entries.push(first(name) as never);
      if (before === 'directory' && after !== 'directory') entries.push({ name: `${name}/deep/er/file`, data: 'gone' });
      entries.push(second(name) as never);
    }
  }
  await apply(archive(...entries), target);
  for (const before of Object.keys(types)) {
    for (const after of Object.keys(types)) {
      const path = join(target, `${before}-${after}`);
      const stat = lstatSync(path);
      const is = {
        file: stat.isFile(),
        directory: stat.isDirectory(),
        symlink: stat.isSymbolicLink(),
        fifo: stat.isFIFO(),
      };
      assert.ok(after === 'link' ? is.file : is[after as keyof typeof is], `${before} replaced by ${after}`);
      if (after === 'file') assert.equal(readFileSync(path, 'utf8'), 'new');
      if (after === 'link') assert.equal(readFileSync(path, 'utf8'), 'one');
    }
  }
  assert.equal(readFileSync(join(target, 'one'), 'utf8'), 'one', 'a file is not written through its other name');
});

test('apply: parents may come late or never, and directories keep the time that they are given', async (t) => {
  const target = scratch(t);
  const dated = { mtime: 1_400_000_000, mtimeNsec: 123_456_789 };
  await apply(
    archive(
      { name: 'a/b/c', data: 'c' },
      { name: 'a/b/', mode: 0o700, ...dated },
      { name: 'a/', mode: 0o555, ...dated },
      { name: 'a/b/late', data: 'late' },
      { name: 'x/y', data: 'y' },
    ),
    target,
  );
  for (const [name, mode] of [
    ['a', 0o555],
    ['a/b', 0o700],
  ] as const) {
    const stat = lstatSync(join(target, name), { bigint: true });
    assert.equal(Number(stat.mode & 0o7777n), mode);
    assert.equal(stat.mtimeNs, 1_400_000_000_123_456_789n);
  }
  assert.equal(lstatSync(join(target, 'x')).mode & 0o7777, 0o755);
  assert.equal(readFileSync(join(target, 'a/b/late'), 'utf8'), 'late');
});

test('apply: permissions are those of the archive, whatever the umask', async (t) => {
  const target = scratch(t);
  const before = process.umask(0o077);
  try {
    await apply(archive({ name: 'open', mode: 0o666 }, { name: 'd/', mode: 0o777 }, { name: 'implied/f' }), target);
  } finally {
    process.umask(before);
  }
  assert.equal(lstatSync(join(target, 'open')).mode & 0o7777, 0o666);
  assert.equal(lstatSync(join(target, 'd')).mode & 0o7777, 0o777);
  assert.equal(lstatSync(join(target, 'implied')).mode & 0o7777, 0o755);
});

test('apply: a hard link may come before its file', async (t) => {
  const target = scratch(t);
  await apply(archive({ name: 'early', type: 'link', linkname: './late' }, { name: 'late', data: 'late' }), target);
  assert.equal(lstatSync(join(target, 'early')).ino, lstatSync(join(target, 'late')).ino);
});

test('apply: a hard link to itself changes nothing', async (t) => {
  const target = scratch(t);
  await apply(archive({ name: 'self', data: 'self' }, { name: 'self', type: 'link', linkname: 'self' }), target);
  assert.equal(readFileSync(join(target, 'self'), 'utf8'), 'self');
});

test('apply: without a union, whiteouts remove what the lower layers brought and nothing of their own layer', async (t) => {
  const target = scratch(t);
  const remove = { whiteouts: 'remove' } as const;
  await apply(
    archive(
      { name: 'd/', mode: 0o700 },
      { name: 'd/old', data: 'old' },
      { name: 'd/sub/deep', data: 'old' },
      { name: 'tree/x/y', data: 'old' },
      { name: 'again', data: 'old' },
      { name: 'parent', type: 'symlink', linkname: 'd' },
    ),
    target,
    remove,
  );
  await apply(
    archive(
      { name: 'd/new', data: 'new' },
      { name: 'd/.wh..wh..opq' },
      { name: 'd/sub/new', data: 'new' },
      { name: '.wh.tree' },
      { name: 'again', data: 'new' },
      { name: '.wh.again' },
      { name: '.wh.never-was' },
      { name: 'parent/f', data: 'new' },
    ),
    target,
    remove,
  );
  const names = Object.keys(snapshot(target)).sort();
  assert.deepEqual(names, ['.', './again', './d', './d/new', './d/sub', './d/sub/new', './parent', './parent/f']);
  assert.equal(readFileSync(join(target, 'again'), 'utf8'), 'new');
  assert.equal(lstatSync(join(target, 'd')).mode & 0o777, 0o700);
});

test('apply: bookkeeping of aufs is ignored', async (t) => {
  const target = scratch(t);
  const files = [
    { name: '.wh..wh.plnk/' },
    { name: '.wh..wh.plnk/1.2', data: 'x' },
    { name: '.wh..wh.aufs' },
    { name: 'f' },
  ];
  await apply(archive(...files), target);
  assert.deepEqual(Object.keys(snapshot(target)), ['.', './f']);
});

test('apply: an empty archive is an empty layer', async (t) => {
  const target = scratch(t);
  const bytes = Buffer.alloc(1024);
  const { diffId, size, entries } = await apply(bytes, target);
  assert.deepEqual([diffId, size, entries], [sha256(bytes), 0, 0]);
  assert.ok(existsSync(target));
});

test('apply: limits on bytes and entries, holes included', async (t) => {
  const limit = { code: 'ERR_TSBOX_LIMIT' };
  const bytes = archive({ name: 'a', data: 'x'.repeat(5000) }, { name: 'b' });
  await assert.rejects(apply(bytes, scratch(t), { limits: { maxBytes: 4000 } }), limit);
  await assert.rejects(apply(bytes, scratch(t), { limits: { maxEntries: 1 } }), limit);
  const root = scratch(t);
  run('truncate', ['-s', '1G', join(root, 'hole')]);
  const sparse = run('tar', ['-S', '--format=pax', '-cf', '-', 'hole'], { cwd: root });
  await assert.rejects(apply(sparse, scratch(t), { limits: { maxBytes: 1e8 } }), limit);
});
