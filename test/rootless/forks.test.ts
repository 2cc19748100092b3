/** An ordinary user's container when no more processes may be made, at each single one of its start. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test from 'node:test';
import { requires } from '../requires.ts';
import { fewForks } from '../system/few-forks.ts';
import { TSBOX, until } from '../system/harness.ts';
import { ownNetwork } from './own-network.ts';
import { user } from './user.ts';

const MOST = 20;

test('rootless faults: each single process of a start with a network is refused', async (t) => {
  const needs = [
    'root',
    'overlay',
    'userns',
    'command:gcc',
    'command:newuidmap',
    'command:pasta',
    'command:ip',
  ] as const;
  if (!requires(t, ...needs)) return;
  const he = user(t);
  const image = he.image();
  await ownNetwork(t, he.directory);
  const refuse = fewForks(he.directory);
  const as = ['setpriv', '--reuid', `${he.uid}`, '--regid', `${he.gid}`, '--clear-groups', 'env', '-C', '/'];
  const command = [...as, TSBOX, 'run', '--rm', '--publish', '8080:80', image, 'true'];
  delete he.env['TSBOX_BRIDGE'];
  const running = () => readdirSync(`${he.env['XDG_RUNTIME_DIR']}/tsbox`).filter((name) => name !== 'events');
  const whom: string[] = [];
  for (let number = 1; ; number++) {
    assert.ok(number < MOST, whom.join(', '));
    const one = refuse('one', number, command, he.env);
    const what = `${number}: ${JSON.stringify(one)}`;
    assert.notEqual(one.status, null, what);
    if (one.status !== 0) {
      assert.equal(one.status, 125, what);
      assert.match(one.stderr, /\nhint: .*pids\.max/, what);
      // What pasta says of its own is pasta's.
      if (!/tsbox-keeper.*"pasta"/.test(one.stderr)) assert.match(one.stderr, /Resource temporarily unavailable/, what);
    }
    assert.equal(he.ok(['ps', '--all', '--quiet']), '', what);
    await until(`an empty run root after ${what}`, () => running().length === 0);
    if (one.whom === undefined) break;
    whom.push(one.whom);
  }
  t.diagnostic(whom.join(', '));
  assert.ok(whom.includes('tsbox-keeper'), whom.join(', '));
});
