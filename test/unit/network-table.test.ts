/** The tables of docs/network.md beside the lists that the test beside docker uses. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { DIFFERENCES, table } from '../system/network-inside.ts';
import { rowsOf } from './document-tables.ts';

test('networks: the table of differences from docker is what the test beside docker allows', () => {
  const width = table()[0]!.length;
  assert.deepEqual(
    rowsOf('network.md', '## Differences from Docker').filter((row) => row.length === width),
    table(),
  );
  const named = rowsOf('network.md', '## Differences from Docker').filter((row) => row.length === 3);
  for (const [index, [what]] of DIFFERENCES.entries()) {
    const row = named.find((each) => each[1] === what);
    assert.equal(row?.[0], String(index + 1), what);
  }
});
