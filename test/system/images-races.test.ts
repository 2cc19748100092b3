/** Verbs of images that meet: the real program, several at once, at offsets that a seed decides (TSBOX_SEED). */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireContainer } from '../../src/store/containers.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { findImageId, imageIds } from '../../src/store/images.ts';
import { layerIds } from '../../src/store/layers.ts';
import { openStore } from '../../src/store/open.ts';
import { rwLayer } from '../../src/store/rw-layers.ts';
import type { Store } from '../../src/store/store.ts';
import { requires } from '../requires.ts';
import { dockerFiles, tarOf } from '../unit/engine-archives.ts';
import { serve } from '../unit/registry-fixture.ts';
import { type Result, type Sandbox, sandbox } from './harness.ts';
import { type Blob, image, registry } from './image-server.ts';
import { generator } from './store-random.ts';
import { assertComplete, assertSame, assertTidy, shape } from './store-whole.ts';

const seed = Number(process.env['TSBOX_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = 4;
/** What the offsets may be, in milliseconds: as long as the verbs take. */
const SPAN = 250;

const base = tarOf({ 'etc/os-release': 'ID=test\n', 'usr/base': Buffer.alloc(200_000, 'base ') });
const layers = [base, tarOf({ 'usr/one': Buffer.alloc(100_000, 'one ') }), tarOf({ 'usr/two': 'two' })];
const others = [base, tarOf({ 'usr/other': Buffer.alloc(100_000, 'other ') })];

interface Meeting {
  box: Sandbox;
  store: Store;
  random: () => number;
  /** Runs the commands at once, each with an offset. */
  together(...commands: readonly string[][]): Promise<Result[]>;
}

function meeting(context: TestContext): Meeting {
  const box = sandbox(context);
  context.diagnostic(`TSBOX_SEED=${seed}`);
  const random = generator(seed);
  const store = openStore({ dataRoot: box.dataRoot, runRoot: box.runRoot });
  const together: Meeting['together'] = (...commands) =>
    Promise.all(
      commands.map(async (args) => {
        await sleep(random() * SPAN);
        return box.start(args).done;
      }),
    );
  return { box, store, random, together };
}

function assertOk(...results: Result[]): void {
  for (const { status, stderr } of results) assert.equal(status, 0, stderr);
}

/** Nobody is at work: everything is whole, in its place, and nothing else is there. */
async function assertInOrder(store: Store): Promise<void> {
  assert.deepEqual(collectGarbage(store), []);
  assertTidy(store);
  await assertComplete(store);
}

/** A registry that sends `x:1`, the layers a few bytes at a time. */
async function slowRegistry(context: TestContext): Promise<string> {
  const slowly = async (blob: Blob, response: ServerResponse) => {
    response.writeHead(200, { 'content-length': blob.size });
    for (let at = 0; at < blob.size; at += blob.size / 4) {
      response.write(blob.bytes.subarray(Math.ceil(at), Math.ceil(at + blob.size / 4)));
      await sleep(15);
    }
    response.end();
  };
  const one = image(layers);
  const { host } = await serve(context, registry(one, new Map(one.layers.map(({ digest }) => [digest, slowly]))));
  return `${host}/x:1`;
}

/** An archive of an image with these layers and this name. */
function archive(box: Sandbox, content: readonly Buffer[], name: string): string {
  const path = join(box.directory, `${name.replace(':', '-')}.tar`);
  writeFileSync(path, tarOf(dockerFiles(content, [name])));
  return path;
}

test('races: the same image is pulled by two, and stored once', { timeout: 120_000 }, async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const { box, store, together } = meeting(context);
  const name = await slowRegistry(context);
  assertOk(await box.start(['pull', '-q', name]).done);
  const wanted = shape(store);
  for (let round = 0; round < ROUNDS; round++) {
    await box.quick(['rmi', name]);
    assertOk(...(await together(['pull', name], ['pull', name])));
    assertSame(shape(store), wanted);
    await assertInOrder(store);
  }
});

test('races: an image is removed, or everything pruned, while it is pulled', { timeout: 120_000 }, async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const { box, store, together } = meeting(context);
  const name = await slowRegistry(context);
  for (const remove of [
    ['rmi', '--force', name],
    ['image', 'prune', '--all', '--force'],
  ]) {
    for (let round = 0; round < ROUNDS; round++) {
      // It is there in every other round, so that there is something to remove at any moment.
      if (round % 2 === 0) assertOk(await box.start(['pull', '-q', name]).done);
      const [pulled, removed, again] = await together(['pull', name], remove, remove);
      assertOk(pulled!);
      for (const { status, stderr } of [removed!, again!]) if (status !== 0) assert.match(stderr, /No such image/);
      await assertInOrder(store);
      if (findImageId(store, name) !== undefined) await box.quick(['rmi', name]);
      await box.quick(['image', 'prune', '--force']);
      assert.deepEqual([imageIds(store), layerIds(store)], [[], []]);
    }
  }
});

test('races: two archives with a layer in common are loaded and pruned at once', {
  timeout: 120_000,
}, async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const { box, store, together } = meeting(context);
  const [one, two] = [archive(box, layers, 'x:1'), archive(box, others, 'y:1')];
  for (let round = 0; round < ROUNDS; round++) {
    assertOk(...(await together(['load', '-i', one], ['load', '-i', two], ['load', '-i', one])));
    assert.deepEqual([imageIds(store).length, layerIds(store).length], [2, 4]);
    await assertInOrder(store);
    // What has no name yet is not there to be pruned.
    await box.quick(['rmi', 'x:1', 'y:1']);
    const prune = ['image', 'prune', '--force'];
    assertOk(...(await together(['load', '-i', one], ['import', one, 'z:1'], prune, prune, prune)));
    assert.equal(imageIds(store).length, 2);
    await assertInOrder(store);
    await box.quick(['rmi', 'x:1', 'z:1']);
  }
});

test('races: containers are committed at once, the same one twice', { timeout: 120_000 }, async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const { box, store, together } = meeting(context);
  await box.quick(['load', '-i', archive(box, layers, 'x:1')]);
  for (const name of ['one', 'two']) {
    const { upper } = rwLayer(store, requireContainer(store, await box.quick(['create', '--name', name, 'x:1'])).ID);
    mkdirSync(join(upper, 'made'));
    for (let at = 0; at < 20; at++) writeFileSync(join(upper, 'made', `${name}${at}`), name.repeat(at * 100));
  }
  for (let round = 0; round < ROUNDS; round++) {
    const prune = ['image', 'prune', '--force'];
    // With messages: two of the same container in the same millisecond would be the same image.
    const results = await together(
      ['commit', '-m', 'a', 'one', 'a:1'],
      ['commit', '-m', 'b', 'two', 'b:1'],
      ['commit', '-m', 'c', 'one', 'c:1'],
      prune,
      prune,
    );
    assertOk(...results);
    assert.deepEqual([imageIds(store).length, layerIds(store).length], [4, 5]);
    await assertInOrder(store);
    await box.quick(['rmi', 'a:1', 'b:1', 'c:1']);
  }
});

test('races: an image is removed while a container is made of it', { timeout: 120_000 }, async (context) => {
  if (!requires(context, 'root', 'overlay')) return;
  const { box, store, together } = meeting(context);
  const path = archive(box, layers, 'x:1');
  for (let round = 0; round < 2 * ROUNDS; round++) {
    await box.quick(['load', '-i', path]);
    const force = round % 2 === 0 ? ['--force'] : [];
    const [created, removed] = await together(
      ['create', '--pull', 'never', '--name', 'made', 'x:1', 'true'],
      ['rmi', ...force, 'x:1'],
    );
    if (created!.status !== 0) assert.match(created!.stderr, /No such (image|layer)/);
    if (removed!.status !== 0) assert.match(removed!.stderr, /conflict: unable to remove repository reference/);
    assert.equal(force.length === 0 && created!.status === 0 && removed!.status === 0, false, 'one of them is refused');
    await assertInOrder(store);
    if (created!.status === 0) {
      assert.equal(readdirSync(rwLayer(store, requireContainer(store, 'made').ID).stack.at(-1)!).includes('etc'), true);
      await box.quick(['rm', 'made']);
    }
    await box.said(['rmi', 'x:1']);
    await box.quick(['image', 'prune', '--force']);
    assert.deepEqual([imageIds(store), layerIds(store)], [[], []]);
  }
});
