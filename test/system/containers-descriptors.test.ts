/** Few descriptors: a limit on open files below what tsbox needs is told, and leaves nothing; one just above it is enough. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox, TSBOX } from './harness.ts';
import { leftovers } from './leftovers.ts';

/** Node itself does not start with fewer than 22, and tsbox's own libraries need two more. */
const LIMITS = [24, 25, 26, 27, 28, 30, 34, 50, 69];

test('faults: with few descriptors a run works, or says so and leaves nothing', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  box.ok(['run', '--rm', image, 'true']);
  const worked: number[] = [];
  for (const limit of LIMITS) {
    const run = ['run', '--rm', '--network', 'none', image, 'echo', 'here'];
    const script = `ulimit -n ${limit} && exec "$0" "$@"`;
    const { status, stdout, stderr } = spawnSync('sh', ['-c', script, TSBOX, ...run], {
      env: box.env,
      encoding: 'utf8',
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    assert.notEqual(status, null, `with ${limit} it ends`);
    if (status === 0) {
      assert.equal(stdout, 'here\n');
      worked.push(limit);
    } else {
      assert.match(stderr, /^tsbox: .*EMFILE.*\nhint: .*ulimit -n/, `with ${limit}`);
    }
    assert.equal(await box.quick(['ps', '-aq']), '', `after ${limit}: ${stderr}`);
    assert.deepEqual(await leftovers(box.directory), [], `after ${limit}`);
  }
  for (const enough of [34, 50, 69]) assert.ok(worked.includes(enough), `${enough} are enough`);
});
