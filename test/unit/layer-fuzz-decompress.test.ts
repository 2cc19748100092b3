/** Compressed streams with bytes turned, cut, doubled and moved: what comes out is what gzip and zstd make of them, in whatever
 *  pieces it arrives, or an error of ours. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateRawSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { TsboxError } from '../../src/errors.ts';
import { decompress } from '../../src/layer/decompress.ts';
import { requires } from '../requires.ts';
import { generator, pick, type Random } from './layer-mutations.ts';
import { archive, collect, MEMORY, pieces, run } from './layer-support.ts';

const CASES = Math.ceil(Number(process.env['TSBOX_FUZZ_CASES'] ?? 10_000) / 5);
const ROUND = 250;
const SEED = Number(process.env['TSBOX_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
const MAGIC = { gzip: Buffer.from([0x1f, 0x8b]), zstd: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]) };

function noise(length: number): Buffer {
  const random = generator(length);
  return Buffer.from(Array.from({ length }, () => random(256)));
}

/** A member with every field that a header can have. */
function fullHeader(data: Buffer): Buffer {
  const checked = gzipSync(data);
  const head = Buffer.from([0x1f, 0x8b, 8, 0x1c, 1, 2, 3, 4, 2, 3, 3, 0, 0x61, 0x62, 0x63]);
  return Buffer.concat([head, Buffer.from('name\0comment\0'), deflateRawSync(data), checked.subarray(-8)]);
}

function skippable(length: number): Buffer {
  const frame = Buffer.alloc(8 + length, 0x5a);
  frame.writeUInt32LE(0x184d2a53, 0);
  frame.writeUInt32LE(length, 4);
  return frame;
}

function gzipSeeds(data: readonly Buffer[]): Buffer[] {
  const [tar, text, random] = data as [Buffer, Buffer, Buffer];
  return [
    ...data.map((bytes) => gzipSync(bytes)),
    ...data.map((bytes) => gzipSync(bytes, { level: 0 })),
    run('gzip', ['-9'], { input: tar }),
    fullHeader(text),
    Buffer.concat([gzipSync(text), gzipSync(Buffer.alloc(0)), fullHeader(random), gzipSync(tar)]),
  ];
}

function zstdSeeds(data: readonly Buffer[]): Buffer[] {
  const [tar, text, random] = data as [Buffer, Buffer, Buffer];
  return [
    ...data.map((bytes) => zstdCompressSync(bytes)),
    run('zstd', ['-q', '--no-check', '-19', '-c'], { input: tar }),
    run('zstd', ['-q', '--check', '-1', '-c'], { input: text }),
    Buffer.concat([skippable(0), zstdCompressSync(text), skippable(700), zstdCompressSync(random)]),
    Buffer.concat([zstdCompressSync(Buffer.alloc(0)), zstdCompressSync(tar), skippable(3)]),
  ];
}

function mutate(seed: Buffer, other: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(seed);
  for (let change = random(4); change > 0 && bytes.length > 0; change--) {
    const at = random(3) === 0 ? random(Math.min(bytes.length, 24)) : random(bytes.length);
    const kind = random(8);
    if (kind === 0) bytes[at] = random(256);
    else if (kind === 1) bytes[at]! ^= 1 << random(8);
    else if (kind === 2) bytes = bytes.subarray(0, at);
    else if (kind === 3) bytes = bytes.subarray(0, bytes.length - Math.min(bytes.length, random(10)));
    else if (kind === 4)
      bytes = Buffer.concat([bytes, Buffer.alloc(1 + random(20), random(2) === 0 ? 0 : random(256))]);
    else if (kind === 5)
      bytes = Buffer.concat([bytes, other.subarray(0, random(4) === 0 ? random(other.length) : other.length)]);
    else if (kind === 6) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    else bytes = Buffer.concat([bytes, random(2) === 0 ? MAGIC.gzip : skippable(random(20))]);
  }
  return bytes;
}

async function outcome(bytes: Buffer, piece: number): Promise<Buffer | TsboxError> {
  try {
    return await collect(decompress(pieces(bytes, piece), { maxBytes: 1e7 }));
  } catch (error) {
    if (
      error instanceof TsboxError &&
      ['ERR_TSBOX_DAMAGED', 'ERR_TSBOX_LIMIT', 'ERR_TSBOX_UNSUPPORTED'].includes(error.code)
    ) {
      return error;
    }
    throw error;
  }
}

const UNPACK = `for file in in/*; do
  if ! \${file##*.} -qdc < $file > out/\${file##*/} 2> /dev/null; then echo > refused/\${file##*/}; fi
done`;

/** What the programs make of the streams, by name; undefined where they refuse. */
function judged(root: string, streams: ReadonlyMap<string, Buffer>): Map<string, Buffer | undefined> {
  for (const name of ['in', 'out', 'refused']) mkdirSync(join(root, name), { recursive: true });
  for (const [name, bytes] of streams) writeFileSync(join(root, 'in', name), bytes);
  run('bash', ['-c', UNPACK], { cwd: root });
  const refused = new Set(readdirSync(join(root, 'refused')));
  const found = [...streams.keys()].map(
    (name) => [name, refused.has(name) ? undefined : readFileSync(join(root, 'out', name))] as const,
  );
  rmSync(root, { recursive: true });
  return new Map(found);
}

/** In other pieces it is the same; which damage is found first may differ. */
function same(again: Buffer | TsboxError, ours: Buffer | TsboxError): void {
  if (ours instanceof TsboxError) assert.equal((again as TsboxError).code, ours.code);
  else assert.ok(ours.equals(again as Buffer));
}

/** gzip itself does not mind zeros after the end. */
function check(ours: Buffer | TsboxError, theirs: Buffer | undefined): void {
  if (!(ours instanceof TsboxError)) assert.ok(theirs?.equals(ours), `${ours.length} bytes, and not ${theirs?.length}`);
  else if (theirs !== undefined) assert.match(ours.message, /gzip stream: something else follows its end/);
}

/** Node's libzstd is younger than many a zstd(1), and refuses some damage that those let pass. */
function refusedByLibrary(bytes: Buffer): boolean {
  try {
    zstdDecompressSync(bytes);
    return false;
  } catch {
    return true;
  }
}

test(`fuzz: ${CASES} compressed streams, TSBOX_FUZZ_SEED=${SEED}`, async (t) => {
  if (!requires(t, 'command:zstd')) return;
  const root = mkdtempSync(join(MEMORY, 'tsbox-streams-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const tar = archive({ name: 'd/' }, { name: 'd/f', data: 'data'.repeat(5000) }, { name: 'g', data: noise(3000) });
  const data = [tar, Buffer.from('some text '.repeat(50)), noise(2000), Buffer.alloc(300_000), Buffer.alloc(0)];
  const seeds = { gzip: gzipSeeds(data), zstd: zstdSeeds(data) };
  let unpacked = 0;
  for (let first = SEED; first < SEED + CASES; first += ROUND) {
    const streams = new Map<string, Buffer>();
    for (let number = first; number < Math.min(first + ROUND, SEED + CASES); number++) {
      const random = generator(number);
      const kind = pick(random, ['gzip', 'zstd'] as const);
      const bytes = mutate(pick(random, seeds[kind]), pick(random, seeds[kind]), random);
      // Without its first bytes it is something else.
      if (bytes.subarray(0, MAGIC[kind].length).equals(MAGIC[kind])) streams.set(`${number}.${kind}`, bytes);
    }
    for (const [name, theirs] of judged(join(root, 'round'), streams)) {
      const bytes = streams.get(name)!;
      const number = Number.parseInt(name, 10);
      try {
        const ours = await outcome(bytes, 65_536);
        check(
          ours,
          ours instanceof TsboxError && name.endsWith('zstd') && refusedByLibrary(bytes) ? undefined : theirs,
        );
        if (number % 4 === 0) same(await outcome(bytes, 1 + (number % 1000)), ours);
        if (Buffer.isBuffer(ours)) unpacked++;
      } catch (error) {
        const kept = join(tmpdir(), `tsbox-fuzz-${name}`);
        writeFileSync(kept, bytes);
        throw new Error(`TSBOX_FUZZ_SEED=${number} TSBOX_FUZZ_CASES=1, kept as ${kept}`, { cause: error });
      }
    }
  }
  t.diagnostic(`${unpacked} of ${CASES} were unpacked`);
});
