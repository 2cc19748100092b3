/** Two who want different things of one container: what comes second meets what the first has left, never half of it. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import test from 'node:test';
import { openEngine } from '../../src/engine/open.ts';
import { containerDirectory } from '../../src/store/store.ts';
import { lock } from '../../src/sys/lock.ts';
import { requires } from '../requires.ts';
import { sandbox } from './harness.ts';
import { pause } from './truth.ts';

/** How many wait for a lock on a file: lines of /proc/locks with an arrow. @see proc_locks(5) */
function waiting(path: string): number {
  const inode = new RegExp(`-> FLOCK .*:${statSync(path).ino} `);
  return readFileSync('/proc/locks', 'latin1')
    .split('\n')
    .filter((line) => inode.test(line)).length;
}

test('races: who starts a container while it is removed is told that there is none', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  for (const verb of ['start', 'restart']) {
    const id = await box.quick(['create', '--network', 'none', image, 'sleep', '1000']);
    const directory = containerDirectory(openEngine(box).store, id);
    const held = lock(directory);
    // They get the lock in the order in which they have asked for it.
    const removal = box.start(['rm', id]);
    while (waiting(directory) < 1) await pause(5);
    const other = box.start([verb, id]);
    while (waiting(directory) < 2) await pause(5);
    held.release();
    const [removed, refused] = await Promise.all([removal.done, other.done]);
    assert.equal(removed.status, 0, `rm: ${removed.stderr}`);
    assert.equal(refused.status, 1, verb);
    assert.match(refused.stderr, /No such container: /, verb);
    assert.equal(await box.quick(['ps', '-aq']), '');
  }
});
