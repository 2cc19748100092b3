/** `stats` in a terminal: one table that is drawn anew. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { requires } from '../requires.ts';
import { sandbox } from './harness.ts';
import { terminal } from './tmux.ts';

test('stats: a terminal shows one table that follows what runs, until Ctrl-C', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  const run = (name: string, ...command: string[]) => box.ok(['run', '-d', '--name', name, box.image(), ...command]);
  run('busy', 'sh', '-c', 'while :; do :; done');
  const screen = terminal(t, { env: box.env, columns: 120 });
  screen.type('echo before; tsbox stats');
  await screen.see(/^CONTAINER ID +NAME +CPU %.*\n[0-9a-f]{12} +busy +\d/m);
  // A share of time needs a second look: drawn over the first.
  await screen.see(/^[0-9a-f]{12} +busy +[1-9][\d.]*%/m);
  run('idle', 'sleep', '100');
  // At the top, and nothing of before.
  await screen.see(/^CONTAINER ID.*\n([^\n]* busy [^\n]*\n[^\n]* idle [^\n]*|[^\n]* idle [^\n]*\n[^\n]* busy [^\n]*)$/);
  box.ok(['rm', '-f', 'busy']);
  await screen.see(/^CONTAINER ID.*\n[0-9a-f]{12} +idle [^\n]*$/);
  screen.press('C-c');
  await screen.see(/^outside\$$/m);
  screen.type('echo still $((1 + 1))');
  await screen.see(/^still 2$/m);
});

test('stats: of names that are gone it ends, and a pipe gets no control characters', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'one', box.image(), 'sleep', '100']);
  const screen = terminal(t, { env: box.env, columns: 120 });
  screen.type('tsbox stats one; echo ended $?');
  await screen.see(/^[0-9a-f]{12} +one /m);
  box.ok(['rm', '-f', 'one']);
  await screen.see(/^ended 0$/m);
  box.ok(['run', '-d', '--name', 'two', box.image(), 'sleep', '100']);
  const piped = box.ok(['stats', '--no-stream', 'two']);
  assert.match(piped, /^CONTAINER ID.*\n[0-9a-f]{12} +two [^\n]*$/);
  assert.equal(piped.includes('\x1b'), false);
});
