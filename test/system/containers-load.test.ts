/**
 * Many at once: processes that call verbs by chance on the same containers. A short share of it here; `make soak` takes 200 containers, 20
 * processes and minutes: TSBOX_LOAD_CONTAINERS, TSBOX_LOAD_PROCESSES, TSBOX_LOAD_SECONDS. The seed is printed; TSBOX_LOAD_SEED repeats the choices.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { requires } from '../requires.ts';
import { PATIENCE, type Sandbox, sandbox } from './harness.ts';
import { leftovers } from './leftovers.ts';
import { generator } from './store-random.ts';
import { pause } from './truth.ts';

const number = (name: string, otherwise: number) => Number(process.env[`TSBOX_LOAD_${name}`] ?? otherwise);
const CONTAINERS = number('CONTAINERS', 12);
const PROCESSES = number('PROCESSES', 6);
const SECONDS = number('SECONDS', 8);
const SEED = number('SEED', Date.now() % 2 ** 31);

/** Ends on SIGTERM at once. */
const OBEDIENT = ['sh', '-c', 'echo begun; trap "exit 0" TERM; while :; do sleep 1000 & wait; done'];

/** Is started again after a moment. */
const FAILING = ['sh', '-c', 'sleep 0.3; exit 3'];

/** What may be said when somebody else was faster. */
const EXPECTED = [
  /No such (container|object)/,
  /is not running/,
  /failed to (start containers|rename container)/,
  /same name as its current name/,
  /is (already )?in use by container/,
  /paused/,
  /cannot remove a (running|paused|restarting) container/,
  /is restarting, wait until/,
  /[Cc]annot kill container/,
  /removal of container .* is already in progress/,
  /marked for removal/,
  /its end was not seen|monitor .* (left|ended)/,
];

/** Of one verb only. */
const EXPECTED_OF: Record<string, readonly RegExp[]> = {
  attach: [/cannot attach to a (stopped|restarting) container/],
  start: [/cannot attach to a restarting container/],
  diff: [/not all copied yet/], // storage driver vfs
  commit: [/not all copied yet/],
  export: [/not all copied yet/],
};

/** These end with the container; somebody ends them before. */
const STAYS = /^(start -a|attach|wait)\b/;
const STAY_MS = 1500;

interface Call {
  args: string[];
  status: number | null;
  stderr: string;
}

/** The next call by chance. */
function choose(random: () => number, image: string): string[] {
  // Not to be taken for the beginning of an id.
  const one = () => `n${Math.floor(random() * CONTAINERS)}`;
  const calls: (() => string[])[] = [
    () => ['run', '-d', '--network', 'none', '--name', one(), image, ...OBEDIENT],
    () => ['create', '--network', 'none', '--name', one(), image, ...OBEDIENT],
    () => ['start', one()],
    () => ['start', one()],
    () => ['stop', '-t', '1', one()],
    () => ['kill', one()],
    () => ['exec', one(), 'true'],
    () => ['rm', '-f', one()],
    () => ['rm', one()],
    () => ['ps', '-a'],
    () => ['pause', one()],
    () => ['unpause', one()],
    () => ['unpause', one()],
    () => ['restart', '-t', '1', one()],
    () => ['rename', one(), one()],
    () => ['inspect', one()],
    () => ['logs', one()],
    () => ['top', one()],
    () => ['stats', '--no-stream', one()],
    () => ['diff', one()],
    () => ['cp', `${one()}:/etc/passwd`, '-'],
    () => ['export', '-o', '/dev/null', one()],
    () => ['update', '--memory', '64m', '--memory-swap', '128m', one()],
    () => ['exec', '--privileged', one(), 'true'],
    () => ['exec', '-d', one(), 'true'],
    () => ['run', '-d', '--rm', '--network', 'none', '--name', one(), image, ...OBEDIENT],
    () => ['run', '-d', '--restart', 'always', '--network', 'none', '--name', one(), image, ...FAILING],
    () => ['start', '-a', one()],
    () => ['attach', '--no-stdin', one()],
    () => ['wait', one()],
    () => ['commit', one(), 'load/image'],
  ];
  return calls[Math.floor(random() * calls.length)]!();
}

/** What nobody expects to be told, or a failure without a word. */
function strangeness({ args, status, stderr }: Call): string[] {
  if (status === 0) return [];
  const lines = stderr.split('\n').filter((line) => line !== '' && !/^(hint|Run|See)\b/.test(line));
  const expected = [...EXPECTED, ...(EXPECTED_OF[args[0]!] ?? [])];
  const strange = lines.filter((line) => !expected.some((pattern) => pattern.test(line)));
  const words = args.join(' ');
  // Its exit code may be the command's; only what stays is ended by a signal.
  const isMute = STAYS.test(words) || (args[0] === 'exec' && status !== null);
  if (!isMute && (lines.length === 0 || status === null)) strange.push(`status ${status}`);
  return strange.map((line) => `tsbox ${words}: ${line}`);
}

/** Calls until the time is over. */
async function worker(box: Sandbox, image: string, seed: number, calls: Call[]): Promise<void> {
  const random = generator(seed);
  for (const end = Date.now() + SECONDS * 1000; Date.now() < end; ) {
    const args = choose(random, image);
    const { child, done } = box.start(args, { timeout: 120_000 });
    const timer = STAYS.test(args.join(' ')) ? setTimeout(() => child.kill('SIGKILL'), STAY_MS) : undefined;
    const { status, stderr } = await done;
    clearTimeout(timer);
    calls.push({ args, status, stderr });
  }
}

interface Listed {
  ID: string;
  Names: string;
  State: string;
}

/** Each container is what `ps` says it is. */
async function checkTruth(box: Sandbox): Promise<void> {
  const listed = (await box.quick(['ps', '-a', '--no-trunc', '--format', '{{json .}}'])).split('\n').filter(Boolean);
  for (const { ID, Names, State } of listed.map((line) => JSON.parse(line) as Listed)) {
    const [{ State: state, Name }] = JSON.parse(await box.quick(['inspect', ID]));
    assert.equal(Name, `/${Names}`);
    assert.equal(state.Status, State, Names);
    const runs = State === 'running' || State === 'paused';
    assert.equal(state.Running, runs || State === 'restarting', Names);
    if (runs) assert.ok(existsSync(`/proc/${state.Pid}`), `${Names} has its process`);
    else assert.equal(state.Pid, 0, Names);
  }
}

/** The journal as a whole: whatever began has ended. */
function checkEvents(box: Sandbox): void {
  const counts = new Map<string, number>();
  for (const path of [`${box.runRoot}/events.1`, `${box.runRoot}/events`].filter(existsSync)) {
    for (const line of readFileSync(path, 'utf8').split('\n').filter(Boolean)) {
      const { type, action, id } = JSON.parse(line) as { type: string; action: string; id: string };
      if (type === 'container') counts.set(`${action} ${id}`, (counts.get(`${action} ${id}`) ?? 0) + 1);
    }
  }
  const ids = [...counts.keys()].filter((key) => key.startsWith('create ')).map((key) => key.slice(7));
  assert.ok(ids.length > 0);
  for (const id of ids) {
    assert.equal(counts.get(`destroy ${id}`), 1, `${id} is destroyed once`);
    assert.equal(counts.get(`die ${id}`), counts.get(`start ${id}`), `${id} dies as often as it is started`);
  }
}

/** What was killed last takes a moment to end, and an end is told just after it can be seen. */
async function soon(check: () => Promise<void>): Promise<void> {
  for (const end = performance.now() + PATIENCE * 30_000; ; await pause(100)) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}

test(`load: ${PROCESSES} processes call verbs on ${CONTAINERS} containers for ${SECONDS} s, seed ${SEED}`, async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const calls: Call[] = [];
  await Promise.all([...Array(PROCESSES).keys()].map((at) => worker(box, image, SEED + at, calls)));
  t.diagnostic(`${calls.length} calls, ${calls.filter(({ status }) => status === 0).length} of them did something`);
  assert.deepEqual(calls.flatMap(strangeness), []);
  await soon(() => checkTruth(box));
  const all = (await box.quick(['ps', '-aq'])).split('\n').filter(Boolean);
  if (all.length > 0) box.ok(['rm', '-f', ...all], { timeout: 120_000 });
  assert.deepEqual(await leftovers(box.directory), []);
  await soon(async () => checkEvents(box));
});
