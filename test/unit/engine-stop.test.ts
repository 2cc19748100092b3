/** A container that is removed at its end, before its monitor has told anybody of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Engine } from '../../src/engine/open.ts';
import { stopContainer } from '../../src/engine/stop.ts';
import { waitContainer } from '../../src/engine/wait.ts';
import { noteContainer } from '../../src/store/events.ts';
import { containerDirectory, runDirectory } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { makeContainer, makeImage, temporaryEngine } from './store-fixture.ts';

/** `fleeting`, whose process is a child of this test, and whose end with code 7 comes with the first who asks its monitor. */
async function vanishing(t: TestContext): Promise<{ engine: Engine; ended: Promise<unknown[]> }> {
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
    noteContainer(store, record, 'die', { exitCode: '7' });
    for (const path of [containerDirectory(store, record.ID), run]) rmSync(path, { recursive: true });
    held.release();
    client.destroy();
  });
  monitor.listen(`${run}/attach.sock`);
  t.after(() => monitor.close());
  await once(monitor, 'listening');
  return { engine, ended: once(child, 'exit') };
}

test('stop: one that is removed meanwhile is stopped', async (t) => {
  const { engine, ended } = await vanishing(t);
  await stopContainer(engine, 'fleeting');
  assert.deepEqual(await ended, [null, 'SIGTERM']);
});

test('wait: the exit code of one that is removed meanwhile is in the journal', async (t) => {
  const { engine } = await vanishing(t);
  assert.equal(await waitContainer(engine, 'fleeting'), 7);
});
