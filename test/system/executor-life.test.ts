/** How the executor starts a container, how it fails, and how it ends. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PLAN_VERSION } from '../../src/plan/ops.ts';
import type { Step } from '../../src/plan/step.ts';
import { hole, type Text, text } from '../../src/plan/text.ts';
import { errnoNumber } from '../../src/spec/errno.ts';
import { attach, EXECUTOR, exec, finish, launch, piped, run, shell, spawning } from '../executor.ts';
import { requires } from '../requires.ts';

const why = 'for a test';
const needs = [`file:${EXECUTOR}`] as const;
const ASAN_EXECUTOR = join(EXECUTOR, '../tsbox-executor-check');
let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbox-life-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);
const mkdir = (path: string, onError: Step['onError'] = {}): Step => ({ op: 'mkdir', path, mode: 0o755, onError, why });
const touch = (path: string, data: Text = ''): Step => ({
  op: 'write',
  path,
  data,
  flags: ['O_CREAT', 'O_TRUNC'],
  mode: 0o644,
  why,
});

test('executor: the exit code is the command’s own, and 128+n for a signal', async (context) => {
  if (!requires(context, ...needs)) return;
  const ended = await finish(run([shell('exit 42')]));
  assert.deepEqual([ended.code, ended.signal, ended.executor], [42, 0, 0]);
  const killed = await finish(run([shell('kill -TERM $$')]));
  assert.deepEqual([killed.code, killed.signal], [143, 15]);
});

test('executor: started comes before output, exit comes last', async (context) => {
  if (!requires(context, ...needs)) return;
  for (let round = 0; round < 50; round++) {
    const { order } = await finish(run([exec('echo', 'x')]));
    assert.deepEqual(order, ['started', 'stdout', 'exit']);
  }
});

test('executor: started names the process as the host sees it', async (context) => {
  if (!requires(context, ...needs)) return;
  const result = run([shell('echo $$')]);
  await finish(result);
  assert.equal(Number(Buffer.concat(result.stdout)), result.started);
});

test('executor: a failing step is reported by list, index and errno, and nothing after it runs', async (context) => {
  if (!requires(context, ...needs)) return;
  const cleanup = [touch(at('cleaned'), text`${hole('exit')}`)];
  const inside = await finish(run([mkdir(at('a')), mkdir(at('no/such')), mkdir(at('b')), exec('true')], { cleanup }));
  assert.deepEqual(inside.failed, [{ list: 2, index: 1, errno: errnoNumber('ENOENT'), nested: false }]);
  assert.deepEqual([inside.code, inside.started, inside.order], [125, false, ['failed', 'exit']]);
  assert.ok(existsSync(at('a')) && !existsSync(at('b')));
  assert.equal(readFileSync(at('cleaned'), 'utf8'), '125');
  const outside = await finish(launch({ monitor: [mkdir(at('no/such'))], cleanup }));
  assert.deepEqual(outside.failed, [{ list: 0, index: 0, errno: errnoNumber('ENOENT'), nested: false }]);
  assert.equal(outside.code, 125);
});

test('executor: a monitor step that fails after spawn ends the process, which then never started', async (context) => {
  if (!requires(context, ...needs)) return;
  const monitor = [piped(), spawning(shell('echo heard by nobody; sleep 60')), mkdir(at('no/such'))];
  const result = await finish(launch({ monitor }));
  assert.deepEqual(result.failed, [{ list: 0, index: 2, errno: errnoNumber('ENOENT'), nested: false }]);
  assert.deepEqual([result.code, result.order], [125, ['failed', 'exit']]);
});

test('executor: a monitor step after spawn may rely on the command and its pid', async (context) => {
  if (!requires(context, ...needs, 'root')) return;
  const monitor: Step[] = [
    piped(),
    spawning({ op: 'unshare', flags: ['CLONE_NEWPID'], why }, { op: 'fork', why }, exec('sleep', '60')),
    { op: 'symlink', target: text`/proc/${hole('pid')}/exe`, path: at('exe'), why },
  ];
  const launched = launch({ monitor });
  await launched.until((client) => client.started !== undefined);
  assert.match(realpathSync(at('exe')), /sleep$/);
  process.kill(launched.started!, 'SIGKILL');
  assert.deepEqual((await finish(launched)).order, ['started', 'exit']);
});

test('executor: onError skip goes on, onError retry tries again for a while', async (context) => {
  if (!requires(context, ...needs)) return;
  const skip = await finish(run([mkdir(directory, { EEXIST: 'skip' }), exec('true')]));
  assert.deepEqual([skip.failed, skip.code], [[], 0]);
  const other = await finish(run([mkdir(directory, { ENOENT: 'skip' }), exec('true')]));
  assert.equal(other.failed[0]?.errno, errnoNumber('EEXIST'));
  const begin = performance.now();
  const waiting = run([mkdir(at('late/x'), { ENOENT: 'retry' }), exec('true')]);
  await sleep(100);
  mkdirSync(at('late'));
  const late = await finish(waiting);
  assert.deepEqual([late.failed, late.code], [[], 0]);
  assert.ok(performance.now() - begin < 1900);
  const from = performance.now();
  const never = await finish(run([mkdir(at('never/x'), { ENOENT: 'retry' }), exec('true')]));
  assert.equal(never.failed[0]?.errno, errnoNumber('ENOENT'));
  assert.ok(performance.now() - from > 1900);
});

test('executor: exec: not found is 127, not executable is 126, a directory and an unknown format too', async (context) => {
  if (!requires(context, ...needs)) return;
  writeFileSync(at('text'), 'echo no interpreter\n');
  chmodSync(at('text'), 0o755);
  writeFileSync(at('script'), '#!/nosuch/interpreter\n');
  chmodSync(at('script'), 0o755);
  const cases: [string, string, number][] = [
    ['tsbox-no-such-command', 'ENOENT', 127],
    ['/no/such/command', 'ENOENT', 127],
    ['', 'ENOENT', 127],
    [at('script'), 'ENOENT', 127],
    ['/etc/passwd', 'EACCES', 126],
    ['/usr', 'EACCES', 126],
    [at('text'), 'ENOEXEC', 126],
  ];
  for (const [name, errno, code] of cases) {
    const result = await finish(run([mkdir(at('skipped'), { EEXIST: 'skip' }), exec(name)]));
    assert.deepEqual(result.failed, [{ list: 2, index: 1, errno: errnoNumber(errno), nested: false }], name);
    assert.deepEqual([result.code, result.started], [code, false], name);
  }
});

test('executor: exec looks along the PATH that the program gets', async (context) => {
  if (!requires(context, ...needs)) return;
  mkdirSync(at('bin'));
  writeFileSync(at('bin/tool'), '#!/bin/sh\necho found "$0"\n');
  const step = (...env: string[]): Step => ({ op: 'exec', args: ['tool'], env, why });
  const refused = await finish(run([step(`PATH=/nosuch:${at('bin')}:/usr/bin`)]));
  assert.deepEqual([refused.failed[0]?.errno, refused.code], [errnoNumber('EACCES'), 126]);
  chmodSync(at('bin/tool'), 0o755);
  const found = await finish(run([step(`PATH=/etc/passwd:/nosuch:${at('bin')}:/usr/bin`)]));
  assert.equal(found.stdout, `found ${at('bin/tool')}\n`);
  const here = await finish(run([{ op: 'chdir', path: at('bin'), why }, step('PATH=/nosuch:')]));
  assert.equal(here.stdout, 'found tool\n');
  const none = await finish(run([step('HOME=/')]));
  assert.equal(none.code, 127);
  const standard = await finish(run([{ op: 'exec', args: ['env'], env: ['A=ü b', 'A'], why }]));
  assert.equal(standard.stdout, 'A=ü b\nA\n');
});

test('executor: the program starts with all signals as they are by default', async (context) => {
  if (!requires(context, ...needs)) return;
  const { stdout } = await finish(run([exec('grep', '^Sig[BI]', '/proc/self/status')]));
  assert.match(stdout, /^SigBlk:\t0+\nSigIgn:\t0+\n$/);
});

test('executor: outside runs on the host; its failure is reported with the step that asked', async (context) => {
  if (!requires(context, ...needs)) return;
  const outside = (...list: Step[]): Step => ({ op: 'outside', list, why });
  const worked = await finish(
    run([outside(touch(at('by'), text`${hole('pid')} ${hole('monitor')}`)), shell('echo $$ $PPID')]),
  );
  assert.equal(worked.stdout.trim(), readFileSync(at('by'), 'utf8'));
  const failed = await finish(run([outside(mkdir(at('c')), mkdir(at('no/such'))), exec('true')]));
  assert.deepEqual(failed.failed, [
    { list: 3, index: 1, errno: errnoNumber('ENOENT'), nested: false },
    { list: 2, index: 0, errno: errnoNumber('ENOENT'), nested: true },
  ]);
  assert.equal(failed.code, 125);
  const tolerated = await finish(
    run([{ ...outside(mkdir(at('no/such'))), onError: { ENOENT: 'skip' } }, exec('true')]),
  );
  assert.deepEqual([tolerated.failed, tolerated.code], [[], 0]);
});

test('executor: the pid is the host’s on both sides of a fork into a new PID namespace', async (context) => {
  if (!requires(context, ...needs, 'root')) return;
  const write = (name: string) => touch(at(name), text`${hole('pid')}`);
  const launched = run([
    write('before'),
    { op: 'unshare', flags: ['CLONE_NEWPID'], why },
    { op: 'fork', why },
    { op: 'outside', list: [write('outside')], why },
    write('inside'),
    exec('true'),
  ]);
  await finish(launched);
  assert.equal(readFileSync(at('outside'), 'utf8'), String(launched.started));
  assert.equal(readFileSync(at('inside'), 'utf8'), String(launched.started));
  assert.notEqual(readFileSync(at('before'), 'utf8'), String(launched.started));
});

test('executor: the maps of a user namespace are written from outside', async (context) => {
  if (!requires(context, ...needs, 'userns')) return;
  const [uid, gid] = [process.getuid?.(), process.getgid?.()];
  const map = (file: string, data: string): Step => ({
    op: 'write',
    path: text`/proc/${hole('pid')}/${file}`,
    data,
    flags: [],
    mode: 0,
    why,
  });
  const maps = [map('setgroups', 'deny'), map('uid_map', `0 ${uid} 1\n`), map('gid_map', `0 ${gid} 1\n`)];
  const launched = run([
    { op: 'unshare', flags: ['CLONE_NEWUSER', 'CLONE_NEWPID'], why },
    { op: 'outside', list: maps, why },
    { op: 'fork', why },
    { op: 'setgid', gid: 0, why },
    { op: 'setuid', uid: 0, why },
    shell('echo $$; id -u; cat /proc/self/setgroups'),
  ]);
  const result = await finish(launched);
  assert.deepEqual([result.failed, result.stdout], [[], '1\n0\ndeny\n']);
});

test('executor: holes are filled when the step runs', async (context) => {
  if (!requires(context, ...needs)) return;
  const file = touch(at('holes'), text`${hole('pid')}|${hole('monitor')}|${hole('exit')}|${hole('now')}`);
  const early = Date.now();
  const launched = run([shell('exit 7')], {
    before: [touch(at('none'), text`${hole('pid')} ${hole('exit')}`)],
    cleanup: [file],
  });
  await finish(launched);
  const [pid, monitor, code, now] = readFileSync(at('holes'), 'utf8').split('|');
  assert.deepEqual([pid, monitor, code], [String(launched.started), String(launched.child.pid), '7']);
  assert.match(now!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  const time = Date.parse(now!);
  assert.ok(time >= early - 1 && time <= Date.now() + 1, now);
  assert.equal(readFileSync(at('none'), 'utf8'), '0 0');
});

test('executor: wait holds the process until a later client says go', async (context) => {
  if (!requires(context, ...needs)) return;
  const listen: Step = { op: 'listen', path: at('socket'), why };
  const first = run([{ op: 'wait', name: 'start "now"', why }, exec('echo', 'gone')], { before: [listen] });
  await first.until((client) => client.waiting !== undefined);
  assert.equal(first.waiting, 'start "now"');
  first.socket.destroy();
  const second = await attach(at('socket'), { output: true, stdin: false });
  await second.until((client) => client.waiting !== undefined);
  assert.equal(second.started, undefined);
  second.send('go');
  await second.closed;
  assert.deepEqual(second.order, ['waiting', 'started', 'stdout', 'exit']);
  assert.equal(await first.ended, 0);
});

test('executor: a process that is killed before exec is reported as one that did not start', async (context) => {
  if (!requires(context, ...needs)) return;
  const pidFile = at('pid');
  const launched = run([
    { op: 'outside', list: [touch(pidFile, text`${hole('pid')}`)], why },
    { op: 'wait', name: 'start', why },
    exec('true'),
  ]);
  await launched.until((client) => client.waiting !== undefined);
  process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  const result = await finish(launched);
  assert.deepEqual([result.code, result.signal, result.started], [137, 9, false]);
  assert.equal(result.failed[0]?.errno, 0);
  assert.match(result.failed[0]?.detail ?? '', /before exec, killed by signal 9/);
});

test('executor: a list that does not end with exec is a failure with a reason', async (context) => {
  if (!requires(context, ...needs)) return;
  const { failed, code } = await finish(run([{ op: 'umask', mask: 0o22, why }]));
  assert.deepEqual([failed[0]?.errno, failed[0]?.detail, code], [0, 'the list ends without exec', 125]);
});

test('executor: cleanup goes on after a failing step, reports it, and the exit code stays', async (context) => {
  if (!requires(context, ...needs)) return;
  const cleanup: Step[] = [
    mkdir(at('no/such')),
    { op: 'rmdir', path: at('nosuch'), onError: { ENOENT: 'skip' }, why },
    touch(at('reached')),
  ];
  const result = await finish(run([shell('exit 3')], { cleanup }));
  assert.deepEqual(result.failed, [{ list: 1, index: 0, errno: errnoNumber('ENOENT'), nested: false }]);
  assert.deepEqual([result.code, result.order.at(-1)], [3, 'exit']);
  assert.ok(existsSync(at('reached')));
});

test('executor: a trace names every step of every list, exec too', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = run([mkdir(at('traced')), mkdir(at('traced'), { EEXIST: 'skip' }), exec('true')], {
    trace: true,
    cleanup: [{ op: 'rmdir', path: at('traced'), why }],
  });
  await finish(launched);
  const byList = (list: number) => launched.steps.filter((step) => step.list === list);
  const ok = (list: number, ...errnos: number[]) =>
    assert.deepEqual(
      byList(list).map(({ index, errno }) => [index, errno]),
      errnos.map((errno, index) => [index, errno]),
    );
  ok(0, 0, 0);
  ok(1, 0);
  ok(2, 0, errnoNumber('EEXIST'), 0);
  assert.ok(launched.steps.every(({ ns }) => ns >= 0 && ns < 2e9));
});

test('executor: a client that attaches sees what comes from then on, and that it had started', async (context) => {
  if (!requires(context, ...needs)) return;
  const listen: Step = { op: 'listen', path: at('attach'), why };
  const monitor = [listen, piped('STDIN_OPEN'), spawning(shell('echo early; read line; echo "got $line"'))];
  const first = launch({ monitor, cleanup: [{ op: 'unlink', path: at('attach'), why }] });
  await first.until((client) => client.stdout.length > 0);
  const second = await attach(at('attach'), { output: true, stdin: true });
  const silent = await attach(at('attach'), { output: false, stdin: false });
  await second.until((client) => client.started === first.started);
  await silent.until((client) => client.started === first.started);
  second.send('stdin', 'hello\n');
  const ends = await Promise.all([finish(first), second.closed, silent.closed]);
  assert.equal(ends[0].stdout, 'early\ngot hello\n');
  assert.deepEqual(second.order, ['started', 'stdout', 'exit']);
  assert.equal(Buffer.concat(second.stdout).toString(), 'got hello\n');
  assert.deepEqual(silent.order, ['started', 'exit']);
  assert.ok(!existsSync(at('attach')));
});

test('executor: listen replaces a socket that nobody serves, is private, and takes long paths', async (context) => {
  if (!requires(context, ...needs)) return;
  const long = join(directory, 'd'.repeat(120));
  mkdirSync(long);
  for (const path of [at('stale'), join(long, 'socket')]) {
    const listen: Step = { op: 'listen', path, why };
    for (let round = 0; round < 2; round++) assert.deepEqual((await finish(launch({ monitor: [listen] }))).failed, []);
    assert.equal(spawnSync('stat', ['-c', '%F %a', path], { encoding: 'utf8' }).stdout, 'socket 600\n');
  }
  writeFileSync(at('file'), 'not a socket');
  const refused = await finish(launch({ monitor: [{ op: 'listen', path: at('file'), why }] }));
  assert.equal(refused.failed[0]?.errno, errnoNumber('EADDRINUSE'));
});

test('executor: the monitor outlives signals and the caller, and tells a client that comes later', async (context) => {
  if (!requires(context, ...needs)) return;
  const listen: Step = { op: 'listen', path: at('alone'), why };
  const first = launch({ monitor: [listen, piped('STDIN_OPEN'), spawning(shell('read x; exit 9'))] });
  await first.until((client) => client.started !== undefined);
  first.socket.destroy();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGPIPE'] as const) first.child.kill(signal);
  const later = await attach(at('alone'), { output: true, stdin: true });
  later.send('stdin', 'x\n');
  await later.closed;
  assert.equal(later.exit?.code, 9);
  assert.equal(await first.ended, 0);
});

test('executor: a caller that dies before started leaves the container running', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = run([
    touch(at('go')),
    { op: 'unlink', path: at('gate'), onError: { ENOENT: 'retry' }, why },
    exec('touch', at('ran')),
  ]);
  launched.socket.destroy();
  await sleep(20);
  writeFileSync(at('gate'), '');
  assert.equal(await launched.ended, 0);
  assert.ok(existsSync(at('ran')));
});

test('executor: a plan of another version stops with both numbers', async (context) => {
  if (!requires(context, ...needs)) return;
  const damage = (bytes: Buffer) => {
    bytes.writeUInt32LE(77, 8);
    return bytes;
  };
  const result = await finish(run([exec('true')], { damage }));
  assert.equal(result.failed[0]?.detail, `plan version 77, executor version ${PLAN_VERSION}`);
  assert.deepEqual([result.code, result.executor], [125, 125]);
});

test('executor: no plan that is cut off is run', async (context) => {
  if (!requires(context, ...needs)) return;
  const executor = existsSync(ASAN_EXECUTOR) ? ASAN_EXECUTOR : EXECUTOR;
  const steps = [mkdir(at('never')), exec('true')];
  let size = 0;
  const lastByteMissing = (bytes: Buffer) => {
    size = bytes.length;
    return bytes.subarray(0, -1);
  };
  assert.equal((await finish(run(steps, { damage: lastByteMissing, executor }))).executor, 125);
  for (let length = 0; length < size; length += Math.ceil(size / 60)) {
    const result = await finish(run(steps, { damage: (bytes) => bytes.subarray(0, length), executor }));
    assert.deepEqual([result.code, result.executor, result.failed.length], [125, 125, 1], `cut to ${length}`);
  }
  const longer = await finish(run(steps, { damage: (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]), executor }));
  assert.equal(longer.executor, 125);
  assert.ok(!existsSync(at('never')));
});
