/** The loop of the union, with a socket in the place of /dev/fuse. */
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { bind } from '../../src/sys/ffi.ts';
import { allocate, quickly } from '../../src/sys/quick.ts';
import { input } from '../../src/union/exchange.ts';
import { OP, ROOT } from '../../src/union/protocol.ts';
import { serve } from '../../src/union/serve.ts';
import { createUnion, type Union } from '../../src/union/union.ts';

const socketpair = bind('int', 'socketpair', ['int', 'int', 'int', 'void *']);
const [AF_UNIX, SOCK_SEQPACKET, O_PATH] = [1, 5, 0o10000000];
const EIO = -5;

/** Two descriptors: what is written to one is read from the other, whole. */
function pair(): [number, number] {
  const fds = Buffer.alloc(8);
  assert.equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

const dup = bind('int', 'dup', ['int']);

function withStderr(path: string, act: () => void): void {
  const [before, file] = [dup(2), openSync(path, 'w')];
  quickly.dup3(file, 2, 0);
  try {
    act();
  } finally {
    quickly.dup3(before, 2, 0);
    for (const fd of [before, file]) closeSync(fd);
  }
}

const memory = allocate(4096);

/** `struct fuse_in_header` alone. */
function ask(kernel: number, op: number, unique: number): void {
  memory.bytes.fill(0, 0, 64);
  for (const [at, value] of [64, op, unique, 0, ROOT].entries()) memory.bytes.writeUInt32LE(value, at * 4);
  assert.equal(quickly.write(kernel, memory.address, 64), 64);
}

/** `struct fuse_out_header`: which request, and what became of it. */
function answerOf(kernel: number): { unique: number; error: number } {
  assert.ok(quickly.read(kernel, memory.address, 4096) >= 16);
  return { unique: memory.bytes.readUInt32LE(8), error: memory.bytes.readInt32LE(4) };
}

test('union: an exception in a request is answered with EIO and told once; the next request is served', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-serve-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const name of ['lower', 'w', 'w/work']) mkdirSync(join(directory, name));
  const [lower, work] = ['lower', 'w/work'].map((name) => openSync(join(directory, name), O_PATH));
  const [kernel, device] = pair();
  const options = {
    prefix: 'user.overlay.',
    whiteouts: 'device',
    writeback: false,
    mostDirectories: 8,
    mostIdle: 8,
  } as const;
  const union = createUnion({ layers: [-1, lower!], work: work!, ...options });
  const unique = () => input.bytes.readUInt32LE(8); // of the request in hand
  const broken: Union = {
    ...union,
    // After the third request there is nothing to read from, which does end it.
    get device() {
      return unique() === 9 ? -1 : device;
    },
    get nodes(): Union['nodes'] {
      if (unique() < 9) throw new TypeError('nobody expected this');
      return union.nodes;
    },
  };
  for (const number of [7, 8, 9]) ask(kernel, OP.GETATTR, number);
  const said = join(directory, 'stderr');
  withStderr(said, () => assert.throws(() => serve(broken), /read \/dev\/fuse: errno 9/));
  const answers = [answerOf(kernel), answerOf(kernel), answerOf(kernel)];
  assert.deepEqual(
    answers.map(({ unique, error }) => [unique, error]),
    [
      [7, EIO],
      [8, EIO],
      [9, 0],
    ],
  );
  const log = readFileSync(join(directory, 'w/union.log'), 'utf8');
  assert.equal(readFileSync(said, 'utf8'), log);
  assert.equal(log.match(/GETATTR was answered with EIO/g)?.length, 1, log);
  assert.match(log, /TypeError: nobody expected this\n\s+at .*\.ts:\d+/);
  for (const fd of [kernel, device, lower!, work!]) closeSync(fd);
});
