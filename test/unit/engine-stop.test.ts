import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { stopContainer } from '../../src/engine/stop.ts';
import { containerDirectory, runDirectory } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { makeContainer, makeImage, temporaryEngine } from './store-fixture.ts';

test('stop: one that is removed at its end, before anybody has heard of it, is stopped', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const { record } = makeContainer(store, await makeImage(store, []), 'fleeting');
  const run = runDirectory(store, record.ID);
  const child = spawn('sleep', ['60']);
  t.after(() => child.kill('SIGKILL'));
  mkdirSync(run, { recursive: true });
  writeFileSync(`${run}/lock`, '');
  const held = lock(`${run}/lock`);
  writeFileSync(`${run}/state.json`, JSON.stringify({ Pid: child.pid, Monitor: 1, StartedAt: '2024-05-01T10:00:00Z' }));
  const monitor = createServer((client) => {
    rmSync(containerDirectory(store, record.ID), { recursive: true });
    rmSync(run, { recursive: true });
    held.release();
    client.destroy();
  });
  monitor.listen(`${run}/attach.sock`);
  t.after(() => monitor.close());
  await once(monitor, 'listening');
  const ended = once(child, 'exit');
  await stopContainer(engine, 'fleeting');
  assert.deepEqual(await ended, [null, 'SIGTERM']);
});
