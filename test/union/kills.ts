/**
 * `node test/union/kills.ts [KILLS] [SEED]`: SIGKILL for the union, or for the processes that use it, at a random moment while they change
 * files; root. Afterwards the kernel's overlay mounts what is left, and shows every file whole, what was synced, and nothing else; and so
 * does the union.
 */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../../src/errors.ts';
import { mount, umount } from '../../src/sys/mount.ts';
import { generator } from '../unit/layer-mutations.ts';
import { buildClient, durableCalls } from './clients.ts';
import { forceUnmount, isWriteback, mountUnion, openRoot, unmountUnion } from './differential.ts';
import { runInNamespace } from './namespace.ts';
import { describeTree } from './tree.ts';

const [kills = '50', seed = '1', place = ''] = process.argv.slice(2);
if (place === '') runInNamespace(import.meta.filename, [kills, seed]);

const random = generator(Number(seed));
const client = buildClient(place);
const [lower, upper, work, at] = ['l', 'u', 'w', 'm'].map((name) => join(place, name)) as [
  string,
  string,
  string,
  string,
];
const log = join(place, 'log');
const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;

/** What a lower file has in it follows from its size, so a part of one can be told. */
const sizeOf = (number: number): number => 50_000 + number * 7001;
const LOWER = 20;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

const content = (size: number): Buffer => Buffer.alloc(size, LETTERS.slice(size % 26) + LETTERS.slice(0, size % 26));

const isWhole = (path: string): boolean => read(path).equals(content(statSync(path).size));

/** Where the kernel keeps what is written, it keeps times too; when who changes a file is killed while they are brought, the next one who closes
 *  it is told once (EIO), though nothing is missing. */
function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if (!isWriteback || !isErrno(error, 'EIO')) throw error;
    return readFileSync(path);
  }
}

function makeLower(): void {
  mkdirSync(join(lower, 'low'), { recursive: true });
  for (let number = 0; number < LOWER; number++) writeFileSync(join(lower, `low/${number}`), content(sizeOf(number)));
  for (let number = 0; number < 10; number++) mkdirSync(join(lower, `low/dir${number}`));
}

const SIZES = new Set(Array.from({ length: LOWER }, (_, number) => sizeOf(number)));

/** Everything that shows is something that somebody wanted, and whole. */
function checkTree(): void {
  for (const name of readdirSync(join(at, 'low'))) {
    assert.match(name, /^(dir\d|\d+)$/);
    const path = join(at, 'low', name);
    if (name.startsWith('dir')) assert.deepEqual(readdirSync(path), [], name);
    else assert.ok(SIZES.has(statSync(path).size) && isWhole(path), `low/${name} is not whole`);
  }
  for (const name of readdirSync(at)) assert.match(name, /^(low|state\d+|state\d+\.new|new[\d.]+)$/);
  if (!existsSync(log)) return;
  for (const line of readFileSync(log, 'utf8').trim().split('\n').filter(Boolean)) {
    const [name, size] = line.split(' ') as [string, string];
    const path = join(at, name);
    assert.ok(existsSync(path), `${name} was synced, and is not there`);
    assert.ok((size === '0' || statSync(path).size === Number(size)) && isWhole(path), `${name} is not whole`);
  }
}

function tree(): string[] {
  const root = openRoot(at);
  const lines = describeTree(root, () => false);
  closeSync(root);
  return lines;
}

/** Is somebody of this process group still at work? Those that nobody has waited for are not. */
function hasMembers(group: number): boolean {
  return readdirSync('/proc').some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const [state, , leader] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(leader) === group && !/[ZX]/.test(state!);
    } catch {
      return false; // it has ended
    }
  });
}

async function kill(): Promise<string> {
  const union = await mountUnion(at, data);
  const ended = new Promise((resolve) => union.once('exit', resolve));
  const clients = durableCalls(client, at, 4, random(1_000_000), log);
  const gone = new Promise((resolve) => clients.once('exit', resolve));
  await sleep(5 + random(300));
  const victim = random(4) === 0 ? 'clients' : 'union';
  if (victim === 'union') union.kill('SIGKILL');
  else process.kill(-clients.pid!, 'SIGKILL');
  await gone;
  // Those of a killed group may still be at their last call: the first of them is gone before.
  for (let tries = 0; tries < 6000 && hasMembers(clients.pid!); tries++) await sleep(5);
  if (victim === 'clients') {
    checkTree();
    await sleep(20);
  }
  umount(at, victim === 'union' ? 2 : 0);
  await ended;
  return victim;
}

for (const path of [lower, upper, work, at]) mkdirSync(path);
makeLower();
const victims = { union: 0, clients: 0 };
try {
  for (let number = 0; number < Number(kills); number++) {
    victims[(await kill()) as keyof typeof victims]++;
    mount('overlay', at, 'overlay', 0, data);
    checkTree();
    const expected = tree();
    umount(at, 0);
    assert.deepEqual(readdirSync(join(work, 'work')), [], 'left in the work directory');
    const child = await mountUnion(at, data);
    const got = tree();
    await unmountUnion(at, child);
    assert.deepEqual(got, expected);
    // From time to time from the beginning, or nothing of the lower layer would be left.
    if (number % 5 !== 4) continue;
    for (const path of [upper, work, log]) rmSync(path, { recursive: true, force: true });
    for (const path of [upper, work]) mkdirSync(path);
  }
} finally {
  forceUnmount(at);
}
console.log(`${kills} kills, seed ${seed}: ${victims.union} of the union, ${victims.clients} of who uses it`);
