import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, linkSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Parser } from 'tar';
import { diffLayer, writeTree } from '../../src/layer/diff.ts';
import { requires } from '../requires.ts';
import { apply, archive, asRoot, attributes, collect, entryBytes, run, scratch, snapshot } from './layer-support.ts';

/** Names without the root, whose own entry a layer does not have. */
function content(directory: string): Record<string, string> {
  const { '.': _, ...rest } = snapshot(directory);
  return rest;
}

function build(root: string): void {
  mkdirSync(join(root, 'a/b'), { recursive: true });
  writeFileSync(join(root, 'a/big'), 'z'.repeat(600_000), { mode: 0o640 });
  writeFileSync(join(root, 'a/b/small'), 's');
  linkSync(join(root, 'a/big'), join(root, 'z'));
  symlinkSync('../up', join(root, 'a/s'));
  symlinkSync(`/${'long/'.repeat(50)}`, join(root, 'a/long-symlink'));
  run('bash', ['-c', "mkfifo -m 600 a/fifo; printf x > $'a/\\xff\\xe9'; chmod 6711 a/b/small"], { cwd: root });
  mkdirSync(join(root, 'deep', 'd'.repeat(200), 'e'.repeat(200)), { recursive: true });
  writeFileSync(join(root, 'deep', 'd'.repeat(200), 'e'.repeat(200), 'f'.repeat(200)), 'deep');
  writeFileSync(join(root, 'deep', 'p'.repeat(90)), 'name and prefix');
  run('bash', ['-c', "mkdir -p $'deep/\\xff'; printf y > $'deep/\\xff/'$(printf 'n%.0s' {1..200})"], { cwd: root });
  run('touch', ['-d', '1969-06-01 00:00:00.25 UTC', join(root, 'a/b')]);
  run('touch', ['-d', '@99999999999.5', join(root, 'a/b/small')]);
  run('setfattr', ['-n', 'user.binary', '-v', '0x00ff0a3d00', join(root, 'a/big')]);
  run('setfattr', ['-n', 'user.a=b%', '-v', 'x', join(root, 'a/b')]);
  if (asRoot) run('chown', ['-h', '3000000:4000000', join(root, 'a/s'), join(root, 'a/b')]);
}

test('write: GNU tar unpacks the tree that was packed', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const [from, to] = [scratch(t), scratch(t)];
  build(from);
  const bytes = await collect(writeTree(from));
  run('tar', ['-xpf', '-', '--xattrs', '--xattrs-include=*', '--same-owner'], { cwd: to, input: bytes });
  assert.deepEqual(content(to), content(from));
  assert.equal(attributes(to), attributes(from));
});

test('write: unpacked and packed again it is the same, byte for byte', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const [from, to] = [scratch(t), scratch(t)];
  build(from);
  const bytes = await collect(writeTree(from));
  await apply(bytes, to);
  assert.deepEqual(content(to), content(from));
  assert.ok((await collect(writeTree(to))).equals(bytes));
  assert.ok(
    (await collect(diffLayer(from, { whiteouts: 'overlay' }))).equals(bytes),
    'a diff without whiteouts is a tree',
  );
});

test('write: names come in the order of their bytes, whatever the order in the directory', async (t) => {
  const root = scratch(t);
  for (const name of ['b', 'a', 'é', 'B', 'a.b', 'aa', 'z']) writeFileSync(join(root, name), name);
  mkdirSync(join(root, 'a-dir'));
  const names = run('tar', ['-tf', '-', '--quoting-style=literal'], { input: await collect(writeTree(root)) });
  assert.deepEqual(names.toString().trim().split('\n'), ['B', 'a', 'a-dir/', 'a.b', 'aa', 'b', 'z', 'é']);
});

test('write: the tar package reads it', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const root = scratch(t);
  build(root);
  const bytes = await collect(writeTree(root));
  const seen: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const parser = new Parser({ strict: true });
    parser.on('entry', (entry: { path: string; resume(): void }) => {
      seen.push(entry.path);
      entry.resume();
    });
    parser.on('end', resolve);
    parser.on('error', reject);
    parser.end(bytes);
  });
  assert.ok(seen.includes(`deep/${'d'.repeat(200)}/${'e'.repeat(200)}/${'f'.repeat(200)}`));
});

test('write: only what does not fit in ustar costs a PAX header', () => {
  assert.equal(entryBytes({ name: 'f' }).length, 512);
  assert.equal(entryBytes({ name: `${'p'.repeat(155)}/${'n'.repeat(100)}` }).length, 512);
  assert.equal(entryBytes({ name: 'caf\xe9' }).length, 512);
  assert.equal(entryBytes({ name: 'f', uid: 0o7777777 }).length, 512);
  for (const more of [
    { name: 'n'.repeat(101) },
    { uid: 0o10000000 },
    { mtimeNsec: 1 },
    { mtime: -1 },
    { linkname: 'l'.repeat(101) },
  ]) {
    assert.equal(entryBytes({ name: 'f', ...more }).length, 3 * 512, JSON.stringify(more));
  }
});

test('diff: sockets are left out, excluded directories with all they have', async (t) => {
  const root = scratch(t);
  for (const name of ['keep', 'drop/é', 'keep/drop']) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, 'drop/é/f'), '');
  writeFileSync(join(root, 'keep/f'), '');
  const server = createServer().listen(join(root, 'socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  const asked: string[] = [];
  const notices: string[] = [];
  const bytes = await collect(
    diffLayer(root, {
      whiteouts: 'overlay',
      onNotice: (notice) => notices.push(notice),
      exclude(path) {
        asked.push(path);
        return path === 'drop/é' || path === 'keep/drop';
      },
    }),
  );
  server.close();
  assert.equal(run('tar', ['-tf', '-'], { input: bytes }).toString(), 'drop/\nkeep/\nkeep/f\n');
  assert.deepEqual(notices, ['"socket" is a socket and was left out']);
  assert.deepEqual(asked, ['drop', 'drop/é', 'keep', 'keep/drop', 'keep/f', 'socket']);
});

test('diff: a real file with the name of a whiteout is refused, and packed by export', async (t) => {
  const root = scratch(t);
  writeFileSync(join(root, '.wh.x'), 'real');
  await assert.rejects(collect(diffLayer(root, { whiteouts: 'overlay' })), {
    code: 'ERR_TSBOX_UNSUPPORTED',
    message: /\.wh\.x/,
  });
  assert.equal(run('tar', ['-xOf', '-'], { input: await collect(writeTree(root)) }).toString(), 'real');
});

test('write: a symlink to a directory is not walked, and no tree is too deep', async (t) => {
  const root = scratch(t);
  symlinkSync('/etc', join(root, 'etc'));
  // Longer than PATH_MAX, so the second half is made from a descriptor on the first.
  const half = 'dd/'.repeat(750);
  mkdirSync(join(root, half), { recursive: true });
  const fd = openSync(join(root, half), 'r');
  mkdirSync(`/proc/self/fd/${fd}/${half}`, { recursive: true });
  writeFileSync(`/proc/self/fd/${fd}/${half}f`, 'deep');
  closeSync(fd);
  writeFileSync(join(root, 'last'), 'last');
  const bytes = await collect(writeTree(root));
  const names = run('tar', ['-tf', '-'], { input: bytes }).toString().split('\n');
  assert.equal(names.length, 1500 + 3 + 1);
  assert.equal(names[1500], `${'dd/'.repeat(1500)}f`);
  assert.deepEqual(names.slice(1501), ['etc', 'last', '']);
});

test('diff: whiteouts and opaque directories for rootless overlays', async (t) => {
  if (!requires(t, 'command:getfattr')) return;
  const [target, again] = [scratch(t), scratch(t)];
  const bytes = archive(
    { name: 'd/' },
    { name: 'd/.wh..wh..opq', mode: 0o600 },
    { name: 'd/f', data: 'f' },
    { name: '.wh.gone', mode: 0o600 },
  );
  await apply(bytes, target, { whiteouts: 'overlay-user' });
  const stat = run('stat', ['-c', '%F %t:%T', join(target, 'gone')]).toString();
  assert.equal(stat, 'character special file 0:0\n');
  assert.match(run('getfattr', ['-d', '--absolute-names', join(target, 'd')]).toString(), /user\.overlay\.opaque="y"/);
  const packed = await collect(diffLayer(target, { whiteouts: 'overlay-user' }));
  const names = run('tar', ['-tf', '-'], { input: packed }).toString().split('\n');
  assert.deepEqual(names, ['d/', 'd/.wh..wh..opq', 'd/f', '.wh.gone', '']);
  await apply(packed, again, { whiteouts: 'overlay-user' });
  assert.deepEqual(Object.keys(content(again)), Object.keys(content(target)));
});

/** Makes, replaces, renames and removes things of all kinds in the directory, until it is killed. */
const RESTLESS = `
  import { linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
  import { execFileSync } from 'node:child_process';
  process.chdir(process.argv[1]);
  execFileSync('mkfifo', ['fifo']);
  const kinds = [
    (name) => writeFileSync(name, 'x'.repeat(5000)),
    (name) => symlinkSync('somewhere', name),
    (name) => mkdirSync(name + '/d/e', { recursive: true }),
    (name) => linkSync('kept', name),
    (name) => linkSync('fifo', name),
  ];
  for (let at = 0; ; at++) {
    const name = 'n' + (at * 7) % 40;
    try {
      if (at % 3 === 0) rmSync(name, { recursive: true, force: true });
      else if (at % 3 === 1) kinds[(at * 11) % kinds.length](name);
      else renameSync(name, 'n' + (at * 13) % 40);
    } catch {}
  }`;

test('write: a tree that changes while it is read gives an archive all the same', async (t) => {
  const root = scratch(t);
  writeFileSync(join(root, 'kept'), 'kept');
  const child = spawn(process.execPath, ['--input-type=module', '-e', RESTLESS, root], { stdio: 'ignore' });
  try {
    while (!existsSync(join(root, 'n1'))) await sleep(10);
    for (let times = 0; times < 200; times++) {
      const bytes = await collect(writeTree(root));
      if (times % 20 === 0) run('tar', ['-tf', '-'], { input: bytes });
    }
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
});
