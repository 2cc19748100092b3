/**
 * Mutated layers: each is either unpacked or refused with an error of ours. Whatever it is, nothing outside of the target changes, no
 * descriptor and no file stays behind; what was unpacked comes back byte for byte, is the same however the bytes arrive, and packs the
 * same again.
 *
 * TSBOX_FUZZ_CASES says how many, TSBOX_FUZZ_SEED where to begin: a failure names both for one case.
 */
import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { TsboxError } from '../../src/errors.ts';
import { type ApplyOptions, applyLayer } from '../../src/layer/apply.ts';
import { diffLayer } from '../../src/layer/diff.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { requires } from '../requires.ts';
import { generator, mutate, pick, type Random } from './layer-mutations.ts';
import { layerSeeds } from './layer-seeds.ts';
import { apply, archive, collect, MEMORY, pieces, sha256, snapshot } from './layer-support.ts';

const CASES = Number(process.env['TSBOX_FUZZ_CASES'] ?? 10_000);
const SEED = Number(process.env['TSBOX_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

/** Cases after which a round is looked at for what it left. */
const ROUND = 50;
const CODES = ['ERR_TSBOX_DAMAGED', 'ERR_TSBOX_LIMIT', 'ERR_TSBOX_UNSUPPORTED'];
/** Values of attributes that the kernel refuses. */
const ATTRIBUTE = /^tar entry .*: set xattr .*: (EINVAL|EACCES|ERANGE|E2BIG|ENOSPC) /s;
const FORMS = ['overlay', 'overlay', 'overlay', 'overlay', 'overlay', 'overlay', 'overlay-user', 'remove'] as const;
const LIMITS = { maxBytes: 1e7, maxEntries: 2000 };

interface World {
  root: string;
  canary: string;
  lowers: string[];
  seeds: Buffer[];
  base: Buffer;
}

async function newWorld(t: TestContext): Promise<World> {
  const root = mkdtempSync(join(MEMORY, 'tsbox-fuzz-'));
  t.after(() => rmSync(root, { recursive: true }));
  const canary = join(root, 'run/canary');
  mkdirSync(join(canary, 'd'), { recursive: true });
  writeFileSync(join(canary, 'f'), 'untouched');
  symlinkSync('f', join(canary, 's'));
  const base = archive(
    { name: 'lower/', mode: 0o1777 },
    { name: 'lower/f', data: 'below', mode: 0o4711 },
    { name: 'lower/d/f', data: 'below' },
    { name: 'lower/s', type: 'symlink', linkname: '/etc/passwd' },
    { name: 'lower/gone', data: 'gone' },
    { name: 'd/old', data: 'old' },
  );
  const lowers: string[] = [];
  for (const [name, bytes] of [
    ['base', base],
    ['top', archive({ name: 'lower/.wh.gone' }, { name: 'd/.wh..wh..opq' })],
  ] as const) {
    mkdirSync(join(root, name));
    await apply(bytes, join(root, name));
    lowers.unshift(join(root, name));
  }
  return { root, canary, lowers, seeds: layerSeeds(join(root, 'seeds'), canary), base };
}

/** What must not change. The time of the last change of an inode sees everything, links made to it included. */
function fingerprint(directory: string): string {
  const found: string[] = [];
  const visit = (path: string): void => {
    const { ctimeNs, mode, nlink, size, ino } = lstatSync(path, { bigint: true });
    found.push(`${path} ${ino} ${mode} ${nlink} ${size} ${ctimeNs}`);
    if ((mode & 0o170000n) === 0o040000n) for (const name of readdirSync(path).sort()) visit(join(path, name));
  };
  visit(directory);
  return found.join('\n');
}

/** What is open in the directory of this test, and how many descriptors there are at all. */
function descriptors(root: string): { here: string[]; count: number } {
  const names = readdirSync('/proc/self/fd');
  const here: string[] = [];
  for (const name of names) {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      if (path.startsWith(root)) here.push(path);
    } catch {
      // The one that the list was read with.
    }
  }
  return { here, count: names.length };
}

function isExpected(error: unknown): boolean {
  if (!(error instanceof TsboxError) || error.message.startsWith('file integrity')) return false;
  return CODES.includes(error.code) || ATTRIBUTE.test(error.message);
}

/** A snapshot without what the clock says: directories that no entry describes. */
function dated(target: string, since: bigint): Record<string, string> {
  const shown = Object.entries(snapshot(target));
  return Object.fromEntries(
    shown.map(([name, text]) => [
      name,
      text.replace(/(?<= )1[0-9]{18}(?= |$)/, (time) => (BigInt(time) >= since ? 'now' : time)),
    ]),
  );
}

interface Case {
  bytes: Buffer;
  options: ApplyOptions;
  piece: number;
}

function newCase(world: World, random: Random, tarSplit: string): Case {
  const bytes = mutate(pick(random, world.seeds), pick(random, world.seeds), random, world.canary);
  const whiteouts = pick(random, FORMS);
  const below = whiteouts === 'remove' || random(4) === 0 ? {} : { lowers: world.lowers };
  const options = { whiteouts, lchown: random(4) !== 0, tarSplit, limits: LIMITS, ...below };
  return { bytes, options, piece: pick(random, [100, 512, 1000, 4096, 65_536, 65_536, 65_536]) };
}

async function unpack({ bytes, options, piece }: Case, target: string, base: Buffer): Promise<Error | undefined> {
  mkdirSync(target);
  if (options.whiteouts === 'remove') await apply(base, target, { whiteouts: 'remove' });
  try {
    const { diffId } = await applyLayer(pieces(bytes, piece), target, options);
    assert.equal(diffId, sha256(bytes));
    return undefined;
  } catch (error) {
    if (isExpected(error)) return error as Error;
    throw error;
  }
}

/** Does what holds for one case. @returns whether the layer was unpacked */
async function runCase(world: World, directory: string, random: Random): Promise<boolean> {
  const target = join(directory, 'layer');
  const tarSplit = join(directory, 'split');
  const since = BigInt(Date.now()) * 1_000_000n - 10_000_000_000n;
  const made = newCase(world, random, tarSplit);
  const refused = await unpack(made, target, world.base);
  if (random(12) === 0) {
    const again = {
      ...made,
      piece: pick(random, [99, 513, 7000]),
      options: { ...made.options, tarSplit: `${tarSplit}2` },
    };
    const other = await unpack(again, `${target}2`, world.base);
    assert.equal(other?.message, refused?.message);
    if (refused === undefined) assert.deepEqual(dated(`${target}2`, since), dated(target, since));
  }
  if (refused !== undefined) return false;
  assert.ok((await collect(reassembleLayer(target, tarSplit))).equals(made.bytes), 'other bytes come back');
  if (made.options.whiteouts !== 'remove' && random(4) === 0)
    await packAgain(target, `${target}3`, made.options.whiteouts);
  return true;
}

async function packAgain(target: string, second: string, whiteouts: 'overlay' | 'overlay-user'): Promise<void> {
  const packed = await collect(diffLayer(target, { whiteouts }));
  mkdirSync(second);
  await apply(packed, second, { whiteouts });
  assert.ok((await collect(diffLayer(second, { whiteouts }))).equals(packed), 'packed again it is another layer');
}

/** Streams close their descriptors a little later than they are done with. */
async function assertClosed(root: string, count: number, range: string): Promise<void> {
  const isClosed = (): boolean => {
    const found = descriptors(root);
    return found.here.length === 0 && found.count <= count;
  };
  for (let tries = 0; tries < 100 && !isClosed(); tries++) await sleep(20);
  assert.ok(isClosed(), `open descriptors: ${range}: ${JSON.stringify(descriptors(root))}, at most ${count}`);
}

test(`fuzz: ${CASES} mutated layers, TSBOX_FUZZ_SEED=${SEED}`, async (t) => {
  // Others cannot read what they unpack: files of no permissions.
  if (!requires(t, 'root')) return;
  const world = await newWorld(t);
  const unchanged = (): string => [world.canary, ...world.lowers].map(fingerprint).join('\n');
  const before = unchanged();
  const beside = readdirSync(world.root).sort();
  let accepted = 0;
  let count = 0;
  for (let first = 0; first < CASES; first += ROUND) {
    const round = join(world.root, 'run');
    const range = `TSBOX_FUZZ_SEED=${SEED + first} TSBOX_FUZZ_CASES=${ROUND}`;
    for (let number = first; number < Math.min(first + ROUND, CASES); number++) {
      const directory = join(round, `${number}`);
      mkdirSync(directory);
      const random = generator(SEED + number);
      try {
        if (await runCase(world, directory, random)) accepted++;
        else assert.deepEqual(leftOf(directory), []);
      } catch (error) {
        const kept = join(tmpdir(), `tsbox-fuzz-${SEED + number}.tar`);
        writeFileSync(kept, newCase(world, generator(SEED + number), kept).bytes);
        throw new Error(`TSBOX_FUZZ_SEED=${SEED + number} TSBOX_FUZZ_CASES=1, kept as ${kept}`, { cause: error });
      }
    }
    await setImmediate();
    assert.equal(unchanged(), before, `outside of the target: ${range}`);
    assert.deepEqual(readdirSync(world.root).sort(), beside, range);
    for (const name of readdirSync(round)) {
      if (name === 'canary') continue;
      const split = leftOf(join(round, name));
      assert.ok(
        split.every((file) => /^split2?$/.test(file)),
        `${range}: ${split}`,
      );
      rmSync(join(round, name), { recursive: true });
    }
    // What the first round opens for good, a module's own descriptors, is no leak.
    if (first === 0) count = await sleep(200).then(() => descriptors(world.root).count);
    await assertClosed(world.root, count, range);
  }
  assert.ok(process.resourceUsage().maxRSS < 600_000, `${process.resourceUsage().maxRSS} KiB of memory`);
  t.diagnostic(`${accepted} of ${CASES} were unpacked`);
});

/** Files of a case but the layer's own. */
function leftOf(directory: string): string[] {
  return readdirSync(directory).filter((name) => !name.startsWith('layer'));
}
