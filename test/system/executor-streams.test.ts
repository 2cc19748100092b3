/** Bytes between clients, container and log. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Step } from '../../src/plan/step.ts';
import {
  attach,
  EXECUTOR,
  exec,
  finish,
  type Launched,
  launch,
  logTo,
  piped,
  run,
  shell,
  spawning,
} from '../executor.ts';
import { requires } from '../requires.ts';
import { until } from './harness.ts';

const why = 'for a test';
const needs = [`file:${EXECUTOR}`] as const;
let directory = '';
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsbox-streams-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

const at = (name: string) => join(directory, name);
const listen = (name: string): Step => ({ op: 'listen', path: at(name), why });
const log = (name: string, maxSize?: number, maxFiles?: number): Step => logTo(at(name), maxSize, maxFiles);
const withInput = (mode: 'STDIN_OPEN' | 'STDIN_ONCE', ...steps: Step[]): Launched =>
  launch({ monitor: [piped(mode), spawning(...steps)] });

interface Entry {
  log: string;
  stream: string;
  time: string;
}
const entries = (name: string): Entry[] =>
  readFileSync(at(name), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Entry);

test('executor: standard output and standard error stay apart', async (context) => {
  if (!requires(context, ...needs)) return;
  const result = await finish(run([shell('echo out; echo err >&2; echo out')]));
  assert.deepEqual([result.stdout, result.stderr], ['out\nout\n', 'err\n']);
});

test('executor: ten megabytes go in and come out as they were', async (context) => {
  if (!requires(context, ...needs)) return;
  const bytes = randomBytes(10 << 20);
  const launched = withInput('STDIN_OPEN', exec('cat'));
  for (let from = 0; from < bytes.length; from += 100_000) launched.send('stdin', bytes.subarray(from, from + 100_000));
  launched.send('stdin');
  await finish(launched);
  const digest = (data: Buffer) => createHash('sha256').update(data).digest('hex');
  assert.equal(digest(Buffer.concat(launched.stdout)), digest(bytes));
});

test('executor: one frame may be larger than every buffer', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = withInput('STDIN_OPEN', shell('wc -c'));
  launched.send('stdin', Buffer.alloc(3_000_001));
  launched.send('stdin');
  assert.equal((await finish(launched)).stdout.trim(), '3000001');
});

test('executor: without input the container reads /dev/null, and what a client sends is dropped', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = run([shell('readlink /proc/self/fd/0; cat; echo end; exec sleep 1000')]);
  launched.send('stdin', Buffer.alloc(500_000));
  await launched.until(({ stdout }) => Buffer.concat(stdout).toString() === '/dev/null\nend\n');
  // Node gives up a socket with all that it has not read when a write meets EPIPE: so the monitor stays until it has all.
  if (launched.socket.writableLength > 0) await once(launched.socket, 'drain');
  process.kill(launched.started!, 'SIGKILL');
  assert.equal((await finish(launched)).code, 137);
});

test('executor: a container that reads no input stops the sender and nothing else', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = withInput('STDIN_OPEN', shell('echo one; sleep 0.3; echo two; head -c 5 >/dev/null; exit 4'));
  launched.send('stdin', Buffer.alloc(2 << 20));
  const result = await finish(launched);
  assert.deepEqual([result.stdout, result.code], ['one\ntwo\n', 4]);
});

test('executor: an input that the container has closed is no error', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = withInput('STDIN_OPEN', shell('exec 0<&-; echo closed; sleep 0.2; echo end'));
  await launched.until((client) => client.stdout.length > 0);
  for (let round = 0; round < 5; round++) launched.send('stdin', Buffer.alloc(100_000));
  assert.equal((await finish(launched)).stdout, 'closed\nend\n');
});

test('executor: with STDIN_ONCE the input ends when its client leaves, with STDIN_OPEN it does not', async (context) => {
  if (!requires(context, ...needs)) return;
  for (const mode of ['STDIN_ONCE', 'STDIN_OPEN'] as const) {
    const monitor = [listen(mode), piped(mode), spawning(shell('while read line; do echo "$line"; done; echo over'))];
    const first = launch({ monitor });
    await first.until((client) => client.started !== undefined);
    const watcher = await attach(at(mode), { output: true, stdin: false });
    await watcher.until((client) => client.started !== undefined);
    first.send('stdin', 'last\n');
    await watcher.until((client) => client.stdout.length > 0);
    first.socket.destroy();
    if (mode === 'STDIN_OPEN') {
      await sleep(50);
      assert.equal(Buffer.concat(watcher.stdout).toString(), 'last\n');
      const next = await attach(at(mode), { output: false, stdin: true });
      next.send('stdin', 'more\n');
      next.send('stdin');
    }
    await watcher.closed;
    assert.match(
      Buffer.concat(watcher.stdout).toString(),
      mode === 'STDIN_OPEN' ? /^last\nmore\nover\n$/ : /^last\nover\n$/,
    );
  }
});

test('executor: a client without stdin in its hello cannot type', async (context) => {
  if (!requires(context, ...needs)) return;
  const first = launch({ monitor: [listen('mute'), piped('STDIN_OPEN'), spawning(exec('cat'))] });
  await first.until((client) => client.started !== undefined);
  const mute = await attach(at('mute'), { output: true, stdin: false });
  mute.send('stdin', 'not this');
  mute.send('stdin');
  await mute.until((client) => client.started !== undefined);
  await sleep(30);
  first.send('stdin', 'this');
  first.send('stdin');
  assert.equal((await finish(first)).stdout, 'this');
});

test('executor: a client that shuts down its writing half still hears everything', async (context) => {
  if (!requires(context, ...needs)) return;
  const launched = withInput('STDIN_ONCE', shell('cat; sleep 0.1; echo end; exit 5'));
  launched.send('stdin', 'data\n');
  launched.socket.end();
  const result = await finish(launched);
  assert.deepEqual([result.stdout, result.code], ['data\nend\n', 5]);
});

test('executor: a slow client stops the container, and loses nothing', async (context) => {
  if (!requires(context, ...needs)) return;
  const size = 12 << 20;
  const script = `head -c ${size} /dev/zero; echo done >&2`;
  const first = launch({ monitor: [listen('slow'), log('slow.log'), piped(), spawning(shell(script))] });
  first.socket.pause();
  await until(
    'the first of it in the log',
    () => existsSync(at('slow.log')) && readFileSync(at('slow.log')).length > 0,
  );
  await sleep(400);
  const logged = readFileSync(at('slow.log')).length;
  assert.ok(logged < 6 * 4 * (1 << 20), `the container wrote on: ${logged}`);
  first.socket.resume();
  const result = await finish(first);
  assert.equal(Buffer.concat(first.stdout).length, size);
  assert.equal(result.stderr, 'done\n');
});

test('executor: a slow client that leaves lets the container go on', async (context) => {
  if (!requires(context, ...needs)) return;
  const first = launch({ monitor: [listen('leaver'), piped(), spawning(shell('head -c 9000000 /dev/zero; exit 6'))] });
  // At once: it has not much to say.
  await first.until((client) => client.started !== undefined && first.socket.pause() !== undefined);
  const other = await attach(at('leaver'), { output: false, stdin: false });
  await sleep(100);
  assert.equal(other.exit, undefined);
  first.socket.destroy();
  await other.until((client) => client.exit?.code === 6);
  assert.equal(await first.ended, 0);
});

test('executor: a client that stands still does not keep the cleanup waiting', async (context) => {
  if (!requires(context, ...needs)) return;
  const cleanup: Step[] = [{ op: 'write', path: at('clean'), data: 'x', flags: ['O_CREAT'], mode: 0o600, why }];
  const script = 'head -c 9000000 /dev/zero & sleep 0.2; exit 7'; // the writer fills all queues and outlives the shell
  const launched = launch({ monitor: [piped(), spawning(shell(script))], cleanup });
  launched.socket.pause();
  // A monitor that waited for the client would do so for five seconds.
  await until('the cleanup', () => existsSync(at('clean')) && readFileSync(at('clean'), 'utf8') === 'x', 4_500);
  launched.socket.resume();
  await finish(launched);
  assert.ok(Buffer.concat(launched.stdout).length > 1 << 20);
  assert.equal(launched.exit?.code, 7);
});

test('executor: output of a process that outlives the first one does not hold the end up', async (context) => {
  if (!requires(context, ...needs)) return;
  const begin = performance.now();
  const result = await finish(run([shell('(sleep 20; echo late) & echo soon')]));
  assert.equal(result.stdout, 'soon\n');
  assert.ok(performance.now() - begin < 15_000);
  const endless = await finish(run([shell('(trap "" PIPE; timeout 3 yes) & exit 1')]));
  assert.equal(endless.code, 1);
});

test('executor: a terminal has its size, follows a resize, and the program owns it', async (context) => {
  if (!requires(context, ...needs)) return;
  const pty: Step = { op: 'pty', path: '/dev/pts/ptmx', rows: 33, columns: 101, why };
  const script =
    'tty -s && stty size; ps -o tty= -p $$; trap "stty size; exit 8" WINCH; echo ready; while :; do sleep 0.05; done';
  const launched = launch({ monitor: [log('pty.log'), spawning({ op: 'setsid', why }, pty, shell(script))] });
  const output = () => Buffer.concat(launched.stdout).toString();
  await launched.until(() => output().includes('ready'));
  launched.send('resize', Buffer.of(0, 40, 1, 0));
  const result = await finish(launched);
  assert.match(result.stdout, /^33 101\r\npts\/\d+ *\r\nready\r\n40 256\r\n$/);
  assert.deepEqual([result.stderr, result.code], ['', 8]);
  assert.equal(entries('pty.log')[0]?.log, '33 101\r\n');
});

test('executor: what is typed reaches a terminal, echo and control characters too', async (context) => {
  if (!requires(context, ...needs)) return;
  const pty: Step = { op: 'pty', path: '/dev/pts/ptmx', rows: 0, columns: 0, why };
  const typed = launch({ monitor: [spawning({ op: 'setsid', why }, pty, shell('read x; echo "[$x]"; sleep 9'))] });
  typed.send('stdin', 'word\n');
  await typed.until(() => Buffer.concat(typed.stdout).toString().includes('[word]'));
  typed.send('stdin'); // a terminal has no end of file of this kind
  typed.send('stdin', '\x03');
  const result = await finish(typed);
  assert.equal(result.stdout, 'word\r\n[word]\r\n^C');
  assert.deepEqual([result.code, result.signal], [130, 2]);
});

test('executor: the last output of a terminal is not lost', async (context) => {
  if (!requires(context, ...needs)) return;
  const pty: Step = { op: 'pty', path: '/dev/pts/ptmx', rows: 24, columns: 80, why };
  for (let round = 0; round < 30; round++) {
    const launched = launch({ monitor: [spawning({ op: 'setsid', why }, pty, shell('seq 1 2000'))] });
    const lines = (await finish(launched)).stdout.split('\r\n');
    assert.deepEqual([lines.length, lines.at(-2)], [2001, '2000']);
  }
});

test('executor: the log has every line with its stream and time', async (context) => {
  if (!requires(context, ...needs)) return;
  const begin = Date.now();
  await finish(run([shell('echo one; sleep 0.1; echo two >&2; printf "no newline"')], { before: [log('lines')] }));
  const found = entries('lines');
  const sorted = found.map(({ log: line, stream }) => [line, stream]);
  assert.deepEqual(sorted, [
    ['one\n', 'stdout'],
    ['two\n', 'stderr'],
    ['no newline', 'stdout'],
  ]);
  for (const { time } of found) {
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
    assert.ok(Date.parse(time) >= begin - 1 && Date.parse(time) <= Date.now() + 1);
  }
});

test('executor: log lines say what JSON.parse understands, whatever the bytes', async (context) => {
  if (!requires(context, ...needs)) return;
  const all = Buffer.concat([
    Buffer.from(Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 10)),
    Buffer.from('\n"quoted" \\ <tag> & \u2028\u2029 ä€𝄞\t\x7f\n'),
    Buffer.from([0xed, 0xa0, 0x80, 0xc0, 0x80, 0xf4, 0x90, 0x80, 0x80, 0xe2, 0x82, 0x0a]), // surrogate, overlong, too high, cut
    randomBytes(20_000),
  ]);
  writeFileSync(at('all'), all);
  await finish(run([exec('cat', at('all'))], { before: [log('escaped')] }));
  const raw = readFileSync(at('escaped'), 'utf8');
  assert.match(raw, /^{"log":"\\u0000\\u0001\\u0002.*\\u0009\\u000b\\u000c\\r\\u000e/);
  assert.match(raw, /\\"quoted\\" \\\\ \\u003ctag\\u003e \\u0026 \\u2028\\u2029 ä€𝄞\\u0009\x7f\\n/);
  assert.match(raw, /{"log":"(\\ufffd){11}\\n/);
  const joined = entries('escaped')
    .map((entry) => entry.log)
    .join('');
  // Each bad byte is one replacement, where the decoder below takes a cut-off character as one: so only what is not replaced counts.
  const strip = (text: string) => text.replace(/\ufffd+/g, '?');
  assert.equal(strip(joined), strip(all.toString('utf8')));
});

test('executor: a character that arrives in two parts is whole in the log', async (context) => {
  if (!requires(context, ...needs)) return;
  const script = `printf 'a\\342'; sleep 0.05; printf '\\202'; sleep 0.05; printf '\\254b\\n'`;
  await finish(run([shell(script)], { before: [log('cut')] }));
  assert.deepEqual(
    entries('cut').map((entry) => entry.log),
    ['a€b\n'],
  );
});

test('executor: a long line is split at 16 KiB, without a newline and not inside a character', async (context) => {
  if (!requires(context, ...needs)) return;
  writeFileSync(at('plain'), `${'x'.repeat(40_000)}\nshort\n${'y'.repeat(16_384)}\n`);
  await finish(run([exec('cat', at('plain'))], { before: [log('split')] }));
  assert.deepEqual(
    entries('split').map((entry) => entry.log.length),
    [16_384, 16_384, 7233, 6, 16_384, 1],
  );
  const text = `a${'€'.repeat(12_000)}\n`;
  writeFileSync(at('wide'), text);
  await finish(run([exec('cat', at('wide'))], { before: [log('wide.log')] }));
  const parts = entries('wide.log').map((entry) => entry.log);
  assert.equal(parts.join(''), text);
  assert.equal(parts.length, 3);
});

test('executor: the log is rotated by size, and no line is lost between two files that are kept', async (context) => {
  if (!requires(context, ...needs)) return;
  await finish(run([shell('seq 100000 100999')], { before: [log('rotated', 20_000, 4)] }));
  const names = readdirSync(directory).filter((name) => name.startsWith('rotated'));
  assert.deepEqual(names.sort(), ['rotated', 'rotated.1', 'rotated.2', 'rotated.3']);
  const numbers = ['rotated.3', 'rotated.2', 'rotated.1', 'rotated'].flatMap((name) =>
    entries(name).map((entry) => Number(entry.log)),
  );
  assert.equal(numbers.at(-1), 100_999);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => 100_999 - (numbers.length - 1 - index)),
  );
  for (const name of names) assert.ok(readFileSync(at(name)).length < 20_000 + 200);
  for (const name of names.slice(1)) assert.ok(readFileSync(at(name)).length >= 20_000);
});

test('executor: a log of one file starts again when it is full; an old log is continued', async (context) => {
  if (!requires(context, ...needs)) return;
  await finish(run([shell('seq 1 1000')], { before: [log('single', 5000, 1)] }));
  assert.ok(readFileSync(at('single')).length <= 5200);
  assert.equal(entries('single').at(-1)?.log, '1000\n');
  for (const word of ['first', 'second']) await finish(run([exec('echo', word)], { before: [log('continued')] }));
  assert.deepEqual(
    entries('continued').map((entry) => entry.log),
    ['first\n', 'second\n'],
  );
});

test('executor: a full disk loses log lines and leaves whole objects', async (context) => {
  if (!requires(context, ...needs, 'root')) return;
  const mounts: Step[] = [
    { op: 'unshare', flags: ['CLONE_NEWNS'], why },
    { op: 'mount', source: '', target: '/', type: '', flags: ['MS_REC', 'MS_PRIVATE'], data: '', why },
    { op: 'mount', source: 't', target: '/mnt', type: 'tmpfs', flags: [], data: 'size=512k', why },
    logTo('/mnt/log'),
  ];
  const script =
    'seq 1 20000; while size=$(wc -c < /mnt/log); [ "$size" != "$before" ]; do before=$size; sleep 0.3; done; cat /mnt/log >&2';
  const result = await finish(run([shell(script)], { before: mounts }));
  assert.equal(result.stdout.length, 108_894);
  const whole = result.stderr.trimEnd().split('\n');
  assert.ok(whole.length > 100);
  for (const line of whole) JSON.parse(line);
});
