/** The store's layers under the real overlay file system: the kernel is the oracle for what lookup.ts says without a mount. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../requires.ts';

/** Runs a part of store-mounted.ts in a mount namespace of its own: whatever happens, no mount stays. */
function mounted(part: string, ...args: string[]): string {
  const script = join(import.meta.dirname, 'store-mounted.ts');
  const result = spawnSync('unshare', ['-m', process.execPath, script, part, ...args], { encoding: 'utf8' });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

test('overlay: 127 layers mount and the nearest wins', (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  assert.equal(mounted('many'), 'layers 127\nnearest 126\nfiles 128\n');
});

test('overlay: what a container writes goes to the upper directory, and a second mount is refused by rm', (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  assert.equal(mounted('write'), 'upper new\nbusy EBUSY\ngone true\n');
});

test('overlay: lookups without a mount find what the kernel finds', (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  const seed = process.env['TSBOX_SEED'] ?? String(Date.now() % 1_000_000);
  t.diagnostic(`TSBOX_SEED=${seed}`);
  const [compared = '', found = ''] = mounted('compare', seed).split(' ');
  assert.ok(Number(compared) > 2000 && Number(found) > 500, `${compared} paths compared, ${found} found`);
});

test("overlay: the init layer keeps the image's own directories as they are", (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  assert.equal(
    mounted('init'),
    [
      'dev 40700 0:0',
      'etc 41751 7:8 user.note',
      'etc/hosts 100755 0:0',
      'etc/own 100644 0:0',
      'proc 40555 0:0',
      '',
    ].join('\n'),
  );
});
