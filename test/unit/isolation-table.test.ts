/** The tables of docs/isolation.md beside the lists that the tests use. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { DIFFERENCES, table } from '../system/seen-inside.ts';
import { rowsOf } from './document-tables.ts';

test('isolation: the table of combinations is what the tests compare', () => {
  const [head] = table();
  const rows = rowsOf('isolation.md', '## Beside Docker').filter((row) => row.length === head!.length);
  assert.deepEqual(rows, table());
});

test('isolation: every difference that the tests allow has its row and its number', () => {
  const rows = rowsOf('isolation.md', '## Beside Docker').filter((row) => row.length === 3);
  for (const [index, [what]] of DIFFERENCES.entries()) {
    const row = rows.find((each) => each[1] === what);
    assert.ok(row, what);
    assert.equal(row[0], String(index + 1));
    assert.ok(row[2]!.length > 20, `${what}: no reason`);
  }
});
