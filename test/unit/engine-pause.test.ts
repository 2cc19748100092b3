/** A container that ends while it is paused: its cgroup is gone a moment before its monitor has recorded the end. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { whileFrozen } from '../../src/engine/freeze.ts';
import { pauseContainer } from '../../src/engine/pause.ts';
import { runDirectory } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { makeContainer, makeImage, temporaryEngine } from './store-fixture.ts';

test('pause: of a container that ends meanwhile is refused as that of one that does not run', async (t) => {
  const engine = temporaryEngine(t);
  const { store } = engine;
  const { record } = makeContainer(store, await makeImage(store, []), 'fleeting');
  const run = runDirectory(store, record.ID);
  mkdirSync(run, { recursive: true });
  writeFileSync(`${run}/lock`, '');
  const held = lock(`${run}/lock`);
  t.after(() => held.release());
  const { pid: Pid } = spawnSync('true');
  writeFileSync(`${run}/state.json`, JSON.stringify({ Pid, Monitor: 1, StartedAt: '2024-05-01T10:00:00Z' }));
  await assert.rejects(pauseContainer(engine, 'fleeting'), { message: `Container ${record.ID} is not running` });
  assert.equal(await whileFrozen(store, record.ID, async () => 'done'), 'done', 'a commit goes on');
});
