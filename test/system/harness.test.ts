/** The harness must see what is left behind, or every system test is worth less. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { until } from './harness.ts';
import { leftovers, removeLeftovers } from './leftovers.ts';
import { terminal } from './tmux.ts';

function temporary(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Cgroups are of whatever sandbox: what other tests have is not looked at here. */
async function left(directory: string, patience?: number): Promise<string[]> {
  return (await leftovers(directory, patience)).filter((line) => !line.startsWith('cgroup '));
}

test('leftovers: nothing is found where nothing is', async (t) => {
  assert.deepEqual(await left(temporary(t)), []);
});

test('leftovers: a mount is found and removed', async (t) => {
  if (!requires(t, 'root')) return;
  const directory = temporary(t);
  mkdirSync(join(directory, 'd/overlay2/a/merged'), { recursive: true });
  const point = join(directory, 'd/overlay2/a/merged');
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', point]).status, 0);
  const found = await left(directory, 1_000);
  removeLeftovers(directory, found);
  assert.deepEqual(found, [`mount ${point}`]);
  assert.deepEqual(await left(directory), []);
});

test('leftovers: a process with an open file is found and ended', async (t) => {
  const directory = temporary(t);
  mkdirSync(join(directory, 'd'));
  const child = spawn('sh', ['-c', `exec 9>${directory}/d/log; exec sleep 60`]);
  t.after(() => child.kill('SIGKILL'));
  await until('sleep', () => readFileSync(`/proc/${child.pid}/cmdline`, 'utf8') === 'sleep\x0060\0');
  const found = await left(directory, 1_000);
  assert.deepEqual(found, [`process ${child.pid}: sleep 60 `]);
  removeLeftovers(directory, found);
  assert.deepEqual(await left(directory), []);
});

test('leftovers: directories of containers are found', async (t) => {
  const directory = temporary(t);
  const id = 'ab'.repeat(32);
  for (const path of [`d/containers/${id}`, `d/overlay2/${id}-init`, `r/${id}`, 'd/.tmp-x']) {
    mkdirSync(join(directory, path), { recursive: true });
  }
  writeFileSync(join(directory, 'd/image'), '');
  assert.equal((await left(directory, 1_000)).length, 4);
});

test('terminal: types, sees, resizes', async (t) => {
  if (!requires(t, 'command:tmux')) return;
  const tty = terminal(t, { columns: 100, rows: 30 });
  tty.type('stty size; echo $((6*7))');
  await tty.see(/^30 100\n42$/m);
  await tty.resize(90, 20);
  tty.clear();
  tty.type('stty size');
  await tty.see(/^20 90$/m);
  tty.type('sleep 100');
  tty.press('C-c');
  await tty.see(/\^C\noutside\$$/);
  assert.match(tty.settings(), /\bicanon\b/);
});
