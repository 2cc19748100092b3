/** An ordinary user's container when no more processes may be made, at each single one of its start, or of its making. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { fewForks, type Refused } from '../system/few-forks.ts';
import { TSBOX, until } from '../system/harness.ts';
import { ownNetwork } from './own-network.ts';
import { type User, user } from './user.ts';

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
  delete he.env['TSBOX_BRIDGE'];
  const words = ['run', '--rm', '--publish', '8080:80', image, 'true'];
  const whom = await eachRefused(t, he, words, ({ stderr }, what) => {
    // What pasta says of its own is pasta's.
    if (!/tsbox-keeper.*"pasta"/.test(stderr)) assert.match(stderr, TOLD, what);
  });
  assert.ok(whom.includes('tsbox-keeper'), whom.join(', '));
});

test('rootless faults: each single process of a create under vfs is refused, of the copy too', async (t) => {
  if (!requires(t, 'root', 'userns', 'command:gcc', 'command:newuidmap')) return;
  const he = user(t);
  he.env['TSBOX_STORAGE_DRIVER'] = 'vfs';
  const words = ['create', '--network', 'none', '--name', 'one', he.image(), 'true'];
  const whom = await eachRefused(t, he, words, ({ stderr }, what) => assert.match(stderr, TOLD, what));
  assert.ok(whom.includes('tsbox-userns'), whom.join(', '));
});

const TOLD = /Resource temporarily unavailable/;

/** The command as he, with one process after the other refused to it, until all are made. What fails leaves nothing. @returns who was refused */
async function eachRefused(
  t: TestContext,
  he: User,
  words: readonly string[],
  check: (one: Refused, what: string) => void,
): Promise<string[]> {
  const refuse = fewForks(he.directory);
  const as = ['setpriv', '--reuid', `${he.uid}`, '--regid', `${he.gid}`, '--clear-groups', 'env', '-C', '/'];
  const command = [...as, TSBOX, ...words];
  const running = () => readdirSync(`${he.env['XDG_RUNTIME_DIR']}/tsbox`).filter((name) => name !== 'events');
  const whom: string[] = [];
  for (let number = 1; ; number++) {
    assert.ok(number < MOST, whom.join(', '));
    const one = refuse('one', number, command, he.env);
    const what = `${number}: ${JSON.stringify(one)}`;
    assert.notEqual(one.status, null, what);
    if (one.status !== 0) {
      assert.ok([1, 125].includes(one.status ?? -1), what);
      assert.match(one.stderr, /\nhint: .*pids\.max/, what);
      check(one, what);
      assert.equal(he.ok(['ps', '--all', '--quiet']), '', what);
    }
    await until(`an empty run root after ${what}`, () => running().length === 0);
    if (one.whom === undefined) break;
    whom.push(one.whom);
  }
  t.diagnostic(whom.join(', '));
  return whom;
}
