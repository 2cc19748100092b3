/** What `top` takes of the output of ps. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { parseProcesses } from '../../src/engine/top.ts';

test('top: a field more than there are titles belongs to the last; threads go with their process', () => {
  const output = '  PID TTY CMD\n    1 ? init\n    7 ? sleep 10  20\n    - -\n    - ?\n    8 ? other\n    - ?\n';
  assert.deepEqual(parseProcesses(output, new Set([7])), {
    titles: ['PID', 'TTY', 'CMD'],
    processes: [
      ['7', '?', 'sleep 10 20'],
      ['-', '-', ''],
      ['-', '?', ''],
    ],
  });
});

test('top: without pids there is nothing to choose by', () => {
  assert.throws(() => parseProcesses('CMD\nsleep\n', new Set()), /^TsboxError: Couldn't find PID field in ps output$/);
  assert.throws(
    () => parseProcesses('PID\nx\n', new Set()),
    /Unexpected pid 'x': strconv.Atoi: parsing "x": invalid syntax/,
  );
});
