/** Random trees: packed and unpacked they are the same, and packed again they are the same bytes. */
import assert from 'node:assert/strict';
import { linkSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { diffLayer, writeTree } from '../../src/layer/diff.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { S } from '../../src/spec/linux.ts';
import {
  AT_FDCWD,
  close,
  deviceNumber,
  fchmodat,
  ftruncate,
  lchownat,
  lutimensat,
  mknodat,
  OPEN,
  openat,
  pwriteAll,
} from '../../src/sys/file.ts';
import { lsetxattr } from '../../src/sys/xattr.ts';
import { requires } from '../requires.ts';
import { generator, pick, type Random } from './layer-mutations.ts';
import { apply, attributes, collect, MEMORY, snapshot } from './layer-support.ts';

const CASES = Math.ceil(Number(process.env['TSBOX_FUZZ_CASES'] ?? 10_000) / 40);
const SEED = Number(process.env['TSBOX_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

const ACL = Buffer.from(
  '0200000001000700ffffffff0200070031d4000004000400ffffffff10000700ffffffff20000000ffffffff',
  'hex',
);

function someName(random: Random, number: number): Buffer {
  const length = pick(random, [1, 3, 8, 20, 99, 100, 101, 150, 240]);
  const bytes = Array.from({ length }, () => 1 + random(255)).map((byte) => (byte === 0x2f ? 0x41 : byte));
  return Buffer.concat([Buffer.from(`${number}`), random(3) === 0 ? Buffer.from(bytes) : Buffer.alloc(length, 0x61)]);
}

function join2(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}

/** A file with some data and some holes. */
function makeFile(path: Buffer, random: Random): void {
  const fd = openat(AT_FDCWD, path, OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL, 0o600);
  const size = pick(random, [0, 1, 511, 512, 513, 5000, 300_000]);
  for (let parts = random(4); parts > 0 && size > 0; parts--) {
    const data = Buffer.alloc(1 + random(Math.min(size, 3000)), random(256));
    const at = random(size - data.length + 1);
    pwriteAll(fd, data, 0, data.length, at, path);
  }
  ftruncate(fd, size, path);
  close(fd);
}

interface Making {
  random: Random;
  /** What was made, and may be linked to. */
  linkable: Buffer[];
  count: number;
}

/** Makes one thing of any kind. @returns whether it is a directory */
function makeSomething(path: Buffer, making: Making): boolean {
  const { random, linkable } = making;
  const kind = random(14);
  if (kind < 4) {
    mkdirSync(path);
    if (random(6) === 0) lsetxattr(path, 'trusted.overlay.opaque', Buffer.from('y'));
    if (random(6) === 0) lsetxattr(path, 'trusted.overlay.origin', Buffer.from('anything'));
    return true;
  }
  if (kind === 4 && linkable.length > 0) {
    linkSync(pick(random, linkable), path);
    return false;
  }
  if (kind === 5) symlinkSync(Buffer.alloc(pick(random, [1, 99, 100, 101, 4000]), 0x6c), path);
  else if (kind === 6) mknodat(AT_FDCWD, path, S.S_IFIFO | 0o600);
  else if (kind === 7) mknodat(AT_FDCWD, path, S.S_IFCHR | 0o600, deviceNumber(random(4096), 1 + random(2 ** 20 - 1)));
  else if (kind === 8) mknodat(AT_FDCWD, path, S.S_IFBLK | 0o600, deviceNumber(random(4096), random(2 ** 20)));
  else if (kind === 9) mknodat(AT_FDCWD, path, S.S_IFCHR, 0n);
  else if (kind === 10) mknodat(AT_FDCWD, path, S.S_IFSOCK | 0o600);
  else makeFile(path, random);
  if (kind < 9 || kind > 10) linkable.push(path);
  return false;
}

function setAttributes(path: Buffer, random: Random, isSymlink: boolean, isDirectory: boolean): void {
  if (random(2) === 0) lchownat(AT_FDCWD, path, random(2 ** 32 - 1), random(2 ** 22));
  if (!isSymlink && random(2) === 0) fchmodat(AT_FDCWD, path, random(0o10000));
  const value = (): Buffer => Buffer.from(Array.from({ length: random(40) }, () => random(256)));
  if (random(4) === 0) lsetxattr(path, 'trusted.fuzz', value());
  if (random(4) === 0 && isDirectory) lsetxattr(path, 'user.a=b%\xff', value());
  if (random(8) === 0 && isDirectory)
    lsetxattr(path, pick(random, ['system.posix_acl_access', 'system.posix_acl_default']), ACL);
}

function fill(directory: Buffer, making: Making, depth: number): void {
  const { random } = making;
  for (let left = 1 + random(6); left > 0 && making.count < 60; left--) {
    const path = join2(directory, someName(random, making.count++));
    const before = making.linkable.length;
    const isDirectory = makeSomething(path, making);
    if (isDirectory && depth < 12) fill(path, making, depth + 1);
    if (isDirectory || making.linkable.length > before) setAttributes(path, random, isLink(path), isDirectory);
    const seconds = pick(random, [0, -1, 2 ** 31, 1_700_000_000, -(2 ** 31) + random(2 ** 32)]);
    lutimensat(AT_FDCWD, path, seconds, pick(random, [0, 1, 999_999_999, random(10 ** 9)]));
  }
}

function isLink(path: Buffer): boolean {
  return lstatSync(path).isSymbolicLink();
}

/** Without the root, which a layer does not have, and without sockets. */
function content(directory: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(snapshot(directory)).filter(([name, text]) => name !== '.' && !text.startsWith('14')),
  );
}

test(`fuzz: ${CASES} random trees, TSBOX_FUZZ_SEED=${SEED}`, async (t) => {
  if (!requires(t, 'root')) return;
  const root = mkdtempSync(join(MEMORY, 'tsbox-trees-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (let number = SEED; number < SEED + CASES; number++) {
    const [from, to, split] = ['from', 'to', 'split'].map((name) => join(root, name)) as [string, string, string];
    mkdirSync(from);
    mkdirSync(to);
    const what = `TSBOX_FUZZ_SEED=${number} TSBOX_FUZZ_CASES=1`;
    try {
      fill(Buffer.from(from), { random: generator(number), linkable: [], count: 0 }, 0);
      const form = { whiteouts: 'overlay' } as const;
      const packed = await collect(diffLayer(from, form));
      const { notices } = await apply(packed, to, { tarSplit: split });
      assert.deepEqual(notices, []);
      assert.deepEqual(content(to), content(from));
      assert.ok((await collect(diffLayer(to, form))).equals(packed), 'packed again it is another layer');
      assert.ok((await collect(reassembleLayer(to, split))).equals(packed), 'other bytes come back');
      if (number % 10 === 0) assert.equal(attributes(to), attributes(from));
      const tree = await collect(writeTree(from));
      assert.ok((await collect(writeTree(to))).equals(tree), 'as a tree it is another archive');
    } catch (error) {
      throw new Error(what, { cause: error });
    }
    for (const path of [from, to, split]) rmSync(path, { recursive: true });
  }
});
