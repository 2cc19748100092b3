/** Memory does not grow with a layer: each large one is unpacked, packed and put together in a process of its own. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../requires.ts';
import { MEMORY, run } from '../unit/layer-support.ts';

/** Well above what is used; a gigabyte of data, or of names, is more. */
const MOST_MB = 400;

for (const kind of ['file', 'files', 'directories', 'links', 'whiteouts', 'again', 'deep']) {
  test(`layer: memory for a large layer (${kind})`, (t) => {
    if (!requires(t, 'root')) return;
    const root = mkdtempSync(join(MEMORY, 'tsbox-large-'));
    t.after(() => rmSync(root, { recursive: true, force: true }));
    const out = run(process.execPath, [join(import.meta.dirname, 'layer-large.ts'), kind, root]).toString();
    const found = JSON.parse(out) as Record<'entries' | 'packed' | 'bytes' | 'wanted' | 'grown', number>;
    t.diagnostic(`${found.entries} entries, ${found.bytes} bytes: ${found.grown} MiB more`);
    assert.equal(found.bytes, found.wanted);
    assert.ok(found.packed > 1024);
    assert.ok(found.grown < MOST_MB, `${found.grown} MiB`);
  });
}
