import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { removeImage } from '../../src/engine/images.ts';
import { containerIds } from '../../src/store/containers.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { imageIds } from '../../src/store/images.ts';
import { removeTree } from '../../src/store/io.ts';
import { withStore } from '../../src/store/lock.ts';
import { readReferences } from '../../src/store/references.ts';
import type { Store } from '../../src/store/store.ts';
import { removeUnusedLayers } from '../../src/store/unused-layers.ts';
import { removeContainerFiles } from '../remove-container.ts';
import { makeImage, temporaryStore } from '../unit/store-fixture.ts';
import { generator } from './store-random.ts';
import { assertTidy, assertWhole } from './store-whole.ts';

interface Worker {
  process: ChildProcess;
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

function start(store: Store, task: string, seed: number): Worker {
  const script = join(import.meta.dirname, 'store-worker.ts');
  const child = spawn(process.execPath, [script, task, store.dataRoot, String(seed)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return {
    process: child,
    ended: once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr })),
  };
}

async function race(store: Store, task: string, count: number) {
  const workers = Array.from({ length: count }, (_, seed) => start(store, task, seed));
  const results = await Promise.all(workers.map((worker) => worker.ended));
  for (const { code, stderr } of results) assert.equal(code, 0, stderr);
  return results;
}

/** Takes everything out again: then the store is as on its first day. */
function assertRemovable(t: TestContext, store: Store): void {
  for (const id of containerIds(store)) removeContainerFiles(store, id);
  const engine = { store, options: { dataRoot: store.dataRoot, runRoot: store.runRoot } };
  for (const id of imageIds(store)) {
    if (imageIds(store).includes(id)) removeImage(engine, id, { force: true, noPrune: false });
  }
  withStore(store, removeUnusedLayers).waiting.forEach(removeTree);
  const kept = /repositories\.json$|^run-roots\//;
  const tree = (path: string) =>
    (readdirSync(path, { recursive: true }) as string[]).filter((name) => !kept.test(name)).sort();
  assert.deepEqual(tree(store.dataRoot), tree(temporaryStore(t).dataRoot));
}

test('races: names of images that several processes give are all there', async (t) => {
  const store = temporaryStore(t);
  await makeImage(store, []);
  await race(store, 'tags', 4);
  const references = readReferences(store);
  assert.deepEqual([...references].map(([repository, entries]) => [repository, entries.size]).sort(), [
    ['p0', 25],
    ['p1', 25],
    ['p2', 25],
    ['p3', 25],
  ]);
});

test('races: one of several processes gets the name of a container', async (t) => {
  const store = temporaryStore(t);
  const results = await race(store, 'name', 6);
  const lines = results.map(({ stdout }) => stdout.trim()).sort();
  assert.equal(lines.filter((line) => line === 'won').length, 1);
  assert.equal(
    lines.filter((line) => line.startsWith('Conflict. The container name "/wanted" is already in use')).length,
    5,
  );
  assert.equal(containerIds(store).length, 1);
  assertTidy(store);
});

test('races: a layer that several processes unpack at once is stored once', async (t) => {
  const store = temporaryStore(t);
  const results = await race(store, 'layers', 4);
  assert.equal(new Set(results.map(({ stdout }) => stdout)).size, 1);
  assert.deepEqual(collectGarbage(store), []);
  assertTidy(store);
  assertRemovable(t, store);
});

test('races: processes that make and remove everything at random leave a whole store', async (t) => {
  const store = temporaryStore(t);
  await race(store, 'churn', 4);
  assertTidy(store);
  assertRemovable(t, store);
});

test('races: SIGKILL at any moment leaves a whole store, and garbage that can be told from it', {
  timeout: 120_000,
}, async (t) => {
  const seed = Number(process.env['TSBOX_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`TSBOX_SEED=${seed}`);
  const random = generator(seed);
  const store = temporaryStore(t);
  for (let round = 0; round < 12; round++) {
    const workers = [0, 1, 2].map((number) => start(store, 'churn', seed + round * 10 + number));
    const victims = workers.map(async ({ process: child, ended }) => {
      await new Promise((resolve) => setTimeout(resolve, 150 + random() * 500));
      child.kill('SIGKILL');
      return ended;
    });
    for (const { code, stderr } of await Promise.all(victims)) assert.ok(code === null || code === 0, stderr);
    withStore(store, () => assertWhole(store));
    collectGarbage(store);
    assertTidy(store);
  }
  assertRemovable(t, store);
});
