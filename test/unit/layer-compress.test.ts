import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { gunzipSync } from 'node:zlib';
import { gzip } from '../../src/layer/compress.ts';
import { collect } from './registry-fixture.ts';

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const BLOCK = 256 * 1024;
/** Text that repeats over the borders of blocks, with some noise in it. */
const text = Buffer.concat(
  Array.from({ length: 3000 }, (_, at) =>
    Buffer.from(`line ${at % 97} ${randomBytes(200).toString('hex')} `.repeat(2)),
  ),
);

test('compress: GNU gzip and zlib read what comes out, whatever its length', async () => {
  for (const length of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, text.length]) {
    const plain = text.subarray(0, length);
    const packed = await collect(gzip(inPieces(plain, 100_000)));
    assert.deepEqual(gunzipSync(packed), plain, `zlib, ${length} bytes`);
    assert.deepEqual(
      execFileSync('gzip', ['-dc'], { input: packed, maxBuffer: 1 << 26 }),
      plain,
      `gzip, ${length} bytes`,
    );
  }
});

test('compress: the same bytes give the same bytes, whatever pieces they come in', async () => {
  const first = await collect(gzip(inPieces(text, 1000)));
  for (const size of [777, BLOCK, text.length]) assert.deepEqual(await collect(gzip(inPieces(text, size))), first);
  // No time, no name, no system.
  assert.deepEqual([...first.subarray(0, 10)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
});

test('compress: blocks cost next to nothing', async () => {
  const packed = await collect(gzip(inPieces(text, BLOCK)));
  const whole = execFileSync('gzip', ['-6n'], { input: text, maxBuffer: 1 << 26 });
  assert.ok(packed.length < whole.length * 1.02, `${packed.length} bytes, gzip has ${whole.length}`);
});

test('compress: a source that fails, and a reader that leaves, end it', async () => {
  let closed = false;
  const failing = async function* () {
    try {
      for (let at = 0; ; at++) {
        if (at === 6) throw new Error('disk broken');
        yield randomBytes(BLOCK);
      }
    } finally {
      closed = true;
    }
  };
  await assert.rejects(collect(gzip(failing())), /^Error: disk broken$/);
  assert.ok(closed);
  closed = false;
  for await (const chunk of gzip(failing())) if (chunk.length > 100) break;
  assert.ok(closed);
});
