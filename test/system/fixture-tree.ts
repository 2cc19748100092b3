/**
 * Compares a directory with what the image `layers` must show below `fixture/` (`rootfs-fixtures/build/layers.json`). It looks with lstat,
 * readlink and getfattr only, so it can be used on anybody's result: an overlay's merged directory, an unpacked bundle, an export.
 */
import { spawnSync } from 'node:child_process';
import { type BigIntStats, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

interface Expected {
  path: string;
  type: 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo';
  inode: string;
  mode: number | null;
  uid: number;
  gid: number;
  mtime: string | null;
  xattrs: Record<string, string>;
  data?: string;
  before?: number;
  after?: number;
  target?: string;
  major?: number;
  minor?: number;
}

/** What a tool or a file system is known not to keep, with the caller's reason in its test. */
export interface Tolerance {
  xattrs?: boolean;
  /** Names of one inode in different directories became separate files. */
  links?: boolean;
  /** Compare times in whole seconds. */
  seconds?: boolean;
  /** Leave out times of directories: whiteouts and copy-up move them. */
  directoryTimes?: boolean;
}

const FIXTURE = join(import.meta.dirname, '../../rootfs-fixtures/build/layers.json');

const TYPES: readonly [Expected['type'], (stats: BigIntStats) => boolean][] = [
  ['file', (stats) => stats.isFile()],
  ['directory', (stats) => stats.isDirectory()],
  ['symlink', (stats) => stats.isSymbolicLink()],
  ['character', (stats) => stats.isCharacterDevice()],
  ['block', (stats) => stats.isBlockDevice()],
  ['fifo', (stats) => stats.isFIFO()],
];

const latin1 = (text: string) => Buffer.from(text, 'latin1');
const readable = (path: string) => JSON.stringify(path.replaceAll(/(.)\1{20,}/g, '$1...'));

/** All paths below `directory/top`, as bytes in characters. */
function walk(directory: Buffer, top: string): string[] {
  const path = Buffer.concat([directory, latin1(`/${top}`)]);
  if (!lstatSync(path).isDirectory()) return [top];
  const names = readdirSync(path, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
  return [top, ...names.flatMap((name) => walk(directory, `${top}/${name}`))];
}

/** `seconds.nanoseconds`, also before 1970, as GNU date writes it. */
function stamp(ns: bigint): string {
  const seconds = ns >= 0n ? ns / 1_000_000_000n : -((-ns + 999_999_999n) / 1_000_000_000n);
  return `${seconds}.${String(ns - seconds * 1_000_000_000n).padStart(9, '0')}`;
}

/** Attributes by name, values as bytes in characters; those of the overlay itself are left out. */
function xattrs(path: Buffer): Record<string, string> {
  const options = ['--absolute-names', '--no-dereference', '--dump', '--match=-', '--encoding=hex', '--'];
  const text = path.toString('utf8');
  const spelled = [...path].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
  // Only a shell can be told of a name that is not UTF-8.
  const { status, stdout, stderr } = Buffer.from(text).equals(path)
    ? spawnSync('getfattr', [...options, text])
    : spawnSync('bash', ['-c', `getfattr ${options.join(' ')} $'${spelled}'`]);
  if (status !== 0) throw new Error(`getfattr: ${stderr}`);
  const found: Record<string, string> = {};
  for (const line of stdout.toString().split('\n')) {
    const match = /^([a-z]+\.[^=]*)(?:=(?:0x(.*)|""))?$/.exec(line);
    if (match === null || /^(trusted|user)\.overlay\./.test(match[1]!)) continue;
    found[match[1]!] = Buffer.from(match[2] ?? '', 'hex').toString('latin1');
  }
  return found;
}

function deviceNumbers(rdev: bigint): [number, number] {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return [Number(major), Number(minor)];
}

/** The facts of one path in the form of layers.json, for comparing one by one. */
function facts(path: Buffer, expected: Expected, tolerance: Tolerance): Record<string, unknown> {
  const stats = lstatSync(path, { bigint: true });
  const seen: Record<string, unknown> = {
    type: TYPES.find(([, is]) => is(stats))?.[0],
    uid: Number(stats.uid),
    gid: Number(stats.gid),
  };
  if (expected.mode !== null) seen['mode'] = Number(stats.mode & 0o7777n);
  const noTime = expected.mtime === null || (expected.type === 'directory' && tolerance.directoryTimes === true);
  if (!noTime) seen['mtime'] = tolerance.seconds ? stamp(stats.mtimeNs).replace(/\..*/, '') : stamp(stats.mtimeNs);
  if (tolerance.xattrs !== true && expected.type !== 'symlink') seen['xattrs'] = xattrs(path);
  if (stats.isFile()) seen['data'] = readFileSync(path).toString('latin1');
  if (stats.isSymbolicLink()) seen['target'] = readlinkSync(path, { encoding: 'buffer' }).toString('latin1');
  if (stats.isCharacterDevice() || stats.isBlockDevice()) [seen['major'], seen['minor']] = deviceNumbers(stats.rdev);
  return seen;
}

function wanted(expected: Expected, key: string, tolerance: Tolerance): unknown {
  if (key === 'data') return '\0'.repeat(expected.before ?? 0) + expected.data + '\0'.repeat(expected.after ?? 0);
  if (key === 'mtime' && tolerance.seconds) return expected.mtime?.replace(/\..*/, '');
  return expected[key as keyof Expected];
}

/** Names of one inode must be one inode, others must not. */
function linkErrors(directory: Buffer, expected: readonly Expected[]): string[] {
  const inodes = new Map<string, bigint>();
  const owners = new Map<bigint, string>();
  const errors: string[] = [];
  for (const { path, inode, type } of expected) {
    if (type === 'directory') continue;
    const { ino } = lstatSync(Buffer.concat([directory, latin1(`/${path}`)]), { bigint: true });
    if (inodes.has(inode) && inodes.get(inode) !== ino) errors.push(`${readable(path)}: is a file of its own`);
    if (owners.has(ino) && owners.get(ino) !== inode) errors.push(`${readable(path)}: shares an inode`);
    inodes.set(inode, ino);
    owners.set(ino, inode);
  }
  return errors;
}

/** Differences between `<root>/fixture` and what must be there, one sentence each; empty when there are none. */
export function fixtureDifferences(root: string, tolerance: Tolerance = {}): string[] {
  const expected = JSON.parse(readFileSync(FIXTURE, 'utf8')) as Expected[];
  const directory = Buffer.from(root);
  const there = new Set(walk(directory, 'fixture'));
  const errors = expected.filter(({ path }) => !there.has(path)).map(({ path }) => `${readable(path)}: is missing`);
  const known = new Set(expected.map(({ path }) => path));
  for (const path of there) if (!known.has(path)) errors.push(`${readable(path)}: should not be there`);
  if (errors.length > 0) return errors;
  for (const entry of expected) {
    const seen = facts(Buffer.concat([directory, latin1(`/${entry.path}`)]), entry, tolerance);
    for (const [key, value] of Object.entries(seen)) {
      const [is, must] = [JSON.stringify(value), JSON.stringify(wanted(entry, key, tolerance))];
      if (is !== must) errors.push(`${readable(entry.path)}: ${key} is ${is.slice(0, 80)}, not ${must?.slice(0, 80)}`);
    }
  }
  return tolerance.links === true ? errors : [...errors, ...linkErrors(directory, expected)];
}
