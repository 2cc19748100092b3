/** tsbox-union -o apart: a process that keeps neither its mount, nor what others unmount, nor what its caller has open. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { until } from './harness.ts';

const UNION = join(import.meta.dirname, '../../bin/tsbox-union');
const needs = ['root', 'file:/dev/fuse'] as const;

/** Directories l, u, w, m with a file in the lower one. */
function directories(t: TestContext): string {
  const at = mkdtempSync(join(tmpdir(), 'tsbox-apart-'));
  t.after(() => {
    spawnSync('umount', ['--lazy', `${at}/m`]);
    rmSync(at, { recursive: true });
  });
  for (const name of ['l', 'u', 'w', 'm']) mkdirSync(join(at, name));
  writeFileSync(join(at, 'l/file'), 'from below');
  return at;
}

const mount = (at: string) => `${UNION} -o apart,lowerdir=${at}/l,upperdir=${at}/u,workdir=${at}/w ${at}/m`;

function unions(at: string): number[] {
  const { stdout } = spawnSync('pgrep', ['-f', `union.* ${at}/m$`], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

function sh(script: string): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-euc', script], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  return stdout;
}

test('union: ends with the mount namespace in which it was mounted, when nobody unmounts it', async (t) => {
  if (!requires(t, ...needs)) return;
  const at = directories(t);
  const holder = spawn('unshare', ['--mount', 'sh', '-euc', `${mount(at)}; cat ${at}/m/file; read line`]);
  let said = '';
  holder.stdout.on('data', (data) => {
    said += data;
  });
  await until('the file', () => said === 'from below');
  assert.equal(unions(at).length, 1);
  holder.kill('SIGKILL');
  await until('the end of the union', () => unions(at).length === 0);
});

test('union: where another namespace has a copy of the mount, it ends when the mount point is removed', async (t) => {
  if (!requires(t, ...needs)) return;
  const at = directories(t);
  sh(mount(at));
  const other = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-euc', 'echo; read line']);
  t.after(() => other.kill('SIGKILL'));
  await new Promise((ready) => other.stdout.once('data', ready));
  sh(`umount ${at}/m`);
  assert.equal(unions(at).length, 1);
  sh(`rmdir ${at}/m; mkdir ${at}/m`);
  await until('the end of the union', () => unions(at).length === 0);
});

test('union: has no mounts but the root and /proc, and nothing open that its caller has', (t) => {
  if (!requires(t, ...needs)) return;
  const at = directories(t);
  // A pipe that is at its end only when nobody has the other one open.
  assert.equal(sh(`{ ${mount(at)} 7>&1 > /dev/null 2>&1; echo yes; } | cat`), 'yes\n');
  const [pid] = unions(at);
  const points = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n');
  assert.deepEqual(
    points.map((line) => line.split(' ')[4]).filter((point) => !point!.startsWith('/proc/')),
    ['/', '/proc'],
  );
  assert.equal(sh(`cat ${at}/m/file`), 'from below');
});

test('union: a layer that is not there: the error, and nothing is mounted', (t) => {
  if (!requires(t, ...needs)) return;
  const at = directories(t);
  rmSync(join(at, 'w'), { recursive: true });
  const { status, stderr } = spawnSync('sh', ['-c', mount(at).replace('/l,', '/gone,')], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^tsbox-union: lowerdir: .*ENOENT/m);
  assert.equal(spawnSync('mountpoint', ['--quiet', `${at}/m`]).status, 32);
  assert.deepEqual(unions(at), []);
});

test('union: where few files may be open it keeps fewer open', (t) => {
  if (!requires(t, ...needs)) return;
  const at = directories(t);
  const count = 300;
  for (let number = 0; number < count; number++) {
    mkdirSync(join(at, `l/${number}`));
    writeFileSync(join(at, `l/${number}/file`), 'x');
  }
  const seen = sh(`(ulimit -n 128; exec ${mount(at)}); cat ${at}/m/*/file | wc -c
    for d in ${at}/m/*/; do echo more > $d/new; done; cat ${at}/m/*/* | wc -c; umount ${at}/m`);
  assert.equal(seen, `${count}\n${count * 6}\n`);
});
