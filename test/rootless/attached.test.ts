/** Containers of an ordinary user that one is attached to, or not: terminals, pipes, logs; and starts that fail. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { type Terminal, terminal } from '../system/tmux.ts';
import { type User, user } from './user.ts';

const needs = (t: TestContext) => requires(t, 'root', 'overlay', 'userns', 'command:useradd', 'command:newuidmap');

/** A shell of his with the prompt `his$ `. */
async function shellOf(he: User, t: TestContext): Promise<Terminal> {
  const screen = terminal(t);
  const words = Object.entries(he.env).map(([name, value]) => `${name}=${value}`);
  const as = `setpriv --reuid ${he.uid} --regid ${he.gid} --clear-groups env -i TERM=xterm PS1='his$ ' ${words.join(' ')}`;
  screen.type(`clear; cd ${he.home}; exec ${as} bash --norc --noprofile`);
  await screen.see(/^his\$$/m);
  return screen;
}

test('rootless: in a terminal', async (t) => {
  if (!needs(t) || !requires(t, 'command:tmux')) return;
  const he = user(t);
  he.image();
  await t.test('run -it, detach, attach, exec -it', (context) => inTerminal(he, context));
});

async function inTerminal(he: User, t: TestContext): Promise<void> {
  const screen = await shellOf(he, t);
  screen.type(`tsbox run -it --name stay -e 'PS1=in# ' ${he.image()} sh`);
  await screen.see(/^in#$/m);
  screen.type('word=kept; stty size; tty; echo > /dev/tty && echo open');
  await screen.see(/^24 80\n\/dev\/pts\/0\n\nopen$/m);
  await screen.resize(90, 30);
  screen.type('sleep 0.3; stty size');
  await screen.see(/^30 90$/m);
  screen.press('C-p', 'C-q');
  await screen.see(/his\$$/);
  screen.clear();
  screen.type('tsbox attach stay');
  screen.press('Enter');
  await screen.see(/^in#$/m);
  screen.type('echo $word $(id -u)');
  await screen.see(/^kept 0$/m);
  screen.press('C-p', 'C-q');
  await screen.see(/his\$$/);
  screen.clear();
  screen.type("tsbox exec -it -u 33 -e 'PS1=more# ' stay sh");
  await screen.see(/^more[#$]$/m);
  screen.type('tty; id -u; exit 4');
  await screen.see(/^\/dev\/pts\/1\n33$/m);
  await screen.see(/his\$$/);
  screen.type('echo status $?');
  await screen.see(/^status 4$/m);
  he.ok(['stop', '-t', '0', 'stay']);
  he.ok(['rm', 'stay']);
}

test('rootless: detached, with logs, attach through pipes, stop, and rm', async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  he.ok([
    'run',
    '-d',
    '-i',
    '--name',
    'one',
    image,
    'sh',
    '-c',
    'echo began; read line; echo "$line"; echo ended >&2; exit 6',
  ]);
  const followed = he.start(['logs', '--follow', 'one']);
  let said = '';
  let isClosed = false;
  followed.on('close', () => {
    isClosed = true;
  });
  followed.stdout?.on('data', (data: Buffer) => {
    said += data.toString();
  });
  await until('the beginning', () => said === 'began\n');
  assert.equal(he.tsbox(['attach', 'one'], { input: 'through the pipe\n' }).status, 6);
  assert.equal(he.ok(['wait', 'one']), '6');
  const { stdout, stderr } = he.tsbox(['logs', 'one']);
  assert.deepEqual([stdout, stderr], ['began\nthrough the pipe\n', 'ended\n']);
  await until('the end of what is followed', () => isClosed);
  assert.equal(said, 'began\nthrough the pipe\n');
  he.ok(['rm', 'one']);
  he.ok(['run', '-d', '--rm', '--name', 'two', image, 'sh', '-c', 'trap "exit 3" TERM; while :; do sleep 0.1; done']);
  he.ok(['stop', 'two']);
  await until('its removal', () => he.ok(['ps', '-aq']) === '');
});

/** Everything of containers on his disk, and what his run root has. */
function traces(he: User): string[] {
  const places = ['containers', 'names', 'image/overlay2/layerdb/mounts', 'overlay2', 'overlay2/l'];
  const all = [...places.map((name) => join(he.dataRoot, name)), join(he.env['XDG_RUNTIME_DIR']!, 'tsbox')];
  return all.flatMap((place) => (existsSync(place) ? readdirSync(place).map((name) => `${place}/${name}`) : [])).sort();
}

test('rootless: a start that fails with --rm leaves nothing, wherever it fails', async (t) => {
  if (!needs(t)) return;
  const he = user(t);
  const image = he.image();
  he.ok(['run', '--rm', image, 'true']);
  const before = traces(he);
  writeFileSync(join(he.home, 'file'), '');
  const failing: [where: string, flags: string[], command: string, status: number][] = [
    ['in setup: the source of a bind cannot be made', ['-v', '/etc/tsbox-none/a:/a'], 'true', 125],
    ['in setup: a limit that was not delegated', ['-m', '64m'], 'true', 125],
    ['in the new process: an id that is not mapped', ['-u', '70000'], 'true', 125],
    ['in the new process: a file over a directory', ['-v', `${he.home}/file:/bin`], 'true', 125],
    [
      'in the new process: a read-only root has no place for a mount',
      ['--read-only', '-w', '/none', '-v', '/proc/1/none:/x'],
      'true',
      125,
    ],
    ['in the last step: no such command', [], 'no-such-command', 127],
    ['in the last step: a directory is no command', [], '/bin', 126],
  ];
  for (const [where, flags, command, status] of failing) {
    await t.test(where, async () => {
      const result = he.tsbox(['run', '--rm', '--name', 'gone', ...flags, image, command]);
      assert.equal(result.status, status, result.stderr);
      await until('the removal', () => he.ok(['ps', '-aq']) === '');
      // Its monitor may still be taking away what it had.
      await until('the removal of all', () => traces(he).join() === before.join()).catch(() => {});
      assert.deepEqual(traces(he), before);
    });
  }
  await t.test('a container without --rm is kept as created, and rm removes all of it', () => {
    assert.equal(he.tsbox(['run', '--name', 'kept', '-u', '70000', image, 'true']).status, 125);
    assert.equal(he.ok(['inspect', '-f', '{{.State.Status}}', 'kept']), 'created');
    he.ok(['rm', 'kept']);
    assert.deepEqual(traces(he), before);
  });
});
