/**
 * `make bench-lists`: the lists of a store in which much is, over the start of Node alone: 1,000 containers, of which some run, and 1,000
 * images. The store is filled by tsbox's own engine in this process. usage: lists.ts [RUNS [MANY]]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerRequest } from '../src/engine/api.ts';
import { commitContainer } from '../src/engine/commit.ts';
import { createContainer } from '../src/engine/create.ts';
import { openEngine } from '../src/engine/open.ts';
import { type Engine, REPOSITORY, startTsbox } from './engines.ts';
import { median, run, time } from './measure.ts';
import { table } from './table.ts';

/** The most that a list may take over Node's start. */
const PROMISED_MS = 150;
/** Containers that run. */
const RUNNING = 20;
const WARM_UP = 2;
const ROOTFS = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');
const REQUEST: ContainerRequest = {
  image: 'base:1',
  command: ['sleep', '1000000'],
  env: [],
  labels: {},
  tty: false,
  openStdin: false,
  attached: false,
  autoRemove: false,
  readonlyRootfs: false,
  volumes: [],
  network: 'none',
  capAdd: [],
  capDrop: [],
  securityOpt: [],
  pull: 'never',
};
const LISTS = [['ps'], ['ps', '--all'], ['ps', '--all', '--quiet'], ['images'], ['images', '--quiet']] as const;

function say({ program, env }: Engine, ...args: string[]): string {
  return run({ argv: [...program, ...args], env }).stdout.trim();
}

async function fill(engine: Engine, many: number): Promise<void> {
  const { env } = engine;
  const opened = openEngine({ dataRoot: env['TSBOX_ROOT']!, runRoot: env['TSBOX_RUN_ROOT']! });
  say(engine, 'import', ROOTFS, REQUEST.image);
  const ids: string[] = [];
  for (let number = 0; number < many; number++) ids.push((await createContainer(opened, REQUEST, () => undefined)).id);
  say(engine, 'start', ...ids.slice(0, RUNNING));
  const request = { container: ids.at(-1)!, author: '', changes: [], pause: false };
  for (let number = 1; number < many; number++)
    await commitContainer(opened, { ...request, reference: `image-${number}:1`, message: `number ${number}` });
}

const [, , runs = '15', many = '1000'] = process.argv;
const work = mkdtempSync(join(tmpdir(), 'tsbox-bench-'));
let engine: Engine | string | undefined;
try {
  engine = await startTsbox(work);
  if (typeof engine === 'string') throw new Error(engine);
  await fill(engine, Number(many));
  const empty = { argv: [process.execPath, '-e', '0'] as const };
  const { program, env } = engine;
  const times = new Map(LISTS.map((args) => [args, { list: [] as number[], node: [] as number[] }]));
  for (let round = -WARM_UP; round < Number(runs); round++) {
    for (const [args, taken] of times) {
      const [node, list] = [time(empty), time({ argv: [...program, ...args], env })];
      if (round < 0) continue;
      taken.node.push(node);
      taken.list.push(list);
    }
  }
  const lines = [...times].map(([args, { list, node }]) => {
    const more = median(list.map((ms, round) => ms - node[round]!));
    const figures = [median(node), median(list), more, Math.min(...list) - Math.min(...node)];
    const judged = `${PROMISED_MS} ms: ${more <= PROMISED_MS ? 'kept' : 'MISSED'}`;
    return [args.join(' '), ...figures.map((ms) => ms.toFixed(1)), judged];
  });
  console.log(
    `lists of ${many} containers, ${RUNNING} of them running, and ${many} images: ${runs} runs, interleaved with Node alone; ` +
      `${cpus().length} processors, Linux ${release()}; tsbox ${engine.version}\n\n` +
      table([['', 'Node alone ms', 'median ms', 'more', 'least more', 'promise'], ...lines]),
  );
} finally {
  if (typeof engine === 'object') {
    const running = say(engine, 'ps', '--quiet').split('\n').filter(Boolean);
    if (running.length > 0) say(engine, 'rm', '--force', ...running);
  }
  rmSync(work, { recursive: true, force: true });
}
