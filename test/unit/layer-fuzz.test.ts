/** Archives with bytes turned, cut, doubled and moved. What comes out may be an error of ours or a layer, and never anything else:
 *  no crash, nothing outside of the target, and what was accepted comes back byte for byte. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { checksum } from '../../src/layer/header.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { apply, archive, collect, run, scratch, snapshot } from './layer-support.ts';

const CASES = Number(process.env['TSBOX_FUZZ_CASES'] ?? 400);
const SEED = Number(process.env['TSBOX_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

/** Small, fast and good enough: mulberry32. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function seeds(root: string): Buffer[] {
  run(
    'bash',
    [
      '-c',
      `mkdir -p d/e; echo data > d/f; ln d/f d/link; ln -s f d/s; mkfifo d/fifo; printf x > $'d/\\xff'; truncate -s 100K d/hole; echo x >> d/hole
       echo long > d/e/$(printf 'n%.0s' {1..150}); setfattr -n user.x -v y d/f || true`,
    ],
    { cwd: root },
  );
  const pack = (...args: string[]): Buffer => run('tar', [...args, '-b1', '-cf', '-', './d'], { cwd: root });
  return [
    pack('--format=v7', '--exclude=d/fifo', '--exclude=d/e/*'),
    pack('--format=gnu', '-S'),
    pack('--format=pax', '-S', '--xattrs'),
    pack('--format=pax', '-S', '--sparse-version=0.1'),
    archive(
      { name: 'd/' },
      { name: 'd/.wh..wh..opq' },
      { name: '.wh.x' },
      { name: 'd/f', data: 'x'.repeat(700) },
      { name: 's', type: 'symlink', linkname: '../../victim' },
      { name: 'h', type: 'link', linkname: 'd/f' },
      { name: 'd/f', data: 'again' },
    ),
  ];
}

const TEXTS = ['../', '/', '.wh.', '..', '\0', 's/', 'd', '77777777777', '99', '-1', '\xff\xff', '\x80', 'xgLKS1250'];

function mutate(seed: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(seed);
  for (let change = 1 + random(4); change > 0 && bytes.length > 1024; change--) {
    const block = 512 * random(bytes.length >> 9);
    const kind = random(7);
    if (kind === 0) bytes[random(bytes.length)] = random(256);
    else if (kind === 1) bytes[block + random(512)]! ^= 1 << random(8);
    else if (kind === 2) bytes.write(TEXTS[random(TEXTS.length)]!, block + random(345), 'latin1');
    else if (kind === 3) bytes[block + 156] = TEXTS.at(-1)!.charCodeAt(random(9));
    else if (kind === 4) bytes = bytes.subarray(0, random(bytes.length));
    else if (kind === 5) {
      const from = 512 * random(bytes.length >> 9);
      bytes = Buffer.concat([bytes.subarray(0, block), bytes.subarray(from, from + 1024), bytes.subarray(block)]);
    } else bytes.copy(bytes, block, 512 * random(bytes.length >> 9), bytes.length);
    // Mostly the checksums are made right, or nothing but checksums would be tested.
    if (random(8) !== 0) repair(bytes);
  }
  return bytes;
}

function repair(bytes: Buffer): void {
  for (let at = 0; at + 512 <= bytes.length; at += 512) {
    if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar' && bytes[at + 100] !== 0x30) continue;
    bytes.write(`${checksum(bytes, at).toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  }
}

test(`fuzz: ${CASES} mutated layers, TSBOX_FUZZ_SEED=${SEED}`, async (t) => {
  const root = scratch(t);
  for (const name of ['seed', 'victim', 'run']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'victim/f'), 'untouched');
  const before = snapshot(join(root, 'victim'));
  const originals = seeds(join(root, 'seed'));
  let accepted = 0;
  for (let number = 0; number < CASES; number++) {
    const random = generator(SEED + number);
    const bytes = mutate(originals[random(originals.length)]!, random);
    const where = `TSBOX_FUZZ_SEED=${SEED + number} TSBOX_FUZZ_CASES=1`;
    const target = join(root, 'run/layer');
    const tarSplit = join(root, 'run/split');
    mkdirSync(target);
    try {
      await apply(bytes, target, { tarSplit, limits: { maxBytes: 1e7 } });
      accepted++;
      const back = await collect(reassembleLayer(target, tarSplit));
      assert.ok(back.equals(bytes), `${where}: other bytes come back`);
    } catch (error) {
      if (!(error instanceof TsboxError) || error.message.startsWith('file integrity')) {
        writeFileSync(join(process.env['TMPDIR'] ?? '/tmp', `tsbox-fuzz-${SEED + number}.tar`), bytes);
        throw new Error(where, { cause: error });
      }
    }
    rmSync(join(root, 'run'), { recursive: true });
    mkdirSync(join(root, 'run'));
    if (number % 100 === 0) assert.deepEqual(snapshot(join(root, 'victim')), before, where);
  }
  assert.deepEqual(snapshot(join(root, 'victim')), before);
  t.diagnostic(`${accepted} of ${CASES} were accepted`);
});
