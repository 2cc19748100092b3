/**
 * `node test/union/matrix.ts [SHARE] [SEED]`: the matrix of matrix-cases.ts, or a SHARE-th of it by chance, on the kernel's overlay and on
 * the union; root. Half of it after the upper layer has become a lower one. Compared are: what each call returned; type, owner, permissions, links, size, times
 * and inode number of every file around it; listings; and all that once more after a new mount.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../src/spec/errno.ts';
import { bind } from '../../src/sys/ffi.ts';
import { mount } from '../../src/sys/mount.ts';
import { allocate, quickly } from '../../src/sys/quick.ts';
import { cstring } from '../../src/union/memory.ts';
import { generator } from '../unit/layer-mutations.ts';
import { forceUnmount, isWriteback, mountUnion, openRoot, unmountUnion } from './differential.ts';
import { BESIDE, KINDS, OPERATIONS, OWNER, PARENTS, PLACES, type Place, USERS } from './matrix-cases.ts';
import { runInNamespace } from './namespace.ts';

const [share = '1', seed = '1', place = ''] = process.argv.slice(2);
if (place === '') runInNamespace(import.meta.filename, [share, seed]);

interface Case {
  kind: string;
  place: Place;
  parent: string;
  user: string;
  operation: string;
}

function chosen(): Case[] {
  const random = generator(Number(seed));
  const cases: Case[] = [];
  for (const operation of Object.keys(OPERATIONS)) {
    if (isWriteback && operation === KEPT_TIME) continue;
    for (const kind of Object.keys(KINDS)) {
      for (const at of PLACES) {
        for (const parent of Object.keys(PARENTS)) {
          for (const user of Object.keys(USERS)) {
            if (random(Number(share)) === 0) cases.push({ operation, kind, place: at, parent, user });
          }
        }
      }
    }
  }
  return cases;
}

/** Where the kernel keeps what is written: of a regular file it has the times, so this leaves mtime, and a copy-up that changes nothing leaves
 *  ctime. See src/union/README.md. */
const KEPT_TIME = 'truncate to the same';

const directoryOf = (index: number): string => `${index % 100}/${index}`;

function openDirectory(root: number, path: string): number {
  const fd = quickly.openat(root, cstring(path), 0o200000 | 0o2000000, 0);
  if (fd < 0) throw new Error(`open ${path}: ${fd}`);
  return fd;
}

function makeLower(root: string, index: number, { kind, place: at, parent }: Case): void {
  const path = join(root, directoryOf(index));
  mkdirSync(path, { recursive: true });
  const fd = openSync(path, 'r');
  for (const make of BESIDE) make(fd);
  if (at !== 'upper') KINDS[kind]!(fd);
  own(fd, kind);
  const [mode, uid, gid] = PARENTS[parent]!;
  quickly.fchownat(fd, cstring('.'), uid, gid, 0);
  quickly.fchmod(fd, mode);
  closeSync(fd);
}

/** Gives what was made as root to its owner; files have theirs. */
function own(at: number, kind: string): void {
  const files = /file|empty|program|hardlink/;
  for (const name of files.test(kind) ? ['e', 'q'] : ['x', 'e', 'q'])
    quickly.fchownat(at, cstring(name), OWNER, OWNER, 0x100);
}

const old = allocate(32);
old.bytes.writeBigInt64LE(1_000_000_000n, 0);
old.bytes.writeBigInt64LE(1_000_000_000n, 16);

const NAMES = ['x', 'x2', 'x/z', 'x/y', 'new', 'f', 'e', 'q', 'q/k', 'q/new', ''];

/** Brings `x` to its place. */
function prepare(root: number, index: number, { kind, place: at }: Case): void {
  const fd = openDirectory(root, directoryOf(index));
  if (at === 'copied') quickly.utimensat(fd, cstring('x'), old.address, 0x100);
  if (at === 'removed' || at === 'opaque') {
    for (const name of ['x/z', 'x', 'x2']) quickly.unlinkat(fd, cstring(name), 0);
    quickly.unlinkat(fd, cstring('x'), 0x200);
  }
  if (at === 'upper' || at === 'opaque') {
    KINDS[kind]!(fd);
    own(fd, kind);
  }
  if (at !== 'lower') {
    for (const name of ['x', 'x/z', 'x2']) quickly.utimensat(fd, cstring(name), old.address, 0x100);
    quickly.utimensat(fd, cstring('.'), old.address, 0);
  }
  quickly.close(fd);
}

const status = allocate(256);

interface Seen {
  /** What is compared as it is. */
  text: string;
  inode: bigint;
  times: readonly bigint[];
}

function look(at: number, name: string): Seen | undefined {
  const flags = 0x100 | (name === '' ? 0x1000 : 0);
  const error = quickly.statx(at, cstring(name), flags, 0x7ff, status.address);
  if (error < 0) return undefined;
  const { bytes } = status;
  const [u32, u64] = [(n: number) => bytes.readUInt32LE(n), (n: number) => bytes.readBigUInt64LE(n)];
  const mode = bytes.readUInt16LE(28);
  const size = (mode & 0o170000) === 0o040000 ? '' : `size ${u64(40)} device ${u32(128)}:${u32(132)}`;
  return {
    text: `${mode.toString(8)} ${u32(20)}:${u32(24)} links ${u32(16)} ${size}`,
    inode: u64(32),
    times: [64, 112, 96].map((n) => bytes.readBigInt64LE(n) * 1_000_000_000n + BigInt(u32(n + 8))),
  };
}

const around = (at: number): (Seen | undefined)[] => NAMES.map((name) => look(at, name));

const TIMES = ['atime', 'mtime', 'ctime'];

/** What has become of the files, a line each that is there. */
function changes(
  operation: string,
  before: readonly (Seen | undefined)[],
  after: readonly (Seen | undefined)[],
  isCopied: (name: string) => boolean,
): string[] {
  const lines: string[] = [];
  const known = new Map(before.filter((seen) => seen !== undefined).map((seen) => [seen.inode, seen]));
  for (const [index, seen] of after.entries()) {
    if (seen === undefined) continue;
    const was = known.get(seen.inode);
    // What the kernel has read already it does not ask for once more: that it was read is not seen. Times of access are what
    // utimensat(2) makes of them.
    const isSame = was?.text === seen.text && was.times[1] === seen.times[1];
    const times = TIMES.flatMap((name, n) => {
      const time = timeAs(seen.times[n]!, was?.times[n]);
      if (name === 'ctime' && isWriteback && isSame && isCopied(NAMES[index]!)) return [];
      return name === 'atime' && (!operation.startsWith('utimensat') || seen.text.startsWith('120'))
        ? []
        : `${name} ${time}`;
    });
    lines.push(`${NAMES[index]}: ${seen.text} ${was === undefined ? 'new inode' : ''} ${times.join(' ')}`);
  }
  return lines;
}

function timeAs(time: bigint, was: bigint | undefined): string {
  if (time === was) return 'same';
  return time > 1_300_000_000_000_000_000n && time < 4_000_000_000_000_000_000n ? 'now' : String(time);
}

const listing = allocate(8192);

/** Names, kinds and whether the listing says the same number as stat(2). */
function list(at: number): string[] {
  const fd = quickly.openat(at, cstring('.'), 0o200000, 0);
  const lines: string[] = [];
  for (;;) {
    const length = quickly.getdents(fd, listing.address, 8192);
    if (length <= 0) break;
    const { bytes } = listing;
    for (let i = 0; i < length; i += bytes.readUInt16LE(i + 16)) {
      const name = bytes.toString('latin1', i + 19, bytes.indexOf(0, i + 19));
      if (name === '..') continue;
      const same = look(fd, name)?.inode === bytes.readBigUInt64LE(i);
      lines.push(`entry ${name} ${bytes[i + 18]}${same ? '' : ' with another number'}`);
    }
  }
  quickly.close(fd);
  return lines.sort();
}

const I = 'int64_t';
const setgroups = bind('int', 'setgroups', [I, I]);
const setfsuid = bind('int', 'setfsuid', [I]);
const setfsgid = bind('int', 'setfsgid', [I]);
const groups = allocate(64);

function become(user: string): void {
  const [uid, gid, list] = USERS[user]!;
  for (const [index, group] of list.entries()) groups.bytes.writeUInt32LE(group, index * 4);
  setgroups(list.length, groups.address);
  setfsgid(gid);
  setfsuid(uid);
}

function backToRoot(): void {
  setfsuid(0);
  become('root');
}

/** Regular files of the case that are in the upper layer. */
function copiesIn({ name }: Side, index: number): string[] {
  const upper = openRoot(join(directory, `${name}u${generation}`));
  const copies = NAMES.filter((file) => look(upper, `${directoryOf(index)}/${file}`)?.text.match(/^10\d{4} /));
  closeSync(upper);
  return copies;
}

/** @returns all that is compared */
function run(root: number, side: Side, index: number, { operation, user }: Case): string[] {
  const at = openDirectory(root, directoryOf(index));
  const [before, copies] = [around(at), copiesIn(side, index)];
  become(user);
  const result = OPERATIONS[operation]!(at);
  backToRoot();
  const lines = [
    `result ${result < 0 ? errnoOf(-result).name : result}`,
    ...changes(operation, before, around(at), (name) => !copies.includes(name) && copiesIn(side, index).includes(name)),
    ...list(at),
  ];
  quickly.close(at);
  return lines;
}

interface Side {
  name: string;
  /** The nearest first. */
  layers: string[];
  at: string;
  end(): Promise<void>;
}

const directory = join(place, 'd');
let generation = 0;

/** Mounts it with a new upper layer, or the one that it had last. */
async function mountSide(side: Side, upper: string): Promise<void> {
  for (const part of [upper, `${side.name}w`, side.at]) mkdirSync(join(directory, part), { recursive: true });
  const at = join(directory, side.at);
  const lower = side.layers.map((layer) => join(directory, layer)).join(':');
  const data = `lowerdir=${lower},upperdir=${join(directory, upper)},workdir=${join(directory, `${side.name}w`)}`;
  if (side.name === 'kernel') {
    mount('overlay', at, 'overlay', 0, data);
    side.end = async () => forceUnmount(at);
  } else {
    const child = await mountUnion(at, data);
    side.end = () => unmountUnion(at, child);
  }
}

let differences = 0;
const MOST_SHOWN = Number(process.env['SHOW'] ?? 20);
const counts = new Map<string, number>();

function compare(what: string, one: Case, kernel: readonly string[], union: readonly string[]): void {
  const only = (from: readonly string[], other: readonly string[]): string[] =>
    from.filter((line) => !other.includes(line));
  const lines = [
    ...only(kernel, union).map((line) => `  kernel: ${line}`),
    ...only(union, kernel).map((line) => `  union:  ${line}`),
  ];
  if (lines.length === 0) return;
  differences++;
  const key = `${what} ${one.operation}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
  if (differences > MOST_SHOWN) return;
  console.log(`${what}${one.operation}: ${one.kind}, ${one.place}, ${one.parent} directory, by ${one.user}`);
  console.log(lines.join('\n'));
}

/** What files are after a new mount: numbers that have stayed, and all that is shown. */
function afterRemount(root: number, index: number, known: readonly (Seen | undefined)[]): string[] {
  const at = openDirectory(root, directoryOf(index));
  const seen = around(at);
  const lines = seen.flatMap((one, n) => {
    if (one === undefined) return [];
    return [`${NAMES[n]}: ${one.text} ${one.inode === known[n]?.inode ? 'the same' : 'another'} number`];
  });
  lines.push(...list(at));
  quickly.close(at);
  return lines;
}

const cases = chosen();
mkdirSync(directory);
quickly.umask(0o022);
for (const layer of ['l1', 'l2']) mkdirSync(join(directory, layer));
for (const [index, one] of cases.entries()) {
  makeLower(join(directory, 'l2'), index, one);
  // Some directories are merged of two.
  if (index % 3 === 0) {
    const path = join(directory, 'l1', directoryOf(index));
    mkdirSync(path, { recursive: true });
    const fd = openSync(path, 'r');
    const [mode, uid, gid] = PARENTS[one.parent]!;
    quickly.fchownat(fd, cstring('.'), uid, gid, 0);
    quickly.fchmod(fd, mode);
    closeSync(fd);
  }
}
for (const layer of ['l1', 'l2'])
  spawnSync('find', [join(directory, layer), '-depth', '-exec', 'touch', '-h', '-d', '@1000000000', '{}', '+']);
const sides: Side[] = ['kernel', 'union'].map((name) => ({
  name,
  layers: ['l1', 'l2'],
  at: `${name}m`,
  end: async () => {},
}));
try {
  for (let round = 0; round < 2; round++) {
    generation++;
    for (const side of sides) await mountSide(side, `${side.name}u${generation}`);
    let roots = sides.map((side) => openRoot(join(directory, side.at)));
    if (round === 0) for (const root of roots) for (const [index, one] of cases.entries()) prepare(root, index, one);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);
    const known: (Seen | undefined)[][][] = [[], []];
    for (const [index, one] of cases.entries()) {
      if (index % 2 !== round) continue;
      const [kernel, union] = roots.map((root, n) => run(root, sides[n]!, index, one));
      compare(round === 0 ? '' : 'rotated: ', one, kernel!, union!);
      roots.forEach((root, side) => {
        const at = openDirectory(root, directoryOf(index));
        known[side]![index] = around(at);
        quickly.close(at);
      });
    }
    for (const root of roots) closeSync(root);
    for (const side of sides) {
      await side.end();
      await mountSide(side, `${side.name}u${generation}`);
    }
    roots = sides.map((side) => openRoot(join(directory, side.at)));
    for (const [index, one] of cases.entries()) {
      if (index % 2 !== round) continue;
      const [kernel, union] = roots.map((root, side) => afterRemount(root, index, known[side]![index]!));
      compare('mounted again: ', one, kernel!, union!);
    }
    for (const root of roots) closeSync(root);
    for (const side of sides) {
      await side.end();
      side.layers.unshift(`${side.name}u${generation}`);
    }
  }
} finally {
  for (const side of sides) forceUnmount(join(directory, side.at));
}
if (process.env['SHOW'] !== undefined) for (const [key, count] of counts) console.log(count, key);
console.log(`${cases.length} cases (a share of ${share}, seed ${seed}): ${differences} with a difference`);
process.exitCode = differences > 0 ? 1 : 0;
