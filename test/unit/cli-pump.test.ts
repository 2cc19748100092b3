import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import test from 'node:test';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { detachScanner, parseDetachKeys } from '../../src/cli/detach.ts';
import { flushed, pump } from '../../src/cli/pump.ts';
import type { ExitStatus, Session, StreamName } from '../../src/engine/api.ts';

/** A session whose other end is the test. */
function fakeSession() {
  const exited = Promise.withResolvers<ExitStatus>();
  const calls: string[] = [];
  const typed: Buffer[] = [];
  let write: (stream: StreamName, data: Buffer) => boolean = () => assert.fail('output before anybody wants it');
  let drained = () => {};
  let takes = true;
  const session: Session = {
    id: 'x',
    pid: () => 1,
    output: (to) => {
      write = to;
    },
    resume: () => void calls.push('resume'),
    stdin: (data) => {
      typed.push(Buffer.from(data));
      return takes;
    },
    onDrained: (callback) => {
      drained = callback;
    },
    closeStdin: () => void calls.push('closeStdin'),
    resize: () => {},
    exited: exited.promise,
    detach: () => void calls.push('detach'),
  };
  return {
    session,
    exited,
    calls,
    typed: () => Buffer.concat(typed).toString(),
    emit: (stream: StreamName, data: string | Buffer) => write(stream, Buffer.from(data)),
    stuff: () => {
      takes = false;
    },
    drain: () => {
      takes = true;
      drained();
    },
  };
}

/** A stream that takes nothing until it is let go. */
function slowStream() {
  const got: Buffer[] = [];
  const waiting: (() => void)[] = [];
  const stream = new Writable({
    highWaterMark: 4,
    write(chunk, _, done) {
      waiting.push(() => {
        got.push(chunk);
        done();
      });
    },
  });
  return { stream, got: () => Buffer.concat(got).toString(), next: () => waiting.shift()?.() };
}

function collector() {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  return { stream, bytes: () => Buffer.concat(chunks) };
}

test('pump: stdout and stderr stay apart and binary, and the exit code is returned', async () => {
  const fake = fakeSession();
  const [out, err] = [collector(), collector()];
  const running = pump(fake.session, { output: out.stream, errors: err.stream });
  const bytes = Buffer.from([0, 255, 10, 13, 128]);
  fake.emit('stdout', bytes);
  fake.emit('stderr', 'warning');
  fake.exited.resolve({ code: 137 });
  assert.equal(await running, 137);
  assert.deepEqual(out.bytes(), bytes);
  assert.equal(err.bytes().toString(), 'warning');
});

test('pump: a reader that is behind pauses the container, and all is written before the end', async () => {
  const fake = fakeSession();
  const slow = slowStream();
  const running = pump(fake.session, { output: slow.stream, errors: new PassThrough() });
  assert.equal(fake.emit('stdout', 'first'), false);
  fake.emit('stdout', 'second');
  fake.exited.resolve({ code: 0 });
  let ended = false;
  void running.then(() => {
    ended = true;
  });
  await sleep(5);
  assert.equal(ended, false);
  slow.next();
  await turn();
  slow.next();
  await turn();
  assert.deepEqual(fake.calls, ['resume']);
  slow.next();
  assert.equal(await running, 0);
  assert.equal(slow.got(), 'firstsecond');
});

test('pump: input goes to the container, waits while it takes nothing, and its end closes the input', async () => {
  const fake = fakeSession();
  const input = new PassThrough();
  const running = pump(fake.session, { input, output: new PassThrough(), errors: new PassThrough() });
  fake.stuff();
  input.write('one');
  await turn();
  input.write('two');
  await sleep(5);
  assert.equal(fake.typed(), 'one');
  assert.equal(input.isPaused(), true);
  fake.drain();
  await turn();
  assert.equal(fake.typed(), 'onetwo');
  input.end();
  await sleep(5);
  assert.deepEqual(fake.calls, ['closeStdin']);
  fake.exited.resolve({ code: 0 });
  assert.equal(await running, 0);
});

test('pump: the detach keys leave; what was typed before them arrives', async () => {
  const fake = fakeSession();
  const input = new PassThrough();
  const scan = detachScanner(parseDetachKeys('ctrl-p,ctrl-q'));
  const running = pump(fake.session, { input, scan, output: new PassThrough(), errors: new PassThrough() });
  input.write('ls\n\x10');
  await turn();
  input.write('\x11rest');
  assert.equal(await running, 'detached');
  assert.equal(fake.typed(), 'ls\n');
  assert.deepEqual(fake.calls, ['detach']);
});

test('pump: nobody reads the output any more: leave quietly with 141', async () => {
  const fake = fakeSession();
  const output = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
  });
  const running = pump(fake.session, { output, errors: new PassThrough() });
  fake.emit('stdout', 'x');
  assert.equal(await running, 141);
  assert.deepEqual(fake.calls, ['detach']);
  assert.equal(fake.emit('stdout', 'more'), true);
});

test('pump: a full disk under the output is an error', async () => {
  const fake = fakeSession();
  const output = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error('write ENOSPC'), { code: 'ENOSPC' })),
  });
  const running = pump(fake.session, { output, errors: new PassThrough() });
  fake.emit('stdout', 'x');
  await assert.rejects(running, /ENOSPC/);
});

test('pump: a closed standard error does not matter', async () => {
  const fake = fakeSession();
  const errors = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
  });
  const out = collector();
  const running = pump(fake.session, { output: out.stream, errors });
  fake.emit('stderr', 'x');
  await turn();
  fake.emit('stderr', 'y');
  fake.emit('stdout', 'still here');
  fake.exited.resolve({ code: 3 });
  assert.equal(await running, 3);
  assert.equal(out.bytes().toString(), 'still here');
});

test('pump: a lost connection is an error', async () => {
  const fake = fakeSession();
  const running = pump(fake.session, { output: new PassThrough(), errors: new PassThrough() });
  fake.exited.reject(new Error('the connection was lost'));
  await assert.rejects(running, /connection was lost/);
});

test('flushed: however often a slow reader is waited for, no listener stays', async () => {
  const slow = slowStream();
  const listeners = () => ['error', 'close'].map((event) => slow.stream.listenerCount(event));
  const before = listeners();
  for (const word of ['one', 'two', 'three']) {
    slow.stream.write(word);
    const waiting = flushed(slow.stream);
    for (let turns = 0; turns < 3; turns++) {
      slow.next();
      await turn();
    }
    await waiting;
    assert.deepEqual(listeners(), before);
  }
  assert.equal(slow.got(), 'onetwothree');
});
