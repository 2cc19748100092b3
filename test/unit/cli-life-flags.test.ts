import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileLines } from '../../src/cli/life-flags.ts';

function linesOf(content: string | Buffer, own?: Record<string, string>): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-env-'));
  try {
    writeFileSync(join(directory, 'file'), content);
    return fileLines(join(directory, 'file'), own);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('--env-file: comments, blanks, the caller’s own values, values as they stand', () => {
  const text = '\uFEFF# comment\n\n  A=1 \nB= x=y\n\t# another\nOWN\nMISSING\nC=\r\nD="q"';
  assert.deepEqual(linesOf(text, { OWN: 'mine' }), ['A=1 ', 'B= x=y', 'OWN=mine', 'C=', 'D="q"']);
});

test('--label-file: a name alone stays', () => assert.deepEqual(linesOf('a\nb=c\n'), ['a', 'b=c']));

test('--env-file: bad lines are refused in Docker’s words', () => {
  const refused = (content: string | Buffer, message: RegExp) => assert.throws(() => linesOf(content), { message });
  refused('A B=1', /^poorly formatted environment: variable 'A B' contains whitespaces$/);
  refused('=1', /^poorly formatted environment: no variable name on line '=1'$/);
  refused(Buffer.from('ok=1\nA=\xff\n', 'latin1'), /contains invalid utf8 bytes at line 2/);
  assert.throws(() => fileLines('/nope/x', {}), { message: 'open /nope/x: no such file or directory' });
});
