/** The tables of docs/isolation.md beside the lists that the tests use. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { DIFFERENCES, table } from '../system/seen-inside.ts';

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../docs/isolation.md'), 'utf8');

/** Cells of the tables of a section, the lines under the heads left out. */
function rowsOf(heading: string): string[][] {
  const text = DOCUMENT.slice(DOCUMENT.indexOf(`\n${heading}\n`));
  const end = text.indexOf('\n## ', 1);
  return text
    .slice(0, end === -1 ? undefined : end)
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[ |-]+$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

test('isolation: the table of combinations is what the tests compare', () => {
  const [head] = table();
  const rows = rowsOf('## Beside Docker').filter((row) => row.length === head!.length);
  assert.deepEqual(rows, table());
});

test('isolation: every difference that the tests allow has its row and its number', () => {
  const rows = rowsOf('## Beside Docker').filter((row) => row.length === 3);
  for (const [index, [what]] of DIFFERENCES.entries()) {
    const row = rows.find((each) => each[1] === what);
    assert.ok(row, what);
    assert.equal(row[0], String(index + 1));
    assert.ok(row[2]!.length > 20, `${what}: no reason`);
  }
});
