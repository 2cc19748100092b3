/**
 * Whatever is killed at whatever moment, `ps -a` tells the truth afterwards, `rm -f` works, and nothing is left behind. TSBOX_SEED repeats
 * a run as far as time allows, TSBOX_KILLS says how many.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { openEngine } from '../../src/engine/open.ts';
import { listContainers } from '../../src/store/containers.ts';
import { readRun } from '../../src/store/state.ts';
import { readFollowed } from '../../src/store/successor.ts';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox } from './harness.ts';
import { leftovers } from './leftovers.ts';
import { generator } from './store-random.ts';
import { kill, pause, truth } from './truth.ts';

const KILLS = Number(process.env['TSBOX_KILLS'] ?? 20);
const SEED = Number(process.env['TSBOX_SEED'] ?? Math.floor(Math.random() * 1e9));
/** As long as a start takes on a busy machine. */
const MOMENT_MS = 250;

/** Picks whom to kill beside the command: the monitor, the first process, or who waits to start it again, of any container. */
function someone(box: Sandbox, pick: <T>(list: readonly T[]) => T | undefined): number | undefined {
  const { store } = openEngine(box);
  const record = pick(listContainers(store));
  if (record === undefined) return undefined;
  const run = readRun(store, record.ID);
  return pick([run?.Monitor, run?.Pid, readFollowed(store, record.ID)?.Pid].filter((pid) => pid !== undefined));
}

test(`faults: ${KILLS} kills at random moments, TSBOX_SEED=${SEED}`, {
  timeout: 120_000 + KILLS * 2_000,
}, async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const random = generator(SEED);
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const other = await box.quick(['create', '--name', 'bystander', image, 'sleep', '1000']);
  box.ok(['start', 'bystander']);
  const sleeper = [image, 'sleep', '1000'];
  const quick = ['sh', '-c', 'sleep 0.05; exit 1'];
  for (let round = 0; round < KILLS; round++) {
    const name = `c${round}`;
    const known = listContainers(openEngine(box).store)
      .map(({ Name }) => Name.slice(1))
      .filter((one) => one !== 'bystander');
    const one = pick(known) ?? 'none';
    const command = pick([
      ['run', '-d', '--name', name, ...sleeper],
      ['run', '--rm', '--name', name, ...sleeper],
      ['run', '-d', '--restart', 'always', '--name', name, image, ...quick],
      ['run', '-d', '--restart', 'always', '--name', name, ...sleeper],
      ['create', '--name', name, ...sleeper],
      ['start', one],
      ['exec', one, 'sleep', '0.1'],
      ['stop', '-t', '0', one],
      ['restart', '-t', '0', one],
      ['rm', '-f', one],
      ['rename', one, `${name}x`],
    ])!;
    const running = box.start(command, { input: '' });
    await pause(random() * MOMENT_MS);
    if (random() < 0.6) running.child.kill('SIGKILL');
    else {
      kill(someone(box, (list) => pick(list.filter((each) => (each as { Name?: string }).Name !== '/bystander'))));
      // One that attends a container ends with it, or here.
      await Promise.race([running.done, pause(400)]);
      running.child.kill('SIGKILL');
    }
    await running.done;
    await truth(box, `round ${round}: ${command.join(' ')}, TSBOX_SEED=${SEED}`);
    if (known.length > 6) await box.said(['rm', '-f', ...known.slice(0, 4)]);
  }
  assert.equal((await box.said(['ps', '-a'])).status, 0);
  assert.equal(await box.quick(['inspect', '-f', '{{.State.Status}}', other]), 'running', 'a bystander is not harmed');
  const ids = (await box.quick(['ps', '-aq', '--no-trunc'])).split('\n');
  const removed = await box.said(['rm', '-f', ...ids]);
  assert.deepEqual([removed.status, removed.stderr], [0, ''], `TSBOX_SEED=${SEED}`);
  // The removal after the last one collects what those that were killed have left half-made.
  await box.quick(['rm', await box.quick(['create', image])]);
  assert.deepEqual(await leftovers(box.directory), [], `TSBOX_SEED=${SEED}`);
  assert.deepEqual(readdirSync(join(box.dataRoot, 'names')), []);
  assert.deepEqual(
    readdirSync(box.runRoot).filter((name) => /^[0-9a-f]{64}$/.test(name)),
    [],
  );
  assert.ok(!existsSync(join(box.runRoot, other)));
  box.ok(['run', '--rm', image, 'true']);
});
