/** `exec` without Node: tsbox-replay takes the plan that was kept at the start, and leaves to Node what it is not sure of. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { REPOSITORY, type Sandbox, sandbox, until } from './harness.ts';

const REPLAY = join(REPOSITORY, 'native-bindings/build/tsbox-replay');
const MAIN = join(REPOSITORY, 'dist/main.js');

/** What stands for Node here says what it was called with. */
const NODE = '/bin/echo';

interface Said {
  status: number | null;
  stdout: string;
  stderr: string;
}

function started(box: Sandbox, command: string, args: string[], input: string | Buffer = ''): Said {
  const { status, stdout, stderr } = spawnSync(command, args, {
    env: box.env,
    input,
    encoding: 'utf8',
    timeout: 20_000,
    maxBuffer: 1 << 24,
  });
  return { status, stdout, stderr };
}

const replay = (box: Sandbox, ...words: string[]) => started(box, REPLAY, [NODE, '--', 'main', 'exec', ...words]);
const byNode = (box: Sandbox, ...words: string[]) => started(box, process.execPath, ['--', MAIN, 'exec', ...words]);

/** It was left to Node. */
function left(box: Sandbox, ...words: string[]): void {
  assert.deepEqual(replay(box, ...words), {
    status: 0,
    stdout: `${['-- main exec', ...words].join(' ')}\n`,
    stderr: '',
  });
}

function taken(box: Sandbox, name: string): void {
  assert.deepEqual(replay(box, name, 'echo', 'here'), { status: 0, stdout: 'here\n', stderr: '' });
}

const runDirectory = (box: Sandbox, id: string) => join(box.runRoot, id);
const keptFile = (box: Sandbox, id: string) => join(runDirectory(box, id), 'exec.replay');

function running(t: TestContext, ...flags: string[]): { box: Sandbox; id: string } {
  const box = sandbox(t);
  const id = box.ok(['run', '-d', '--network', 'none', '--name', 'one', ...flags, box.image(), 'sleep', '1000']);
  return { box, id };
}

test('exec replay: streams, exit codes, and what is told of a step that fails', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const { box, id } = running(t);
  const shell = (script: string) => replay(box, 'one', 'sh', '-c', script);
  assert.deepEqual(shell('echo out; echo err >&2; exit 7'), { status: 7, stdout: 'out\n', stderr: 'err\n' });
  assert.equal(shell('kill -KILL $$').status, 137);
  assert.equal(shell('cat; echo "at the end"').stdout, 'at the end\n', 'no input that was not asked for');
  assert.deepEqual(replay(box, id, 'echo', 'a b', '', '"\\'), { status: 0, stdout: 'a b  "\\\n', stderr: '' });
  assert.equal(replay(box, '/one', 'true').status, 0);
  const data = randomBytes(3_000_000);
  const digest = createHash('sha256').update(data).digest('hex');
  const words = ['-i', 'one', 'sh', '-c', 'tee /dev/stderr | sha256sum >/tmp/sum; cat /tmp/sum >&2; cat /tmp/sum'];
  const through = started(box, REPLAY, [NODE, '--', 'main', 'exec', ...words], data);
  assert.equal(through.stdout, `${digest}  -\n`);
  assert.ok(through.stderr.endsWith(`${digest}  -\n`));
  const missing = { list: 2, errno: 2, nested: false };
  const failed = replay(box, 'one', 'nope', 'x');
  const [, report, rest] = /^-- main exec-failed (\{.*\}) (.*)\n$/.exec(failed.stdout) ?? [];
  assert.equal(rest, 'one nope x');
  const { index: _, ...told } = JSON.parse(report!);
  assert.deepEqual(told, missing);
  const failure = (code: number, ...words: string[]) => {
    const [quick, slow] = [box.tsbox(['exec', ...words]), byNode(box, ...words)];
    assert.deepEqual([quick.status, quick.stderr], [slow.status, slow.stderr]);
    assert.equal(quick.status, code, words.join(' '));
  };
  failure(127, 'one', 'nope');
  failure(1, '-d', 'one', 'nope');
  failure(126, 'one', '/etc/passwd');
  failure(127, 'one', '');
  failure(127, '-t', '-e', 'PATH=/nowhere', 'one', 'sleep');
  failure(126, '-w', '/nope', 'one', 'pwd');
  failure(1, '-dtw', '/nope', 'one', 'pwd');
  for (let times = 0; times < 20; times++) {
    const said = replay(box, '-d', 'one', 'sh', '-c', 'echo gone; touch /tmp/done');
    assert.deepEqual(said, { status: 0, stdout: '', stderr: '' }, 'nobody reads what it says, however soon');
  }
  await until('the detached command', () => replay(box, 'one', 'ls', '/tmp/done').status === 0);
});

test('exec replay: 126 for what fails before there is a command, and 1 where nobody waits for its end', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const { box } = running(t, '-w', '/work');
  assert.equal(replay(box, 'one', 'rmdir', '/work').status, 0);
  assert.match(replay(box, 'one', 'true').stdout, /^-- main exec-failed \{.*\} one true\n$/);
  for (const [code, ...words] of [
    [126, 'one', 'true'],
    [1, '-d', 'one', 'true'],
  ] as const) {
    const [quick, slow] = [box.tsbox(['exec', ...words]), byNode(box, ...words)];
    assert.deepEqual([quick.status, quick.stderr], [slow.status, slow.stderr]);
    assert.equal(quick.status, code);
  }
});

test('exec replay: a reader that leaves, signals that are for the command, and a caller who loses patience', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const { box } = running(t);
  const shell = `"${REPLAY}" ${NODE} -- main exec one yes | head -n 1; echo "\${PIPESTATUS[0]}"`;
  assert.equal(started(box, 'bash', ['-c', shell]).stdout, 'y\n141\n');
  const asked = (script: string) => {
    const child = spawn(REPLAY, [NODE, '--', 'main', 'exec', 'one', 'sh', '-c', script], { env: box.env });
    const said = { out: '', err: '' };
    child.stdout.on('data', (data) => {
      said.out += data;
    });
    child.stderr.on('data', (data) => {
      said.err += data;
    });
    return { child, said, ended: once(child, 'close') };
  };
  const polite = asked('trap "echo bye; exit 5" TERM; trap "echo usr" USR1; echo ready; while :; do sleep 0.05; done');
  await until('the first word', () => polite.said.out === 'ready\n');
  polite.child.kill('SIGUSR1');
  await until('the answer', () => polite.said.out === 'ready\nusr\n');
  polite.child.kill('SIGTERM');
  assert.deepEqual(await polite.ended, [5, null]);
  assert.equal(polite.said.out, 'ready\nusr\nbye\n');
  const deaf = asked('trap "" INT; echo $$ ready; exec sleep 30');
  await until('the first word', () => deaf.said.out.endsWith('ready\n'));
  // Two that come before it is awake are one.
  while (deaf.child.exitCode === null) {
    deaf.child.kill('SIGINT');
    await new Promise((wake) => setTimeout(wake, 300));
  }
  assert.deepEqual(await deaf.ended, [1, null]);
  assert.equal(deaf.said.err, 'tsbox: got 3 signals, leaving; the process goes on\n');
  assert.equal(replay(box, 'one', 'kill', '-KILL', deaf.said.out.split(' ')[0]!).status, 0);
});

/** All that a process can see of what it was given. */
const LOOK = [
  'grep -E "^(Uid|Gid|Groups|Umask|Seccomp|NoNewPrivs|Cap|Sig(Blk|Ign|Cgt))" /proc/self/status',
  'env | sort; pwd; umask; ulimit -a',
  'cat /proc/self/cgroup /proc/self/oom_score_adj',
  'for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done',
  'ls -l /proc/self/fd | wc -l; cat /proc/self/limits',
].join('\n');

test('exec replay: the command gets what it gets by Node, and the plan of the start is the plan of an exec', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const kinds: Record<string, string[]> = {
    changed: ['-e', 'A=1', '-e', 'B=a b', '-u', 'tester', '-w', '/home', '--cap-add', 'SYS_TIME', '--group-add', '50'],
    bound: ['--security-opt', 'no-new-privileges', '--ulimit', 'nofile=100:200', '--oom-score-adj', '77', '--init'],
    free: ['--privileged', '--pid', 'host', '--label', 'a=1 < 2', '--hostname', 'h'],
  };
  const asked = [
    ['-t'],
    ['-e', 'A=2', '-e', 'C=x y=z', '-w', '/tmp'],
    ['-te', 'TERM=vt100', '-e', 'HOME=/x', '-e', 'PATH=/bin:/usr/bin'],
    ['--env', 'HOSTNAME=', '--workdir', '/'],
  ];
  for (const [name, flags] of Object.entries(kinds)) {
    const id = box.ok(['run', '-d', '--network', 'none', '--name', name, ...flags, box.image(), 'sleep', '1000']);
    const quick = replay(box, name, 'sh', '-c', LOOK);
    assert.match(quick.stdout, /CapBnd/);
    assert.deepEqual(quick, byNode(box, name, 'sh', '-c', LOOK), name);
    for (const more of asked) {
      for (const words of [['env'], ['sh', '-c', `${LOOK}\ntty; stty -a`]]) {
        const one = replay(box, ...more, name, ...words);
        assert.deepEqual(one, byNode(box, ...more, name, ...words), [...more, name].join(' '));
        assert.match(one.stdout, /PATH=/);
      }
    }
    const kept = () => {
      const bytes = readFileSync(keptFile(box, id)).toString('latin1');
      return bytes.replaceAll(/^id (\w+)$/m.exec(bytes)![1]!, 'ID');
    };
    const first = kept();
    truncateSync(keptFile(box, id));
    left(box, name, 'true');
    assert.equal(byNode(box, name, 'true').status, 0);
    assert.equal(kept(), first, name);
    taken(box, name);
    truncateSync(keptFile(box, id));
    assert.equal(byNode(box, '-te', 'HOME=/x', '-w', '/tmp', name, 'true').status, 0);
    assert.equal(kept(), first, 'what was asked for does not count');
  }
  const id = box.ok(['run', '-dt', '--network', 'none', '--name', 'terminal', box.image(), 'sleep', '1000']);
  assert.equal(readFileSync(keptFile(box, id), 'utf8'), '', 'a terminal has another environment');
  left(box, 'terminal', 'true');
  for (const flags of [[], ['-t']]) {
    const slow = byNode(box, ...flags, 'terminal', 'sh', '-c', LOOK);
    assert.deepEqual(replay(box, ...flags, 'terminal', 'sh', '-c', LOOK), slow);
  }
});

test('exec replay: a container that was changed is left to Node, once', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const { box, id } = running(t);
  const anew = (name: string) => {
    left(box, name, 'true');
    assert.equal(byNode(box, name, 'true').status, 0);
    taken(box, name);
  };
  taken(box, 'one');
  await t.test('paused, for as long', async () => {
    await box.quick(['pause', 'one']);
    left(box, 'one', 'true');
    const { status, stderr } = box.tsbox(['exec', 'one', 'true']);
    assert.deepEqual([status, stderr], [1, 'tsbox: Container one is paused, unpause the container before exec\n']);
    await box.quick(['unpause', 'one']);
    taken(box, 'one');
  });
  await t.test('renamed; the old name is nobody', async () => {
    await box.quick(['rename', 'one', 'uno']);
    left(box, 'one', 'true');
    assert.match(box.tsbox(['exec', 'one', 'true']).stderr, /No such container: one/);
    left(box, id, 'true');
    anew('uno');
    await box.quick(['rename', 'uno', 'one']);
    anew('one');
  });
  await t.test('updated', async () => {
    await box.quick(['update', '--memory', '64m', '--memory-swap', '64m', 'one']);
    anew('one');
  });
  await t.test('users changed', () => {
    taken(box, 'one');
    byNode(box, 'one', 'sh', '-c', 'echo "extra:x:4321:root" >> /etc/group');
    left(box, 'one', 'id', '-G');
    assert.match(box.ok(['exec', 'one', 'id', '-G']), /\b4321\b/);
    byNode(box, 'one', 'sh', '-c', 'rm /etc/group; cp /etc/passwd /tmp/p; mv /tmp/p /etc/passwd');
    left(box, 'one', 'id');
  });
  await t.test('started again: another process, a plan of its own', async () => {
    box.ok(['restart', '-t', '0', 'one']);
    const now = replay(box, 'one', 'sh', '-c', 'kill -0 1 && echo there');
    assert.deepEqual(now, { status: 0, stdout: 'there\n', stderr: '' });
    box.ok(['kill', 'one']);
    box.ok(['wait', 'one']);
    left(box, 'one', 'true');
    assert.match(box.tsbox(['exec', 'one', 'true']).stderr, /is not running/);
    await until('nothing of its run', () => readdirSync(box.runRoot).join() === 'events');
  });
});

test('exec replay: the user that was last asked for has a plan too, until users change', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const { box } = running(t, '-e', 'A=1', '--group-add', '50');
  const asked = [
    ['-u', 'tester'],
    ['-tu', '33:44', '-e', 'B=2'],
    ['--user', 'root', '-w', '/tmp'],
    ['-u', '4711'],
  ];
  for (const flags of asked) {
    const words = [...flags, 'one', 'sh', '-c', LOOK];
    left(box, ...words);
    const slow = byNode(box, ...words);
    assert.match(slow.stdout, /CapBnd/);
    assert.deepEqual(replay(box, ...words), slow);
    assert.deepEqual(replay(box, ...words), slow, 'as often as one likes');
    taken(box, 'one');
  }
  const user = ['-u', '4711'];
  assert.equal(byNode(box, ...user, '--privileged', 'one', 'true').status, 0);
  assert.match(replay(box, ...user, 'one', 'grep', 'CapEff', '/proc/self/status').stdout, /\t0+\n$/);
  const [quick, slow] = [box.tsbox(['exec', ...user, 'one', 'nope']), byNode(box, ...user, 'one', 'nope')];
  assert.deepEqual([quick.status, quick.stderr], [slow.status, slow.stderr]);
  byNode(box, 'one', 'sh', '-c', 'echo "new:x:4711:0::/new:/bin/sh" >> /etc/passwd');
  left(box, ...user, 'one', 'env');
  assert.match(byNode(box, ...user, 'one', 'env').stdout, /HOME=\/new\n/);
  assert.equal(byNode(box, '-u', 'nobody-there', 'one', 'true').status, 126);
});

test('exec replay: flags, roots and files that it does not understand or believe are left to Node', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const { box, id } = running(t);
  const file = keptFile(box, id);
  const whole = readFileSync(file);
  for (const words of [
    ['-e', 'A', 'one', 'true'],
    ['-e', '=1', 'one', 'true'],
    ['-eA=1', 'one', 'true'],
    ['--env=A=1', 'one', 'true'],
    ['-w', 'a', 'one', 'true'],
    ['-w/', 'one', 'true'],
    ['-u', '0', 'one', 'true'], // of whom there is no plan yet
    ['-u', '', 'one', 'true'],
    ['-u0', 'one', 'true'],
    ['--privileged', 'one', 'true'],
    ['--detach-keys', 'a', '-t', 'one', 'true'],
    ['-it', 'one', 'sh'], // without a terminal
    ['--', 'one', 'true'],
    ['one'],
    ['-i'],
    [],
  ]) {
    left(box, ...words);
  }
  for (const words of [
    ['nobody', 'true'],
    ['../one', 'true'],
    [id.slice(0, 12), 'true'],
    ['', 'true'],
  ])
    left(box, ...words);
  for (const env of [{ TSBOX_USERNS_REMAP: 'default' }, { TSBOX_RUN_ROOT: 'run' }, { TSBOX_ROOT: '/nowhere' }]) {
    left({ ...box, env: { ...box.env, ...env } }, 'one', 'true');
  }
  taken(box, 'one');
  // In a mount namespace of its own, or with fewer rights, the caller's plan may be another one.
  for (const prefix of [
    ['unshare', '-m'],
    ['setpriv', '--bounding-set', '-sys_time'],
  ]) {
    const [command = '', ...args] = [...prefix, REPLAY, NODE, '--', 'main', 'exec', 'one', 'true'];
    assert.equal(started(box, command, args).stdout, '-- main exec one true\n', prefix[0]);
  }
  const text = whole.toString('latin1');
  const damaged = [
    text.slice(0, 300),
    text.slice(0, -1),
    `\0\0\0\0\0\0\0\0${text.slice(8)}`,
    text.replace('TSBXEXEC 2', 'TSBXEXEC 3'),
    text.replace(/^(plan \d+) .*$/m, '$1 999999 999999 999999 999999 999999 999999'),
    text.replace(/^terminal .*$/m, (line) => line.replace(/ \d+$/, ' 9')),
    text.replace(/^same (\d+)/m, 'same 1$1'),
    text.replace(/^bounding .*$/m, 'bounding 0'),
    text.replace(/^link mnt/m, 'link net'),
    text.replace(/^absent .*$/m, `absent ${box.directory}`),
  ];
  for (const [number, contents] of damaged.entries()) {
    writeFileSync(file, contents, 'latin1');
    left(box, 'one', 'true');
    assert.notEqual(contents, text, `damage ${number}`);
  }
  writeFileSync(file, whole);
  taken(box, 'one');
  chownSync(file, 1000, 1000);
  left(box, 'one', 'true');
  chownSync(file, 0, 0);
  taken(box, 'one');
});

test('exec replay: by way of bin/tsbox and a symlink to it; the events are those that Node tells', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:strace')) return;
  const { box } = running(t, '--label', 'l=1 < "2"');
  symlinkSync(join(REPOSITORY, 'bin/tsbox'), join(box.directory, 'link'));
  const log = join(box.directory, 'calls');
  const traced = started(box, 'strace', [
    '-f',
    '-o',
    log,
    '-e',
    'trace=execve',
    join(box.directory, 'link'),
    'exec',
    'one',
    'true',
  ]);
  assert.equal(traced.status, 0, traced.stderr);
  assert.match(readFileSync(log, 'utf8'), /execve\("[^"]*tsbox-replay"/);
  assert.doesNotMatch(readFileSync(log, 'utf8'), /execve\("[^"]*\/node"/);
  const words = ['one', 'sh', '-c', 'echo "<&>\u00e9\t"; exit 3'];
  const told = async (exec: () => Said) => {
    const journal = join(box.runRoot, 'events');
    const before = readFileSync(journal, 'utf8').length;
    assert.equal(exec().status, 3);
    const lines = () => readFileSync(journal, 'utf8').slice(before).trimEnd().split('\n');
    await until('the end to be told', () => lines().length === 3);
    return lines().map((line) => {
      const { time, ...event } = JSON.parse(line);
      assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
      assert.match(event.attributes.execID, /^[0-9a-f]{64}$/);
      return { ...event, attributes: { ...event.attributes, execID: '' }, id: event.attributes.execID };
    });
  };
  const [quick, slow] = [await told(() => replay(box, ...words)), await told(() => byNode(box, ...words))];
  for (const events of [quick, slow])
    assert.equal(new Set(events.map(({ id }) => id)).size, 1, 'one number for one exec');
  assert.notEqual(quick[0]!.id, slow[0]!.id);
  const rest = (events: typeof quick) => events.map(({ id: _, ...event }) => event);
  assert.deepEqual(rest(quick), rest(slow));
});
