import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { decompress, detectCompression } from '../../src/layer/decompress.ts';
import { requires } from '../requires.ts';
import { collect, pieces, run } from './layer-support.ts';

const DATA = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) >> 7));
const GZIP = gzipSync(DATA);
const ZSTD = zstdCompressSync(DATA);
const SIZES = [1_000_000, 1000, 97];

async function unpacked(bytes: Buffer, size: number): Promise<Buffer> {
  return collect(decompress(pieces(bytes, size)));
}

test('decompress: gzip, zstd and plain, in pieces of any size', async (t) => {
  if (!requires(t, 'command:zstd')) return;
  for (const bytes of [
    GZIP,
    ZSTD,
    DATA,
    run('gzip', ['-9'], { input: DATA }),
    run('zstd', ['-q', '-19'], { input: DATA }),
  ]) {
    for (const size of SIZES) assert.ok((await unpacked(bytes, size)).equals(DATA));
  }
  for (const short of ['', 'x', 'short']) assert.equal((await unpacked(Buffer.from(short), 1)).toString(), short);
});

test('decompress: several gzip members, several zstd frames, frames to skip', async () => {
  const skip = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const twice = Buffer.concat([DATA, DATA]);
  for (const size of [...SIZES, GZIP.length, ZSTD.length]) {
    assert.ok((await unpacked(Buffer.concat([GZIP, GZIP]), size)).equals(twice));
    assert.ok((await unpacked(Buffer.concat([skip, ZSTD, skip, ZSTD, skip]), size)).equals(twice));
  }
});

test('decompress: a stream that is cut off', async () => {
  for (const bytes of [GZIP, ZSTD]) {
    for (const end of [bytes.length - 1, bytes.length - 9, bytes.length >> 1, 12]) {
      await assert.rejects(unpacked(bytes.subarray(0, end), 1000), {
        code: 'ERR_TSBOX_DAMAGED',
        message: /unexpected end/,
      });
    }
  }
});

test('decompress: rubbish after the end of gzip, be it zeros', async () => {
  for (const rubbish of ['rubbish', '\0\0\0\0', '\x1f\x8brubbish', '\x1f']) {
    const bytes = Buffer.concat([GZIP, Buffer.from(rubbish, 'latin1')]);
    for (const size of [...SIZES, GZIP.length])
      await assert.rejects(unpacked(bytes, size), { code: 'ERR_TSBOX_DAMAGED' });
  }
  await assert.rejects(unpacked(Buffer.concat([ZSTD, Buffer.from('rubbish')]), 1000), { code: 'ERR_TSBOX_DAMAGED' });
});

test('decompress: a flipped bit', async () => {
  const bytes = Buffer.from(GZIP);
  bytes[bytes.length - 6]! ^= 1;
  await assert.rejects(unpacked(bytes, 1000), { code: 'ERR_TSBOX_DAMAGED' });
});

test('decompress: bzip2 and xz by their commands, in pieces of any size', async (t) => {
  if (!requires(t, 'command:bzip2', 'command:xz')) return;
  for (const command of ['bzip2', 'xz']) {
    const bytes = run(command, ['-9c'], { input: DATA });
    assert.equal(detectCompression(bytes.subarray(0, 6)), command);
    for (const size of SIZES) assert.ok((await unpacked(bytes, size)).equals(DATA), command);
    assert.ok((await unpacked(Buffer.concat([bytes, bytes]), 1000)).equals(Buffer.concat([DATA, DATA])), command);
    for (const bad of [
      bytes.subarray(0, -1),
      bytes.subarray(0, 100),
      bytes.subarray(0, 6),
      Buffer.concat([bytes, Buffer.from('rubbish')]),
      Buffer.concat([bytes.subarray(0, 2000), Buffer.alloc(8), bytes.subarray(2008)]),
    ]) {
      await assert.rejects(unpacked(bad, 1000), {
        code: 'ERR_TSBOX_DAMAGED',
        message: new RegExp(`^${command} stream: .`),
      });
    }
    await assert.rejects(collect(decompress(pieces(bytes), { maxBytes: 200_000 })), { code: 'ERR_TSBOX_LIMIT' });
    const path = process.env['PATH'];
    process.env['PATH'] = '/nonexistent';
    const missing = {
      code: 'ERR_TSBOX_UNSUPPORTED',
      message: new RegExp(`${command} compression without the command`),
    };
    await assert.rejects(unpacked(bytes, 1000), missing).finally(() => {
      process.env['PATH'] = path;
    });
  }
});

test('decompress: whatever a command thinks of it, the source is read to its end; who leaves early leaves no process', async (t) => {
  if (!requires(t, 'command:xz')) return;
  const bytes = run('xz', ['-c'], { input: DATA });
  let given = 0;
  async function* source(): AsyncGenerator<Buffer> {
    for (const part of [bytes.subarray(0, 100), Buffer.alloc(200_000, 'x'), Buffer.alloc(200_000, 'y')]) {
      given += part.length;
      yield part;
    }
    throw new Error('of the source');
  }
  await assert.rejects(collect(decompress(source())), { message: 'of the source' });
  assert.equal(given, 400_100);
  let closed = 0;
  async function* endless(): AsyncGenerator<Buffer> {
    try {
      for (;;) yield bytes;
    } finally {
      closed++;
    }
  }
  for await (const _ of decompress(endless())) break;
  assert.equal(closed, 1);
  const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
  for (let tries = 0; children() !== '' && tries < 100; tries++) await new Promise((wake) => setTimeout(wake, 20));
  assert.equal(children(), '');
});

test('decompress: a bomb stops at the limit of bytes, and at that of the ratio', async () => {
  const limit = { code: 'ERR_TSBOX_LIMIT' };
  await assert.rejects(collect(decompress(pieces(GZIP), { maxBytes: 200_000 })), limit);
  await assert.rejects(collect(decompress(pieces(DATA), { maxBytes: 200_000 })), limit);
  const bomb = zstdCompressSync(Buffer.alloc(64 * 2 ** 20));
  async function* many(): AsyncGenerator<Buffer> {
    for (let i = 0; i < 1000; i++) yield bomb;
  }
  let out = 0;
  await assert.rejects(async () => {
    for await (const chunk of decompress(many())) out += chunk.length;
  }, limit);
  assert.ok(out <= 2 ** 30 + 2 ** 20, 'stopped soon after the first gigabyte');
});

test('decompress: an error of the source comes through as it is, and the source is closed when nobody wants more', async () => {
  async function* failing(): AsyncGenerator<Buffer> {
    yield GZIP.subarray(0, 1000);
    throw new Error('the network went away');
  }
  await assert.rejects(collect(decompress(failing())), { message: 'the network went away' });
  let closed = false;
  async function* endless(): AsyncGenerator<Buffer> {
    try {
      for (;;) yield GZIP;
    } finally {
      closed = true;
    }
  }
  for await (const chunk of decompress(endless())) {
    assert.ok(chunk.length > 0);
    break;
  }
  assert.ok(closed);
});

test('decompress: a zstd window of any size that fits into memory', async (t) => {
  if (!requires(t, 'command:zstd')) return;
  // From a stream zstd does not know the size, and takes the whole window.
  const packed = (window: number): Buffer =>
    run('zstd', ['-q', `--long=${window}`, '-c'], { input: Buffer.from('data') });
  for (const window of [10, 23, 27]) {
    assert.equal((await collect(decompress(pieces(packed(window))))).toString(), 'data');
  }
  await assert.rejects(collect(decompress(pieces(packed(28)))), {
    code: 'ERR_TSBOX_LIMIT',
    message: /too much memory/,
  });
});
