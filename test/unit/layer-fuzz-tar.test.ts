/** GNU tar as the judge: of what it unpacks without a word, tsbox makes the same tree. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TarEntry } from '../../src/layer/entry.ts';
import { createTarReader } from '../../src/layer/read.ts';
import { requires } from '../requires.ts';
import { generator, mutateGently, pick } from './layer-mutations.ts';
import { layerSeeds } from './layer-seeds.ts';
import { apply, attributes, MEMORY, run, snapshot } from './layer-support.ts';

/** A process each: one for so many of the other fuzz tests. */
const PART = 40;
const CASES = Math.ceil(Number(process.env['TSBOX_FUZZ_CASES'] ?? 10_000) / PART);
const SEED = Number(process.env['TSBOX_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

const UNPACK = `for archive in archives/*; do
  name=\${archive#*/}; mkdir theirs/$name
  tar --xattrs '--xattrs-include=*' --acls --numeric-owner --delay-directory-restore --warning=no-timestamp -xpf $archive -C theirs/$name \
    2> said/$name || echo failed >> said/$name
done`;

/** Unpacks with GNU tar. @returns names of the archives that it found nothing wrong with */
function judged(root: string, archives: ReadonlyMap<string, Buffer>): string[] {
  for (const name of ['archives', 'theirs', 'ours', 'said']) mkdirSync(join(root, name), { recursive: true });
  for (const [name, bytes] of archives) writeFileSync(join(root, 'archives', name), bytes);
  run('bash', ['-c', UNPACK], { cwd: root });
  return [...archives.keys()].filter((name) => readFileSync(join(root, 'said', name)).length === 0);
}

/** GNU tar sets what the first of two entries says of a directory last, and of two absolute symlinks the first is kept. */
function hasNameTwice(bytes: Buffer): boolean {
  const seen = new Set<string>();
  let entries = 0;
  const entry = ({ name }: TarEntry): void => {
    seen.add(join('/', name, '.'));
    entries++;
  };
  const reader = createTarReader({ entry, data: () => {}, done: () => {} });
  reader.push(bytes);
  return seen.size < entries;
}

/** A snapshot in which what was made just now has no time: directories that no entry describes. */
function tree(directory: string, since: bigint): Record<string, string> {
  const undated = (text: string): string =>
    text.replace(/(?<= )[0-9]{19}(?= |$)/, (time) => (BigInt(time) >= since ? 'now' : time));
  return Object.fromEntries(Object.entries(snapshot(directory)).map(([name, text]) => [name, undated(text)]));
}

async function compare(root: string, archives: ReadonlyMap<string, Buffer>): Promise<number> {
  const since = (BigInt(Date.now()) - 5000n) * 1_000_000n;
  let same = 0;
  const clean = judged(root, archives).filter((name) => !hasNameTwice(archives.get(name)!));
  for (const name of archives.keys()) {
    if (!clean.includes(name)) rmSync(join(root, 'theirs', name), { recursive: true });
  }
  for (const name of clean) {
    const bytes = archives.get(name)!;
    const kept = join(tmpdir(), `tsbox-fuzz-${name}.tar`);
    try {
      const { notices } = await apply(bytes, newDirectory(join(root, 'ours', name)));
      assert.deepEqual(notices, []);
      assert.deepEqual(tree(join(root, 'ours', name), since), tree(join(root, 'theirs', name), since));
      same++;
    } catch (error) {
      writeFileSync(kept, bytes);
      throw new Error(`TSBOX_FUZZ_SEED=${name} TSBOX_FUZZ_CASES=${PART}, kept as ${kept}`, { cause: error });
    }
  }
  assert.equal(attributes(join(root, 'ours')), attributes(join(root, 'theirs')));
  return same;
}

function newDirectory(path: string): string {
  mkdirSync(path);
  return path;
}

test(`fuzz: ${CASES} layers that mean something, TSBOX_FUZZ_SEED=${SEED}`, async (t) => {
  if (!requires(t, 'root', 'command:setfacl')) return;
  const root = mkdtempSync(join(MEMORY, 'tsbox-judge-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const seeds = layerSeeds(join(root, 'seeds'), join(root, 'canary')).filter((seed) => !seed.includes('.wh.'));
  let same = 0;
  for (let first = 0; first < CASES; first += 100) {
    const archives = new Map<string, Buffer>();
    for (let number = SEED + first; number < SEED + Math.min(first + 100, CASES); number++) {
      const random = generator(number);
      archives.set(`${number}`, mutateGently(pick(random, seeds), random));
    }
    same += await compare(newDirectory(join(root, 'round')), archives);
    rmSync(join(root, 'round'), { recursive: true });
  }
  // A share says nothing of the few that `make check` tries; `make fuzz` has 250.
  if (CASES >= 100) assert.ok(same > CASES / 3, `only ${same} of ${CASES} were found good by GNU tar`);
  t.diagnostic(`${same} of ${CASES} were unpacked by both, and the same`);
});
