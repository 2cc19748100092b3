/** The tables of docs/network.md beside the lists that the test beside docker uses. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { DIFFERENCES, table } from '../system/network-inside.ts';

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../docs/network.md'), 'utf8');

function rows(): string[][] {
  const [, section = ''] = DOCUMENT.split('\n## Differences from Docker\n');
  const lines = section.split('\n## ')[0]!.split('\n');
  return lines
    .filter((line) => line.startsWith('|') && !/^\|[ |-]+$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

test('networks: the table of differences from docker is what the test beside docker allows', () => {
  const width = table()[0]!.length;
  assert.deepEqual(
    rows().filter((row) => row.length === width),
    table(),
  );
  const named = rows().filter((row) => row.length === 3);
  for (const [index, [what]] of DIFFERENCES.entries()) {
    const row = named.find((each) => each[1] === what);
    assert.equal(row?.[0], String(index + 1), what);
  }
});
