/** What is measured of a container's life. Every case leaves its engine without containers of its own. */
import { spawn } from 'node:child_process';
import type { Engine } from './engines.ts';
import { run, time } from './measure.ts';

export const IMAGE = 'busybox:offline';

export interface LifeCase {
  readonly name: string;
  /** The most that tsbox promises to take, as a part of another's median. */
  readonly promises?: Readonly<Record<string, number>>;
  /** Of the runs that were asked for; absent for all. */
  readonly share?: number;
  /** @returns milliseconds */
  time(engine: Engine): Promise<number>;
}

const NAME = 'bench';
const DETACHED = ['run', '-d', '--network', 'none'] as const;
/** Ends with SIGTERM at once. */
const OBEDIENT = ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done'] as const;
/** Containers of a row or a crowd. */
const MANY = 50;
/** Bytes that a container writes, in lines of 100. */
const WRITTEN = 1e9;
const WRITER = ['sh', '-c', `yes ${'x'.repeat(99)} | head -c ${WRITTEN}`] as const;

function say({ program, env }: Engine, ...args: string[]): string {
  return run({ argv: [...program, ...args], env }).stdout.trim();
}

function timed({ program, env }: Engine, ...args: string[]): number {
  return time({ argv: [...program, ...args], env });
}

/** With a container that is made by `before`: the time of one verb. */
function verb(
  name: string,
  before: readonly string[][],
  timedArgs: readonly string[],
  promises?: LifeCase['promises'],
): LifeCase {
  return {
    name,
    ...(promises !== undefined && { promises }),
    async time(engine) {
      for (const args of before) say(engine, ...args);
      const taken = timed(engine, ...timedArgs);
      if (timedArgs[0] !== 'rm') say(engine, 'rm', '-f', NAME);
      return taken;
    },
  };
}

/** Runs commands all at once. @throws Error unless all exit with 0 */
async function together({ program, env }: Engine, commands: readonly string[][]): Promise<void> {
  const statuses = commands.map((args) => {
    const child = spawn(program[0], [...program.slice(1), ...args], { env, stdio: 'ignore' });
    return new Promise<number | null>((fulfil, reject) => child.once('error', reject).once('close', fulfil));
  });
  const failed = (await Promise.all(statuses)).filter((status) => status !== 0).length;
  if (failed > 0) throw new Error(`${program[0]}: ${failed} of ${commands.length} failed`);
}

const names = [...Array(MANY).keys()].map((number) => `${NAME}-${number}`);
const starts = names.map((name) => [...DETACHED, '--name', name, IMAGE, ...OBEDIENT]);

async function since(work: () => Promise<void>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** From the first start to the return of the last one. */
function many(name: string, start: (engine: Engine) => Promise<void>): LifeCase {
  return {
    name,
    share: 0.2,
    async time(engine) {
      const taken = await since(() => start(engine));
      say(engine, 'rm', '-f', ...names);
      return taken;
    },
  };
}

const created = ['create', '--network', 'none', '--name', NAME, IMAGE, ...OBEDIENT];
const running = [...DETACHED, '--name', NAME, IMAGE, ...OBEDIENT];

export const LIFE_CASES: readonly LifeCase[] = [
  verb('exec true', [running], ['exec', NAME, 'true'], { docker: 0.6, podman: 0.3 }),
  verb('create', [], created),
  verb('start', [created], ['start', NAME]),
  verb('stop', [running], ['stop', NAME]),
  verb('rm', [running, ['stop', NAME]], ['rm', NAME]),
  many(`${MANY} one after another`, async (engine) => {
    for (const args of starts) say(engine, ...args);
  }),
  many(`${MANY} at once`, (engine) => together(engine, starts)),
  {
    name: 'write 1 GB, attached',
    share: 0.1,
    time: async (engine) => timed(engine, 'run', '--rm', '--network', 'none', IMAGE, ...WRITER),
  },
  {
    name: 'write 1 GB, detached',
    share: 0.1,
    async time(engine) {
      const taken = await since(async () => {
        say(engine, ...DETACHED, '--name', NAME, IMAGE, ...WRITER);
        say(engine, 'wait', NAME);
      });
      say(engine, 'rm', '-f', NAME);
      return taken;
    },
  },
  {
    name: 'logs of 1 GB',
    share: 0.1,
    async time(engine) {
      say(engine, ...DETACHED, '--name', NAME, IMAGE, ...WRITER);
      say(engine, 'wait', NAME);
      const taken = await since(() => together(engine, [['logs', NAME]]));
      say(engine, 'rm', '-f', NAME);
      return taken;
    },
  },
];
