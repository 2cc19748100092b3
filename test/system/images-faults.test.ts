/**
 * SIGKILL at any moment of the verbs that change images. The real program is killed at a random time, or at a random one of its system
 * calls that change files. Then what it says must be true, every layer whole, the same command must work, and nothing may be left.
 * TSBOX_KILLS says how many kills, TSBOX_SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeImage } from '../../src/engine/images.ts';
import { loadImages } from '../../src/engine/load.ts';
import { openEngine } from '../../src/engine/open.ts';
import { pruneImages } from '../../src/engine/prune.ts';
import { containerIds, requireContainer } from '../../src/store/containers.ts';
import { collectGarbage } from '../../src/store/gc.ts';
import { tag, untag } from '../../src/store/image-changes.ts';
import { findImageId, imageIds, requireImage } from '../../src/store/images.ts';
import { rwLayer } from '../../src/store/rw-layers.ts';
import { requires } from '../requires.ts';
import { dockerFiles, tarOf } from '../unit/engine-archives.ts';
import { serve } from '../unit/registry-fixture.ts';
import { type Sandbox, sandbox, TSBOX } from './harness.ts';
import { type Blob, image, registry } from './image-server.ts';
import { generator } from './store-random.ts';
import { assertComplete, assertSame, assertTidy, assertWhole, shape } from './store-whole.ts';

const seed = Number(process.env['TSBOX_SEED'] ?? Date.now() % 1_000_000);
const kills = Number(process.env['TSBOX_KILLS'] ?? 48);
/** Begins anew for each verb: one of them alone can be repeated. */
let random = generator(seed);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

const many = Object.fromEntries(
  Array.from({ length: 60 }, (_, at) => [`many/${at % 7}/file${at}`, 'x'.repeat(at * 50)]),
);
const layers = [
  tarOf({ 'etc/os-release': 'ID=test\n', 'data/old': 'old', ...many }),
  tarOf({ 'data/.wh.old': '', 'data/new': 'new', 'usr/big': Buffer.alloc(300_000, 'big ') }),
  tarOf({ 'usr/small': 'small', 'many/.wh..wh..opq': '' }),
];

const EVERYTHING = { labels: [], withoutLabels: [] };

interface Bench {
  box: Sandbox;
  engine: ReturnType<typeof openEngine>;
  /** The archive of the image x:1; the tar of a root file system. */
  archive: string;
  rootfs: string;
}

/** A sandbox with a store, in which `x:1` can be loaded. */
function bench(context: TestContext): Bench {
  const box = sandbox(context);
  const [archive, rootfs] = [join(box.directory, 'image.tar'), join(box.directory, 'rootfs.tar')];
  writeFileSync(archive, tarOf(dockerFiles(layers, ['x:1'])));
  writeFileSync(rootfs, layers[0]!);
  return { box, archive, rootfs, engine: openEngine({ dataRoot: box.dataRoot, runRoot: box.runRoot }) };
}

type Ended = Promise<{ status: number | null; signal: NodeJS.Signals | null; stderr: string }>;

function startKillable({ box }: Bench, command: readonly string[]) {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { env: box.env, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended: Ended = new Promise((resolve) =>
    child.on('close', (status, signal) => resolve({ status, signal, stderr })),
  );
  return { child, ended };
}

/** System calls that change files, but for those that strace counts in threads that come and go. */
const CHANGES = ['mkdir', 'rename', 'unlink', 'unlinkat', 'rmdir', 'symlink', 'write', 'fchmod', 'fsync', 'flock'];

/** One of the calls: `rename`, the third. */
type Call = readonly [name: string, number: number];

/** The calls by which the main thread of a command changes what the store knows; not those for the files within layers. */
async function callsOf(one: Bench, args: readonly string[]): Promise<Call[]> {
  const log = join(one.box.directory, 'calls');
  const strace = ['strace', '-f', '-y', '--seccomp-bpf', '-qq', '-o', log, '-e', `trace=${CHANGES}`];
  const { status, stderr } = await startKillable(one, [...strace, TSBOX, ...args]).ended;
  assert.equal(status, 0, stderr);
  const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
  const [main] = lines[0]?.split(' ') ?? [];
  const counts = new Map<string, number>();
  const calls: Call[] = [];
  for (const line of lines.filter((text) => text.startsWith(`${main} `))) {
    const name = /^\d+ +(\w+)\(/.exec(line)?.[1];
    if (name === undefined) continue;
    const number = (counts.get(name) ?? 0) + 1;
    counts.set(name, number);
    if (line.includes(one.box.dataRoot) && !/overlay2\/[0-9a-f]{64}(-removing)?\/diff/.test(line))
      calls.push([name, number]);
  }
  return calls;
}

interface Kill {
  /** For the report of a failure. */
  how: string;
  /** Else it had ended by itself. */
  killed: boolean;
}

/** Kills the command before one of its system calls. */
async function killAtCall(one: Bench, args: readonly string[], calls: readonly Call[]): Promise<Kill> {
  const [name, number] = pick(calls);
  // Not with --seccomp-bpf: then strace injects errors, but no signals.
  const inject = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${name}`];
  const how = `inject=${name}:signal=SIGKILL:when=${number}`;
  const { signal } = await startKillable(one, [...inject, '-e', how, TSBOX, ...args]).ended;
  return { how, killed: signal === 'SIGKILL' };
}

async function killAtTime(one: Bench, args: readonly string[], duration: number): Promise<Kill> {
  const delay = random() * duration;
  const { child, ended } = startKillable(one, [TSBOX, ...args]);
  await sleep(delay);
  child.kill('SIGKILL');
  const { signal } = await ended;
  return { how: `after ${delay.toFixed(1)} ms`, killed: signal === 'SIGKILL' };
}

async function runAgain(one: Bench, args: readonly string[]): Promise<void> {
  const { status, stderr } = await startKillable(one, [TSBOX, ...args]).ended;
  assert.equal(status, 0, stderr);
}

/** What the program lists is what is there, and all of it is whole. */
async function assertTrue(one: Bench): Promise<void> {
  const { store } = one.engine;
  assertWhole(store);
  await assertComplete(store);
  const listed = async (verb: string) => (await one.box.quick([verb, '-aq', '--no-trunc'])).split('\n');
  const [images, containers] = [await listed('images'), await listed('ps')];
  assert.deepEqual([...new Set(images.filter(Boolean))].sort(), imageIds(store));
  assert.deepEqual(containers.filter(Boolean).sort(), containerIds(store).sort());
}

interface Verb {
  args: readonly string[];
  /** Makes the store as it is before the command, whatever it is like. */
  before(): unknown;
  /** The command has done its work already, so that it cannot be given again. */
  isDone?(): boolean;
  /** An image without a name and layers without an image may be left. They are listed as such, and for `image prune`. */
  prune?: boolean;
}

/** Milliseconds that the verb takes undisturbed: of two runs the shorter, for the first has everything to read. */
async function durationOf(one: Bench, { args, before }: Verb): Promise<number> {
  const taken: number[] = [];
  for (let run = 0; run < 2; run++) {
    await before();
    const begin = performance.now();
    await runAgain(one, args);
    taken.push(performance.now() - begin);
  }
  return Math.min(...taken);
}

/** Runs the verb undisturbed, then kills it again and again. */
async function killing(context: TestContext, one: Bench, verb: Verb): Promise<void> {
  const { store } = one.engine;
  const { args } = verb;
  context.diagnostic(`TSBOX_SEED=${seed}`);
  random = generator(seed);
  let duration = await durationOf(one, verb);
  collectGarbage(store);
  const wanted = shape(store);
  await verb.before();
  const calls = await callsOf(one, args);
  let killed = 0;
  const enough = () => killed > kills / 8 / 2;
  // More when many came too late, as when the machine was busy with something else while the time was taken.
  for (let count = 0; count < kills / 8 || (count < kills && !enough()); count++) {
    await verb.before();
    const kill = count % 2 === 0 ? await killAtTime(one, args, duration) : await killAtCall(one, args, calls);
    if (kill.killed) killed++;
    else duration *= 0.75;
    try {
      await assertTrue(one);
      if (verb.isDone?.() !== true) await runAgain(one, args);
      collectGarbage(store);
      assertTidy(store);
      if (verb.prune === true) await pruneImages(one.engine, { all: false, filter: EVERYTHING });
      assertSame(shape(store), wanted);
    } catch (error) {
      const message = `TSBOX_SEED=${seed}: ${args[0]} killed ${kill.how} (number ${count})`;
      throw new Error(message, { cause: error });
    }
  }
  assert.ok(enough(), `only ${killed} were killed, the others had ended before`);
}

/** Removes all images and what unfinished pulls have left. */
async function empty({ engine }: Bench): Promise<void> {
  for (const id of imageIds(engine.store)) {
    if (imageIds(engine.store).includes(id)) removeImage(engine, id, { force: true, noPrune: false });
  }
  await pruneImages(engine, { all: true, filter: EVERYTHING });
}

/** A few bytes at a time. */
async function slowly(blob: Blob, response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-length': blob.size });
  for (let at = 0; at < blob.size; at += blob.size / 4) {
    response.write(blob.bytes.subarray(Math.ceil(at), Math.ceil(at + blob.size / 4)));
    await sleep(12);
  }
  response.end();
}

const needs = ['root', 'overlay', 'command:strace'] as const;

test('faults: pull is killed at any moment', { timeout: 3_600_000 }, async (context) => {
  if (!requires(context, ...needs)) return;
  const one = bench(context);
  const served = image(layers);
  const server = await serve(context, registry(served, new Map(served.layers.map(({ digest }) => [digest, slowly]))));
  await killing(context, one, { args: ['pull', '-q', `${server.host}/x:1`], before: () => empty(one) });
});

test('faults: load and import are killed at any moment', { timeout: 3_600_000 }, async (context) => {
  if (!requires(context, ...needs)) return;
  const one = bench(context);
  await killing(context, one, { args: ['load', '-i', one.archive], before: () => empty(one) });
  await killing(context, one, { args: ['import', one.rootfs, 'y:1'], before: () => empty(one), prune: true });
});

test('faults: commit is killed at any moment', { timeout: 3_600_000 }, async (context) => {
  if (!requires(context, ...needs)) return;
  const one = bench(context);
  const { store } = one.engine;
  one.box.ok(['load', '-i', one.archive]);
  const id = one.box.ok(['create', '--name', 'maker', 'x:1']);
  const { upper } = rwLayer(store, requireContainer(store, id).ID);
  mkdirSync(join(upper, 'made'));
  for (let at = 0; at < 30; at++) writeFileSync(join(upper, 'made', `file${at}`), 'x'.repeat(at * 1000));
  const before = () => {
    const made = findImageId(store, 'made:1');
    if (made !== undefined) removeImage(one.engine, made, { force: true, noPrune: false });
  };
  await killing(context, one, { args: ['commit', 'maker', 'made:1'], before, prune: true });
});

test('faults: save, tag, rmi and image prune are killed at any moment', { timeout: 3_600_000 }, async (context) => {
  if (!requires(context, ...needs)) return;
  const one = bench(context);
  const { engine } = one;
  const { store } = engine;
  const load = () => loadImages(engine, { input: one.archive }, () => {});
  await load();
  const output = join(one.box.directory, 'saved', 'x.tar');
  one.box.ok(['save', '-o', one.archive, 'x:1']);
  const saving = {
    args: ['save', '-o', output, 'x:1'],
    before: () => {
      rmSync(join(one.box.directory, 'saved'), { recursive: true, force: true });
      mkdirSync(join(one.box.directory, 'saved'));
    },
    isDone: () => {
      // By its name it is whole or not there; the same image gives the same archive.
      if (existsSync(output)) assert.ok(readFileSync(output).equals(readFileSync(one.archive)));
      return false;
    },
  };
  await killing(context, one, saving);

  const forget = () => {
    if (findImageId(store, 'x:2') !== undefined) untag(store, 'x:2');
  };
  await killing(context, one, { args: ['tag', 'x:1', 'x:2'], before: forget });
  forget();

  await killing(context, one, {
    args: ['rmi', 'x:1'],
    before: load,
    isDone: () => findImageId(store, 'x:1') === undefined,
    prune: true,
  });

  await killing(context, one, {
    args: ['image', 'prune', '--force'],
    before: async () => {
      await load();
      tag(store, 'x:2', requireImage(store, 'x:1').id);
      untag(store, 'x:1');
      untag(store, 'x:2');
    },
  });
  assert.deepEqual(imageIds(store), []);
});
