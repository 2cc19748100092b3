/** What the tests of images share: a store of one's own, a real dockerd, and what a command says. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { EngineOptions, OnProgress, Progress } from '../../src/engine/api.ts';
import { type Engine, openEngine } from '../../src/engine/open.ts';
import { requireImage } from '../../src/store/images.ts';
import { layerChain } from '../../src/store/layers.ts';
import { fingerprint, temporary } from '../unit/engine-archives.ts';
import { PATIENCE } from './harness.ts';

const LARGEST = 1 << 30;

/** Runs a command. @returns its standard output @throws Error with its standard error */
export async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Buffer> {
  const options = {
    env: { ...process.env, ...env },
    maxBuffer: LARGEST,
    timeout: 120_000,
    encoding: 'buffer',
  } as const;
  const { stdout } = await promisify(execFile)(command, args, options);
  return stdout;
}

/** An engine on a data root that is gone after the test. */
export function engineIn(context: TestContext, options: Partial<EngineOptions> = {}): Engine & { directory: string } {
  const directory = temporary(context);
  const roots = { dataRoot: join(directory, 'data'), runRoot: join(directory, 'run') };
  return { directory, ...openEngine({ ...roots, ...options }) };
}

/** Collects progress. */
export function listener(): { events: Progress[]; say: OnProgress; texts(): string[]; words(): string[] } {
  const events: Progress[] = [];
  return {
    events,
    say: (event) => void events.push(event),
    texts: () => events.flatMap((event) => (event.kind === 'text' ? [event.text] : [])),
    words: () => [...new Set(events.flatMap((event) => (event.kind === 'layer' ? [event.status] : [])))],
  };
}

/** Every file of a data root, to see whether it is as it was. */
export function contents(engine: Engine): string[] {
  return fingerprint(engine.options.dataRoot);
}

/** Runs `work`, which must fail, and holds the data root against what it was before. @returns the error */
export async function failing(engine: Engine, work: () => Promise<unknown>): Promise<Error & { code: string }> {
  const before = contents(engine).filter((line) => !line.startsWith('tmp '));
  const error = await work().then(
    () => assert.fail('it worked'),
    (reason: unknown) => reason as Error & { code: string },
  );
  assert.deepEqual(
    contents(engine).filter((line) => !line.startsWith('tmp ')),
    before,
    'the store has changed',
  );
  return error;
}

/** Directories of an image's layers, the base first. */
export function layerDirectories(engine: Engine, image: string): string[] {
  const { chainId } = requireImage(engine.store, image);
  return layerChain(engine.store, chainId ?? '')
    .reverse()
    .map(({ diffDir }) => diffDir);
}

/** `docker ARGS`: standard output without its last line feed. `api` asks the daemon itself. @throws Error unless it answers 2xx */
export type Docker = ((...args: string[]) => Promise<string>) & {
  /** As DOCKER_HOST has it. */
  host: string;
  api(method: 'GET' | 'DELETE', path: string): Promise<unknown>;
};

/** One request to a daemon. @returns the JSON of its answer */
async function askDaemon(socketPath: string, method: string, path: string): Promise<unknown> {
  const asked = request({ socketPath, method, path, agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  const body = await text(answer);
  if (answer.statusCode! >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${body}`);
  return body === '' ? undefined : JSON.parse(body);
}

/** All of them, those that run too. */
export async function removeContainers(docker: Docker): Promise<void> {
  const containers = (await docker.api('GET', '/containers/json?all=1')) as { Id: string }[];
  await Promise.all(containers.map(({ Id }) => docker.api('DELETE', `/containers/${Id}?force=1`)));
}

/** A dockerd with a data root and a mount namespace of its own, until the test ends. `flags` are more of its own. */
export async function startDocker(
  context: TestContext,
  flags: readonly string[] = [],
  networked = false,
): Promise<Docker> {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-docker-'));
  chmodSync(directory, 0o711); // with --userns-remap others have to get through
  const host = `unix://${directory}/sock`;
  mkdirSync(join(directory, 'root'));
  const paths = [
    '--data-root',
    `${directory}/root`,
    '--exec-root',
    `${directory}/exec`,
    '--pidfile',
    `${directory}/pid`,
  ];
  const network = networked ? [] : ['--bridge=none', '--iptables=false', '--ip6tables=false'];
  // Its bridges and rules are made in a network namespace that ends with it and its containers.
  const where = networked ? ['-m', '-n', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh'] : ['-m'];
  const child = spawn('unshare', [...where, 'dockerd', '-H', host, ...paths, ...network, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const docker: Docker = Object.assign(
    async (...args: string[]) => (await run('docker', args, { DOCKER_HOST: host })).toString().replace(/\n$/, ''),
    { host, api: (method: string, path: string) => askDaemon(`${directory}/sock`, method, path) },
  );
  context.after(async () => {
    // A container that runs keeps its shim alive beyond the daemon.
    await removeContainers(docker).catch(() => {});
    child.kill('SIGTERM');
    await ended;
    // Not before: it asks for its socket, and writes. A hook that fails would leave out those after it.
    rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
  });
  for (let tries = 0; tries < 600 * PATIENCE; tries++) {
    const version = await docker.api('GET', '/version').catch(() => undefined);
    if (version !== undefined) return docker;
    if (child.exitCode !== null) break;
    await sleep(100);
  }
  throw new Error(`dockerd does not answer: ${log.slice(-2000)}`);
}
