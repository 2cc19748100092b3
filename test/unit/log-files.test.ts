/** The files of a log that is being rotated while they are looked for. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { openLogs } from '../../src/engine/log-files.ts';

function directory(t: { after(work: () => void): void }, names: readonly string[]): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbox-log-'));
  t.after(() => rmSync(path, { recursive: true }));
  for (const name of names) writeFileSync(join(path, name), name);
  return path;
}

function textsOf(path: string): string[] {
  return openLogs(path).map(({ fd }) => {
    const text = readFileSync(fd, 'utf8');
    closeSync(fd);
    return text;
  });
}

test('log files: all of them are found in the middle of a rotation', async (t) => {
  // The older ones have their next number, the younger ones do not.
  const path = directory(t, ['log', 'log.1', 'log.3', 'log.4.gz']);
  const script = 'echo ready; sleep 0.02; mv log.1 log.2; mv log log.1; printf new > log';
  const rotation = spawn('sh', ['-c', script], { cwd: path, stdio: ['ignore', 'pipe', 'inherit'] });
  await once(rotation.stdout, 'data');
  const found = textsOf(join(path, 'log'));
  await once(rotation, 'close');
  assert.deepEqual(found, ['new', 'log', 'log.1', 'log.3', 'log.4.gz']);
});

test('log files: what lies beyond a gap that stays is not waited for without end', (t) => {
  const path = directory(t, ['log', 'log.1', 'log.3']);
  assert.deepEqual(textsOf(join(path, 'log')), ['log', 'log.1']);
  assert.deepEqual(textsOf(join(path, 'none')), []);
});
