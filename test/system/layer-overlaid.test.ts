/** What holds for layers on disk, on an overlay: there no device 0:0 can be made, and whiteouts are files. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../requires.ts';
import { scratch } from '../unit/layer-support.ts';

test('layer: on an overlay, as elsewhere', { timeout: 300_000 }, (t) => {
  if (!requires(t, 'root', 'overlay', 'file:/dev/fuse')) return;
  const place = scratch(t);
  const script = `set -e; mount -t tmpfs none ${place}; cd ${place}; mkdir l u w merged
    mount -t overlay overlay merged -o lowerdir=l,upperdir=u,workdir=w; cd /; export TMPDIR=${place}/merged; exec "$@"`;
  const suite = join(import.meta.dirname, 'layer-overlay.test.ts');
  // A test runner in a test runner would say only yes or no.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const node = [process.execPath, '--test', '--test-reporter=spec', suite];
  const result = spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', ...node], { env, encoding: 'utf8' });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^ℹ pass 1\d$/m);
});
