/** Layers in which names come again and again, as other things: with the thread that makes files beside, and without, it is the same. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { requires } from '../requires.ts';
import { generator, pick, type Random } from './layer-mutations.ts';
import { apply, archive, collect, type Made, MEMORY, snapshot } from './layer-support.ts';

const CASES = Math.ceil(Number(process.env['TSBOX_FUZZ_CASES'] ?? 10_000) / 50);
const SEED = Number(process.env['TSBOX_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

const TOP = ['a', 'b', 'c', 'd', 'e'];

function someName(random: Random, deepest: number): string {
  const parts = Array.from({ length: 1 + random(deepest) }, () => pick(random, TOP));
  return parts.join('/');
}

function someEntry(random: Random, kinds: number, deepest: number): Made {
  const name = someName(random, deepest);
  const common = { name, mode: random(0o10000), mtime: random(2 ** 31), mtimeNsec: random(10 ** 9) };
  const kind = random(kinds);
  if (kind === 0) return { ...common, name: `${name}/`, mode: 0o700 | random(0o1000) };
  if (kind === 1) return { ...common, type: 'link', linkname: someName(random, deepest) };
  if (kind === 2) return { ...common, type: 'symlink', linkname: someName(random, 2) };
  if (kind === 3) return { ...common, type: 'fifo' };
  const data = Buffer.alloc(pick(random, [0, 1, 500, 5000, 100_000]), random(256));
  const xattrs = random(8) === 0 ? new Map([['user.x', Buffer.from('y')]]) : undefined;
  return { ...common, data, xattrs };
}

/** Mostly files, so that there is much under way; some refused at the first thing, some never. */
function someLayer(random: Random): Buffer {
  const kinds = pick(random, [5, 20, 40]);
  const deepest = pick(random, [1, 1, 2, 4]);
  return archive(...Array.from({ length: 10 + random(200) }, () => someEntry(random, kinds, deepest)));
}

interface Outcome {
  refused?: string;
  tree?: Record<string, string>;
}

async function outcome(
  bytes: Buffer,
  directory: string,
  whiteouts: 'overlay' | 'remove',
  now: bigint,
): Promise<Outcome> {
  const target = join(directory, 'layer');
  mkdirSync(target, { recursive: true });
  const tarSplit = join(directory, 'split');
  try {
    await apply(bytes, target, { whiteouts, tarSplit });
  } catch (error) {
    if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_DAMAGED') throw error;
    assert.deepEqual(readdirSync(directory), ['layer']);
    return { refused: error.message };
  }
  assert.ok((await collect(reassembleLayer(target, tarSplit))).equals(bytes), 'other bytes come back');
  const undated = (text: string): string =>
    text.replace(/(?<= )[0-9]{19}(?= |$)/, (time) => (BigInt(time) >= now ? 'now' : time));
  return { tree: Object.fromEntries(Object.entries(snapshot(target)).map(([name, text]) => [name, undated(text)])) };
}

test(`fuzz: ${CASES} layers of many files, TSBOX_FUZZ_SEED=${SEED}`, async (t) => {
  // Others cannot read what they unpack: files of no permissions.
  if (!requires(t, 'root')) return;
  const root = mkdtempSync(join(MEMORY, 'tsbox-files-'));
  t.after(() => rmSync(root, { recursive: true }));
  let unpacked = 0;
  for (let number = SEED; number < SEED + CASES; number++) {
    const bytes = someLayer(generator(number));
    const now = BigInt(Date.now() - 5000) * 1_000_000n;
    const directory = join(root, `${number}`);
    try {
      const beside = await outcome(bytes, join(directory, 'beside'), 'overlay', now);
      const here = await outcome(bytes, join(directory, 'here'), 'remove', now);
      assert.deepEqual(beside, here);
      if (beside.tree !== undefined) unpacked++;
    } catch (error) {
      throw new Error(`TSBOX_FUZZ_SEED=${number} TSBOX_FUZZ_CASES=1`, { cause: error });
    }
    rmSync(directory, { recursive: true });
  }
  t.diagnostic(`${unpacked} of ${CASES} were unpacked`);
});
