import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { MEMORY } from './layer-support.ts';

test('merged: a tree that is deeper than files may be open is copied and compared', (t) => {
  const directory = mkdtempSync(join(MEMORY, 'tsbox-deep-'));
  t.after(() => spawnSync('rm', ['-rf', directory]));
  const depth = 3000;
  const script = 'ulimit -n 120; exec "$@"';
  const words = [process.execPath, join(import.meta.dirname, 'layer-deep.ts'), directory, `${depth}`];
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', ...words], {
    encoding: 'utf8',
    cwd: tmpdir(),
  });
  assert.equal(status, 0, stderr);
  const bottom = 2 * depth;
  assert.deepEqual(JSON.parse(stdout), {
    // Directories, files, links; and each directory once more when it is left, the root too.
    names: depth + 2 * (depth / 100) + 2 + depth + 1,
    first: [],
    links: true,
    told: [`A ${bottom + 3} /new`, `D ${bottom + 1} /d/y`],
  });
});
