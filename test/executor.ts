/** Drives the executor's binary as a test needs it: a plan in, frames out. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Plan, Step } from '../src/plan/step.ts';
import { encodePlan } from '../src/plan/wire.ts';

/** TSBOX_TEST_EXECUTOR names another build of it, such as the one with sanitizers. */
export const EXECUTOR =
  process.env['TSBOX_TEST_EXECUTOR'] ?? join(import.meta.dirname, '../native-bindings/build/tsbox-executor');

export const FRAME = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  started: 3,
  failed: 4,
  exit: 5,
  step: 6,
  waiting: 7,
  hello: 16,
  resize: 17,
  go: 18,
} as const;
export type FrameName = keyof typeof FRAME;

export interface Failure {
  list: number;
  index: number;
  errno: number;
  nested: boolean;
  detail?: string;
}

/** One connection to a monitor, and all that has come over it. */
export interface Client {
  readonly socket: Socket;
  readonly stdout: Buffer[];
  readonly stderr: Buffer[];
  /** Names of the frames in their order, output included once for each frame. */
  readonly order: FrameName[];
  readonly failed: Failure[];
  readonly steps: { list: number; index: number; errno: number; ns: number }[];
  waiting: string | undefined;
  started: number | undefined;
  exit: { code: number; signal: number } | undefined;
  readonly closed: Promise<void>;
  send(name: FrameName, payload?: Buffer | string): void;
  /** Resolves when `condition` holds; it is looked at after each arrival. @throws Error when the connection ends before */
  until(condition: (client: Client) => boolean): Promise<void>;
}

/** Docker's json-file without attributes, and, unless `maxSize` says so, without an end. */
export const logTo = (path: string, maxSize = -1, maxFiles = 1): Step => ({
  op: 'log',
  path,
  maxSize,
  maxFiles,
  attrs: '',
  format: 'json-file',
  compress: 0,
  buffer: 0,
  why: 'test',
});

function frame(name: FrameName, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = FRAME[name];
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

function take(client: Client, name: FrameName, payload: Buffer): void {
  client.order.push(name);
  if (name === 'stdout') client.stdout.push(payload);
  else if (name === 'stderr') client.stderr.push(payload);
  else {
    const value = JSON.parse(payload.toString());
    if (name === 'started') client.started = value.pid;
    else if (name === 'failed') client.failed.push(value);
    else if (name === 'exit') client.exit = value;
    else if (name === 'step') client.steps.push(value);
    else if (name === 'waiting') client.waiting = value.name;
  }
}

export function clientOf(socket: Socket): Client {
  let pending: Buffer[] = [];
  let size = 0;
  let ended = false;
  const watchers = new Set<() => void>();
  const client: Client = {
    socket,
    stdout: [],
    stderr: [],
    order: [],
    failed: [],
    steps: [],
    waiting: undefined,
    started: undefined,
    exit: undefined,
    closed: new Promise((resolve) => {
      socket.on('close', () => {
        ended = true;
        for (const look of watchers) look();
        resolve();
      });
    }),
    send: (name, payload = '') => {
      socket.write(frame(name, Buffer.from(payload as string)));
    },
    until: (condition) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (condition(client)) resolve();
          else if (ended) reject(new Error(`the monitor is gone: ${JSON.stringify({ ...client, socket: undefined })}`));
          else return;
          watchers.delete(look);
        };
        watchers.add(look);
        look();
      }),
  };
  const names = new Map(Object.entries(FRAME).map(([name, number]) => [number as number, name as FrameName]));
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    pending.push(bytes);
    size += bytes.length;
    while (size >= 8) {
      if (pending[0]!.length < 8) pending = [Buffer.concat(pending)];
      const length = pending[0]!.readUInt32BE(4);
      if (size < 8 + length) break;
      const all = pending.length === 1 ? pending[0]! : Buffer.concat(pending);
      take(client, names.get(all[0]!)!, all.subarray(8, 8 + length));
      size -= 8 + length;
      pending = size === 0 ? [] : [all.subarray(8 + length)];
    }
    for (const look of watchers) look();
  });
  return client;
}

/** Connects to a listening monitor and says hello. */
export async function attach(path: string, wants: { output: boolean; stdin: boolean }): Promise<Client> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const client = clientOf(socket);
  client.send('hello', Buffer.of(wants.output ? 1 : 0, wants.stdin ? 1 : 0));
  return client;
}

export interface Launched extends Client {
  readonly child: ChildProcess;
  /** The executor's own exit code. */
  readonly ended: Promise<number | null>;
}

export interface LaunchOptions {
  trace?: boolean;
  /** Change the encoded bytes before they are given to the executor. */
  damage?: (bytes: Buffer) => Buffer;
  executor?: string;
}

/** A descriptor of a file without a name that holds `bytes`, at its end. */
function anonymousFile(bytes: Buffer): number {
  const O_TMPFILE = 0o20000000;
  const fd = openSync(tmpdir(), O_TMPFILE | constants.O_DIRECTORY | constants.O_RDWR, 0o600);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  return fd;
}

export function launch(plan: Partial<Plan>, options: LaunchOptions = {}): Launched {
  const whole: Plan = { setup: [], monitor: plan.monitor ?? [], cleanup: plan.cleanup ?? [] };
  const encoded = encodePlan(whole, { trace: options.trace ?? false }).bytes;
  const fd = anonymousFile(options.damage?.(encoded) ?? encoded);
  const child = spawn(options.executor ?? EXECUTOR, ['3'], { stdio: ['ignore', 'ignore', 'inherit', fd, 'pipe'] });
  closeSync(fd);
  const ended = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)));
  return Object.assign(clientOf(child.stdio[4] as Socket), { child, ended });
}

export interface Result {
  stdout: string;
  stderr: string;
  code: number | undefined;
  signal: number | undefined;
  failed: Failure[];
  started: boolean;
  order: FrameName[];
  executor: number | null;
}

/** Waits for the end, with the input's end sent first. */
export async function finish(launched: Launched): Promise<Result> {
  await launched.closed;
  return {
    stdout: Buffer.concat(launched.stdout).toString(),
    stderr: Buffer.concat(launched.stderr).toString(),
    code: launched.exit?.code,
    signal: launched.exit?.signal,
    failed: launched.failed,
    started: launched.started !== undefined,
    order: launched.order,
    executor: await launched.ended,
  };
}

const why = 'for a test';
const ENV = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];

/** Steps, shortly. */
export const exec = (...args: string[]): Step => ({ op: 'exec', args, env: ENV, why });
export const shell = (script: string): Step => exec('/bin/sh', '-c', script);
export const spawning = (...list: Step[]): Step => ({ op: 'spawn', list, why });
export const piped = (mode: 'STDIN_NULL' | 'STDIN_OPEN' | 'STDIN_ONCE' = 'STDIN_NULL'): Step => ({
  op: 'stdio',
  stdin: [mode],
  why,
});

/** A process with pipes that runs these steps. */
export const run = (steps: Step[], options: LaunchOptions & { cleanup?: Step[]; before?: Step[] } = {}): Launched =>
  launch(
    { monitor: [...(options.before ?? []), piped(), spawning(...steps)], cleanup: options.cleanup ?? [] },
    options,
  );
