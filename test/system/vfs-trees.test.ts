/** The storage driver vfs: copies of layers, and commits of such copies, beside the kernel's overlay. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { scratch } from '../unit/layer-support.ts';

test('vfs: the copy of layers made by chance is what the kernel shows of them, and so is its commit', {
  timeout: 3_600_000,
}, (t) => {
  if (!requires(t, 'root', 'overlay', 'command:getfattr')) return;
  const seeds = process.env['TSBOX_VFS_SEEDS'] ?? '8';
  const first = process.env['TSBOX_SEED'] ?? String(1 + (Math.floor(Date.now() / 1000) % 1_000_000));
  t.diagnostic(`TSBOX_SEED=${first} TSBOX_VFS_SEEDS=${seeds}`);
  const directory = join(scratch(t), 'trees');
  mkdirSync(directory);
  const script = 'mount -t tmpfs -o mode=755 trees "$1" && exec "$2" "$3" "$4" "$5" "$1"';
  const program = [process.execPath, join(import.meta.dirname, 'vfs-trees.ts'), first, seeds];
  const result = spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', directory, ...program], {
    encoding: 'utf8',
  });
  assert.equal(result.stdout + result.stderr, 'ok\n');
});
