/** `-t` in a real terminal: what a person types and sees. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, type Sandbox, sandbox, until } from './harness.ts';
import { type Terminal, terminal } from './tmux.ts';

/** What ends tsbox at a terminal that it has taken, and with which exit code; what it was attached to goes on. */
const ENDING = [
  ['SIGTERM', 143],
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGQUIT', 131],
] as const;

/** `exec` that must do without Node. */
const REPLAYED = `${join(REPOSITORY, 'native-bindings/build/tsbox-replay')} /bin/false -- main exec`;

/** A container with a shell whose prompt is `inside# `, and `tsbox` in the outer shell's PATH. */
const SHELL = ['-e', 'PS1=inside#\\ '];

interface Outside {
  tty: Terminal;
  /** Empties the screen; at the outer prompt only. */
  wipe(): Promise<void>;
  /** Fails unless the terminal's settings are what they were. */
  restored(): void;
}

/** A terminal with a shell that leaves its settings alone, as bash does not. */
async function outside(t: TestContext, box: Sandbox, size: { columns?: number; rows?: number } = {}): Promise<Outside> {
  const tty = terminal(t, { ...size, env: box.env });
  tty.type("PS1='outside$ ' exec dash");
  const before = await until('a terminal that is not in raw mode', () => {
    const settings = tty.settings();
    return / icanon/.test(settings) && settings;
  });
  let wiped = 0;
  const wipe = async () => {
    tty.type(`clear; echo wiped ${++wiped}`);
    await tty.see(new RegExp(`^wiped ${wiped}$`, 'm'));
  };
  return { tty, wipe, restored: () => assert.equal(tty.settings(), before) };
}

/** Changes the window and waits until the container's terminal has that size too. */
async function resize(tty: Terminal, columns: number, rows: number): Promise<void> {
  tty.clear();
  await tty.resize(columns, rows);
  await until(`${rows} ${columns} inside`, () => {
    tty.type('stty size');
    return new RegExp(`^${rows} ${columns}$`, 'm').test(tty.screen());
  });
}

/** Waits until a command is what the container's terminal is for: until then keys are read by its shell, in a mode of its own. */
async function runs(box: Sandbox, container: string, command: string): Promise<void> {
  await until(`${command} inside`, () => box.tsbox(['exec', container, 'pidof', command]).status === 0);
}

const clientPid = (box: Sandbox, name: string): number =>
  Number(readFileSync(join(box.directory, `${name}.pid`), 'utf8'));

test('terminal: run -it', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  const image = box.image();
  const { tty, wipe, restored } = await outside(t, box, { columns: 90, rows: 28 });
  const run = `tsbox run --rm -it ${SHELL.join(' ').replace('\\ ', "'\\ '")} ${image} sh`;
  await t.test('a terminal of the container’s own devpts, in its foreground, of the window’s size', async () => {
    tty.type(run);
    await tty.see(/^inside# $|^inside#$/m);
    assert.match(tty.settings(), /-icanon/);
    tty.clear();
    tty.type('tty; stty size; echo $TERM; cut -d" " -f5-8 /proc/1/stat; ls /dev/pts /dev/console');
    await tty.see(/^\/dev\/pts\/0\n28 90\nxterm\n1 1 \d+ \d+\n/m);
    await tty.see(/\/dev\/console\n\n\/dev\/pts:\n0 +ptmx/m);
  });
  await t.test('the window’s size is followed', async () => {
    await resize(tty, 70, 20);
    await resize(tty, 90, 28);
    const now = String(Math.ceil(Date.now() / 1000));
    const format = '{{.Actor.Attributes.height}} {{.Actor.Attributes.width}}';
    const told = box.ok(['events', '--since', '1m', '--until', now, '--filter', 'event=resize', '--format', format]);
    assert.deepEqual(told.split('\n'), ['28 90', '20 70', '28 90']);
  });
  await t.test('Ctrl-C goes to the foreground of the container', async () => {
    tty.clear();
    tty.type('sleep 1000; echo code $?');
    await runs(box, await box.quick(['ps', '-q']), 'sleep');
    tty.press('C-c');
    await tty.see(/\^C/);
    tty.type('echo still $((40+2))');
    await tty.see(/^still 42$/m);
  });
  await t.test('Ctrl-Z stops a job of the container, not tsbox', async () => {
    tty.clear();
    tty.type('sleep 999');
    await runs(box, await box.quick(['ps', '-q']), 'sleep');
    tty.press('C-z');
    await tty.see(/Stopped/);
    tty.type('jobs; kill -9 %1; wait');
    await tty.see(/\[1\]\+ +Stopped +sleep 999/);
  });
  await t.test('Ctrl-D and backslash, UTF-8, and lines are the container’s', async () => {
    tty.clear();
    tty.type('cat > /tmp/x');
    await runs(box, await box.quick(['ps', '-q']), 'cat');
    tty.type('naïve €');
    tty.press('C-d');
    tty.type('cat /tmp/x');
    await tty.see(/naïve €\n(.*\n)*naïve €/);
  });
  await t.test('the exit code is the shell’s, and the terminal is as before', async () => {
    tty.clear();
    tty.type('exit 5');
    await tty.see(/outside\$ *$/);
    tty.type('echo code $?');
    await tty.see(/^code 5$/m);
    restored();
  });
  await t.test('a full-screen program', async () => {
    await wipe();
    tty.type(`tsbox run --rm -it ${image} vi /etc/passwd`);
    await tty.see(/root:x:0:0[\s\S]*passwd/);
    tty.type(':q!');
    await tty.see(/outside\$ *$/);
    restored();
  });
  await t.test('a command that is not there', async () => {
    await wipe();
    tty.type(`tsbox run --rm -it ${image} nope; echo code $?`);
    await tty.see(/code 127/);
    restored();
  });
});

test('terminal: detach, attach, exec', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  const image = box.image();
  const { tty, wipe, restored } = await outside(t, box);
  await t.test('Ctrl-P Ctrl-Q leaves, the container goes on', async () => {
    tty.type(`tsbox run -it --name stay ${image} sh`);
    await tty.see(/\/ #/);
    tty.type('x=kept; echo $x');
    await tty.see(/^kept$/m);
    tty.press('C-p', 'C-q');
    await tty.see(/outside\$ *$/);
    tty.type('echo code $?');
    await tty.see(/^code 0$/m);
    restored();
    assert.equal(await box.quick(['inspect', '-f', '{{.State.Running}}', 'stay']), 'true');
  });
  await t.test('attach comes back to the same shell', async () => {
    await wipe();
    tty.type('tsbox attach stay');
    await until('raw mode', () => / -icanon/.test(tty.settings()));
    tty.type('echo $x again');
    await tty.see(/^kept again$/m);
    tty.press('C-p');
    tty.type('');
    tty.type('echo one ctrl-p is typed');
    await tty.see(/one ctrl-p is typed\n/);
  });
  await t.test('--detach-keys', async () => {
    tty.press('C-p', 'C-q');
    await tty.see(/outside\$ *$/);
    await wipe();
    tty.type("tsbox attach --detach-keys 'ctrl-x,y' stay");
    await until('raw mode', () => / -icanon/.test(tty.settings()));
    tty.press('C-x');
    tty.write('y');
    await tty.see(/outside\$ *$/);
    await tty.see(/^read escape sequence$/m);
    tty.type('echo code $?');
    await tty.see(/^code 1$/m);
    restored();
  });
  for (const exec of ['tsbox exec', REPLAYED]) {
    await t.test(`${exec} -it: a terminal beside it, with its own size`, () => besides(exec));
    await t.test(`${exec} -it: Ctrl-P Ctrl-Q leaves it running`, () => leaves(exec));
  }
  async function besides(exec: string): Promise<void> {
    await wipe();
    tty.type(`${exec} -it stay sh`);
    await tty.see(/\/ #/);
    tty.type('tty; stty size');
    await tty.see(/^\/dev\/pts\/1\n24 80$/m);
    await resize(tty, 60, 15);
    await resize(tty, 80, 24);
    tty.press('C-p');
    tty.type('');
    tty.type('echo one ctrl-p is typed');
    await tty.see(/one ctrl-p is typed\n/);
    tty.clear();
    tty.type('sleep 1000; echo code $?');
    await runs(box, 'stay', 'sleep');
    tty.press('C-c');
    await tty.see(/\^C/);
    tty.type('exit 4');
    await tty.see(/outside\$ *$/);
    tty.type('echo code $?');
    await tty.see(/^code 4$/m);
    restored();
  }
  async function leaves(exec: string): Promise<void> {
    await wipe();
    tty.type(`${exec} -it stay sleep 555`);
    await runs(box, 'stay', 'sleep');
    tty.press('C-p', 'C-q');
    await tty.see(/outside\$ *$/);
    restored();
    tty.type('echo code $?');
    await tty.see(/^read escape sequence\n(.*\n)*code 1$/m);
    box.ok(['exec', 'stay', 'sh', '-c', 'kill -9 $(pidof sleep)']);
    await until('no sleep', () => box.tsbox(['exec', 'stay', 'pidof', 'sleep']).status === 1);
    // Its monitor gives it back a moment later, and the next one's is to have the same number.
    await until('no terminal of its', () => box.ok(['exec', 'stay', 'ls', '/dev/pts']) === '0\nptmx');
  }
  await t.test('start -ai of a container with a terminal', async () => {
    await box.quick(['stop', '-t', '0', 'stay']);
    await wipe();
    tty.type('tsbox start -ai stay');
    await tty.see(/\/ #/);
    tty.type('stty size; exit 3');
    await tty.see(/24 80\n(.*\n)*outside\$/);
    tty.type('echo code $?');
    await tty.see(/^code 3$/m);
    restored();
  });
});

test('terminal: restored whatever happens', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  const image = box.image();
  const { tty, wipe, restored } = await outside(t, box);
  /** Runs in the outer shell so that the pid of tsbox is known. */
  const start = async (name: string) => {
    await wipe();
    const pid = join(box.directory, `${name}.pid`);
    tty.type(`bash -c 'echo $$ > ${pid}; exec tsbox run -it --name ${name} ${image} sh'; echo code $?`);
    await tty.see(/\/ #/);
    assert.match(tty.settings(), /-icanon/);
  };
  for (const [signal, code] of ENDING) {
    await t.test(`after ${signal} to tsbox; the container goes on`, async () => {
      await start(signal);
      process.kill(clientPid(box, signal), signal);
      await tty.see(new RegExp(`code ${code}`));
      restored();
      assert.equal(await box.quick(['inspect', '-f', '{{.State.Running}}', signal]), 'true');
      await box.quick(['rm', '-f', signal]);
    });
  }
  await t.test('when the container is killed', async () => {
    await start('victim');
    await box.quick(['kill', 'victim']);
    await tty.see(/code 137/);
    restored();
  });
  await t.test('when the monitor is killed', async () => {
    await start('orphan');
    const id = await box.quick(['inspect', '-f', '{{.Id}}', 'orphan']);
    const { Monitor } = JSON.parse(readFileSync(join(box.runRoot, id, 'state.json'), 'utf8'));
    process.kill(Monitor, 'SIGKILL');
    await tty.see(/code \d+/);
    restored();
  });
  await t.test('-t needs a terminal only together with -i', () => {
    const both = box.tsbox(['run', '--rm', '-it', image, 'true'], { input: '' });
    assert.equal(both.status, 1);
    assert.match(both.stderr, /the input device is not a TTY/);
    assert.equal(box.ok(['run', '--rm', '-t', image, 'echo', 'x']), 'x\r');
  });
  await t.test('output of a terminal is all there', () => {
    const { stdout } = box.tsbox(['run', '--rm', '-t', image, 'seq', '1', '20000']);
    assert.equal(stdout, [...Array(20_000).keys()].map((n) => `${n + 1}\r\n`).join(''));
  });
});

test('terminal: restored whatever happens to an exec without Node', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:tmux')) return;
  const box = sandbox(t);
  const id = box.ok(['run', '-d', '--network', 'none', '--name', 'one', box.image(), 'sleep', '1000']);
  const { tty, wipe, restored } = await outside(t, box);
  const start = async (command: string) => {
    await wipe();
    tty.type(
      `bash -c 'echo $$ > ${join(box.directory, 'exec.pid')}; exec ${REPLAYED} -it one ${command}'; echo code $?`,
    );
  };
  for (const [signal, code] of ENDING) {
    await t.test(`${signal}: the command goes on`, async () => {
      await start('cat');
      await until('raw mode', () => / -icanon/.test(tty.settings()));
      process.kill(clientPid(box, 'exec'), signal);
      await tty.see(new RegExp(`code ${code}`));
      restored();
      box.ok(['exec', 'one', 'killall', 'cat']);
    });
  }
  await t.test('continued by a shell that has set its own modes: it is raw again', async () => {
    await start('sh');
    await tty.see(/\/ #/);
    const path = readlinkSync(`/proc/${clientPid(box, 'exec')}/fd/0`);
    assert.equal(spawnSync('stty', ['-F', path, 'icanon', 'echo']).status, 0);
    assert.match(tty.settings(), / icanon/);
    process.kill(clientPid(box, 'exec'), 'SIGCONT');
    await until('raw mode', () => / -icanon/.test(tty.settings()));
    tty.type('stty size; exit 6');
    await tty.see(/24 80\n(.*\n)*code 6/);
    restored();
  });
  await t.test('a command that is not there', async () => {
    await wipe();
    tty.type('tsbox exec -it one nope; echo code $?');
    await tty.see(/code 127/);
    restored();
  });
  await t.test('the container is killed', async () => {
    await start('sh');
    await tty.see(/\/ #/);
    await box.quick(['kill', id]);
    await tty.see(/code 137/);
    restored();
  });
});
