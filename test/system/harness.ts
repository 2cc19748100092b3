/**
 * A tsbox of one's own for a system test: data root and run root in a temporary directory, the commands, and at the end the proof that
 * nothing was left behind. What fails is removed all the same, so that one broken test does not break the next.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { inProcess, type Printed } from '../in-process.ts';
import { leftovers, removeLeftovers } from './leftovers.ts';
import { type FixtureName, fixtureImage, importWords, readyStore } from './ready-stores.ts';

// No default network, as with `dockerd --bridge=none`: tests of networks make one in a namespace of their own.
process.env['TSBOX_BRIDGE'] = 'none';

export const REPOSITORY = resolve(import.meta.dirname, '../..');
export const TSBOX = join(REPOSITORY, 'bin/tsbox');

export interface Result {
  /** null when a signal ended it. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** The same standard output, byte for byte. */
  bytes: Buffer;
}

export interface CommandOptions {
  /** Standard input to its end; without it /dev/null. */
  input?: string | Buffer;
  env?: Record<string, string>;
  cwd?: string;
  /** Milliseconds until it is killed and the test fails; 30,000 when absent. TSBOX_PATIENCE multiplies it, as every time limit of tests. */
  timeout?: number;
}

export interface Running {
  readonly child: ChildProcess;
  /** Everything so far, as text. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly done: Promise<Result>;
}

export interface Sandbox {
  /** Temporary; the roots are in it, and a test may put files there. */
  readonly directory: string;
  readonly dataRoot: string;
  readonly runRoot: string;
  readonly env: NodeJS.ProcessEnv;
  /** Runs `tsbox ARGS...` to its end. */
  tsbox(args: readonly string[], options?: CommandOptions): Result;
  /** Like `tsbox`, for what must work. @returns stdout without its last line feed @throws AssertionError unless it exits with 0 */
  ok(args: readonly string[], options?: CommandOptions): string;
  /** Starts `tsbox ARGS...` with a pipe on each of its streams; `input` is not closed unless given. */
  start(args: readonly string[], options?: CommandOptions): Running;
  /** `tsbox ARGS...` in the test's own process (in-process.ts). */
  said(args: readonly string[]): Promise<Printed>;
  /** Like `ok`, in the test's own process. */
  quick(args: readonly string[]): Promise<string>;
  /** Imports a fixture once. @returns its image name: `busybox:offline`, `debian:offline`, `layers:latest` or `many-layers:latest` */
  image(name?: FixtureName): string;
}

const OVERLAYFS = 0x794c7630;
/** How many times longer than usual things may take, as on an emulated processor. */
export const PATIENCE = Number(process.env['TSBOX_PATIENCE'] ?? 1);
const DEFAULT_TIMEOUT = 30_000;

/** A short directory (the path of a Unix socket has room for 107 bytes) where an overlay's upper directory may lie. */
function temporaryDirectory(): string {
  const place = statfsSync(tmpdir()).type === OVERLAYFS && existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  return mkdtempSync(join(place, 'tsb-'));
}

function result(status: number | null, signal: NodeJS.Signals | null, stdout: Buffer, stderr: Buffer): Result {
  return { status, signal, stdout: stdout.toString(), stderr: stderr.toString(), bytes: stdout };
}

function runSync(env: NodeJS.ProcessEnv, args: readonly string[], options: CommandOptions): Result {
  const { status, signal, stdout, stderr, error } = spawnSync(TSBOX, args, {
    env: { ...env, ...options.env },
    cwd: options.cwd ?? '/',
    timeout: PATIENCE * (options.timeout ?? DEFAULT_TIMEOUT),
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    ...(options.input === undefined ? { stdio: ['ignore', 'pipe', 'pipe'] } : { input: options.input }),
  });
  if (error !== undefined) throw new Error(`tsbox ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`);
  return result(status, signal, stdout, stderr);
}

function startAsync(env: NodeJS.ProcessEnv, args: readonly string[], options: CommandOptions): Running {
  const child = spawn(TSBOX, args, { env: { ...env, ...options.env }, cwd: options.cwd ?? '/' });
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (data: Buffer) => chunks[name].push(data));
  child.stdin.on('error', () => {}); // EPIPE: the command ended first
  if (options.input !== undefined) child.stdin.end(options.input);
  const text = (name: 'stdout' | 'stderr') => Buffer.concat(chunks[name]).toString();
  const done = new Promise<Result>((fulfil, reject) => {
    const timer = setTimeout(
      () => {
        child.kill('SIGKILL');
        reject(new Error(`tsbox ${args.join(' ')}: took too long\n${text('stdout')}\n${text('stderr')}`));
      },
      PATIENCE * (options.timeout ?? DEFAULT_TIMEOUT),
    );
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      fulfil(result(status, signal, Buffer.concat(chunks.stdout), Buffer.concat(chunks.stderr)));
    });
  });
  done.catch(() => {}); // whoever awaits it hears of it; a test that failed before does not
  return { child, stdout: () => text('stdout'), stderr: () => text('stderr'), done };
}

/** Copies the ready store when there is nothing yet; ids are mapped in a store of their own. */
function importFixture(box: Pick<Sandbox, 'ok' | 'dataRoot' | 'env'>, name: FixtureName): string {
  if (existsSync(box.dataRoot) || box.env['TSBOX_USERNS_REMAP'] !== undefined) box.ok(importWords(name));
  else {
    const { status, stderr } = spawnSync('cp', ['--archive', readyStore(name), box.dataRoot], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
  return fixtureImage(name);
}

/** Ids of the containers in the data root, and in those for mapped ids within it. */
function containersOf({ dataRoot }: Sandbox): string[] {
  const within = (directory: string) => (existsSync(directory) ? readdirSync(directory) : []);
  return [dataRoot, ...within(dataRoot).map((name) => join(dataRoot, name))]
    .flatMap((root) => within(join(root, 'containers')))
    .filter((name) => /^[0-9a-f]{64}$/.test(name));
}

/** Removes all containers, those that run too. */
function removeContainers(box: Sandbox): void {
  const ids = containersOf(box);
  if (ids.length > 0) box.tsbox(['rm', '--force', ...ids]);
}

/** Ends what runs, takes the directory away, and fails the test when something else had been left behind. */
async function close(box: Sandbox): Promise<void> {
  let left: string[] = [];
  try {
    removeContainers(box);
  } finally {
    left = await leftovers(box.directory);
    removeLeftovers(box.directory, left);
    rmSync(box.directory, { recursive: true, force: true });
  }
  assert.deepEqual(left, [], 'something was left behind');
}

/** A sandbox that lasts as long as the test. */
export function sandbox(context: TestContext): Sandbox {
  const directory = temporaryDirectory();
  const [dataRoot, runRoot] = [join(directory, 'd'), join(directory, 'r')];
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    PATH: `${dirname(TSBOX)}:${process.env['PATH'] ?? ''}`,
    TSBOX_ROOT: dataRoot,
    TSBOX_RUN_ROOT: runRoot,
    HOME: join(directory, 'home'),
    NO_COLOR: '1',
  };
  delete env['NODE_COMPILE_CACHE']; // tsbox starts as it does for users
  delete env['NODE_TEST_CONTEXT']; // the test runner's own; a Node started with it prints for the runner
  mkdirSync(env['HOME']!);
  const images = new Map<FixtureName, string>();
  const box: Sandbox = {
    directory,
    dataRoot,
    runRoot,
    env,
    tsbox: (args, options = {}) => runSync(env, args, options),
    ok(args, options = {}) {
      const { status, signal, stdout, stderr } = runSync(env, args, options);
      assert.equal(status, 0, `tsbox ${args.join(' ')}: ${signal ?? `exit ${status}`}\n${stdout}${stderr}`);
      return stdout.replace(/\n$/, '');
    },
    start: (args, options = {}) => startAsync(env, args, options),
    // On an emulated processor reading the sources takes longer than starting the program.
    said: async (args) => (PATIENCE > 1 ? runSync(env, args, {}) : inProcess(box, args)),
    async quick(args) {
      const { status, stdout, stderr } = await box.said(args);
      assert.equal(status, 0, `tsbox ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`);
      return stdout.replace(/\n$/, '');
    },
    image(name = 'busybox') {
      const known = images.get(name) ?? importFixture(box, name);
      images.set(name, known);
      return known;
    },
  };
  context.after(() => close(box));
  return box;
}

/** What is in the run root beside the journal of events: something only while a container runs. */
export function runRootOf({ runRoot }: Pick<Sandbox, 'runRoot'>): string[] {
  const names = existsSync(runRoot) ? readdirSync(runRoot) : [];
  return names.filter((name) => name !== 'events');
}

/** Tries `look` until it gives something. @throws Error after `timeout` milliseconds */
export async function until<T>(what: string, look: () => T | undefined | false, timeout = 30_000): Promise<T> {
  const end = performance.now() + PATIENCE * timeout;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`waited ${timeout} ms in vain for ${what}`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}
