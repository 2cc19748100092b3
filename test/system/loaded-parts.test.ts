/** Start-up time is a feature: what Node loads for the verbs of a container's life. `make bench-life` has the milliseconds. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, sandbox } from './harness.ts';

const MAIN = join(REPOSITORY, 'dist/main.js');
/** 0.6 to 4 ms each, with all that stands behind them. */
const SLOW = [
  'child_process',
  'crypto',
  'fs/promises',
  'http',
  'module',
  'net',
  'perf_hooks',
  'stream',
  'worker_threads',
  'zlib',
];

test('create, ps, inspect, kill and rm load nothing of Node that takes its time, and wait only what it connects by', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const hook = join(box.directory, 'hook.cjs');
  writeFileSync(
    hook,
    `const before = new Set(process.moduleLoadList);
     process.on('exit', () => {
       const loaded = process.moduleLoadList.filter((name) => !before.has(name));
       require('node:fs').writeFileSync(process.env.LOADED, loaded.join('\\n'));
     });`,
  );
  const slow = (...words: string[]) => {
    const LOADED = join(box.directory, 'loaded');
    const args = ['--require', hook, '--', MAIN, ...words];
    const { status, stderr } = spawnSync(process.execPath, args, { env: { ...box.env, LOADED }, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const loaded = readFileSync(LOADED, 'utf8').split('\n');
    assert.ok(loaded.includes('NativeModule vm'), 'the list is what it seems to be');
    return SLOW.filter((name) => loaded.includes(`NativeModule ${name}`));
  };
  assert.deepEqual(slow('create', '--network', 'none', '--name', 'one', image, 'sleep', '1000'), []);
  assert.deepEqual(slow('ps', '-a'), []);
  assert.deepEqual(slow('inspect', 'one'), []);
  box.ok(['start', 'one']);
  assert.deepEqual(slow('kill', 'one'), []);
  assert.deepEqual(
    slow('wait', 'one').filter((name) => name !== 'net' && name !== 'stream'),
    [],
  );
  assert.deepEqual(slow('rm', 'one'), []);
});
