/**
 * What the images of the benchmark hold: files of this machine's /usr, so that they compress as an image does, chosen in an order that
 * is the same each time; and small files cut from those, for layers of many entries.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packNames, run } from '../rootfs-fixtures/image.ts';

const SOURCE = '/usr';
const DEBIAN_ENTRIES = 8700;
const DEBIAN_BYTES = 170_000_000;
/** Larger than nearly everything in a base image. */
const LARGEST_FILE = 8 << 20;
const MOST_OF_A_DIRECTORY = 60;

interface Found {
  path: string;
  bytes: number;
}

/** Regular files and symlinks of /usr by directory; directories in the order of their names' hashes. */
function findSource(): Found[][] {
  const listing = run('find', [SOURCE, '-xdev', '(', '-type', 'f', '-o', '-type', 'l', ')', '-printf', '%y %s %P\\0']);
  const directories = new Map<string, Found[]>();
  for (const line of listing.toString().split('\0')) {
    const [, type, size, path] = /^([fl]) (\d+) (.+)$/s.exec(line) ?? [];
    const bytes = type === 'f' ? Number(size) : 0;
    if (path === undefined || bytes > LARGEST_FILE || path.includes('�')) continue;
    const known = directories.get(dirname(path));
    if (known === undefined) directories.set(dirname(path), [{ path, bytes }]);
    else known.push({ path, bytes });
  }
  const byHash = (name: string) => createHash('sha1').update(name).digest('hex');
  return [...directories]
    .map(([name, files]) => ({ hash: byHash(name), files: files.sort((a, b) => (a.path < b.path ? -1 : 1)) }))
    .sort((a, b) => (a.hash < b.hash ? -1 : 1))
    .map(({ files }) => files.slice(0, MOST_OF_A_DIRECTORY));
}

let found: readonly Found[][] | undefined;

function sourceDirectories(): readonly Found[][] {
  found ??= findSource();
  return found;
}

function addWithParents(names: Set<string>, path: string): void {
  const parent = dirname(path);
  if (parent !== '.' && !names.has(parent)) addWithParents(names, parent);
  names.add(path);
}

/**
 * Names below /usr of about as many entries and bytes as a Debian layer has, parents before children. Directories of large and of small
 * files take turns, so that both numbers come out.
 */
function debianNames(): string[] {
  const names = new Set<string>();
  const usual = DEBIAN_BYTES / DEBIAN_ENTRIES;
  const sum = (files: readonly Found[]) => files.reduce((total, { bytes }) => total + bytes, 0);
  const directories = sourceDirectories();
  const large = directories.filter((files) => sum(files) / files.length >= usual);
  const small = directories.filter((files) => sum(files) / files.length < usual);
  let bytes = 0;
  while (names.size < DEBIAN_ENTRIES) {
    const files = bytes < names.size * usual ? (large.shift() ?? small.shift()) : (small.shift() ?? large.shift());
    if (files === undefined) break;
    for (const { path } of files) addWithParents(names, path);
    bytes += sum(files);
  }
  return [...names].sort();
}

/** Whole seconds and no more than ustar says, except for what does not fit: as most images are packed. */
const PACKED = ['--format=posix', '--pax-option=delete=atime,delete=ctime,delete=mtime', '--numeric-owner'] as const;

function pack(tar: string, directory: string, names: readonly string[]): Content {
  packNames(
    tar,
    directory,
    names.map((name) => Buffer.from(name)),
    PACKED,
  );
  return { tar, entries: names.length };
}

export interface Content {
  tar: string;
  entries: number;
}

/** One layer like Debian's. */
export function debianLayer(directory: string): Content[] {
  return [pack(join(directory, 'debian.tar'), SOURCE, debianNames())];
}

/** The same files in ten layers. */
export function tenLayers(directory: string): Content[] {
  const names = debianNames();
  const share = Math.ceil(names.length / 10);
  return Array.from({ length: 10 }, (_, index) => {
    return pack(join(directory, `ten-${index}.tar`), SOURCE, names.slice(index * share, (index + 1) * share));
  });
}

/** The same numbers each time, between 0 and 1. @see Steele and Vigna, Computationally easy, spectrally good multipliers (2021) */
function* numbers(): Generator<number, never> {
  for (let state = 1; ; state = (Math.imul(state, 0x915f77f5) + 12345) >>> 0) yield (state >>> 8) / 2 ** 24;
}

/** Real content to cut small files from. */
function text(): Buffer {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for (const files of sourceDirectories()) {
    for (const { path, bytes: size } of files) {
      if (size < 2000 || size > 40_000) continue;
      pieces.push(readFileSync(join(SOURCE, path)));
      bytes += size;
    }
    if (bytes > 32 << 20) break;
  }
  return Buffer.concat(pieces);
}

/** Makes `tree/` below a directory. @param size of the next file, from a number between 0 and 1 */
function smallFiles(
  directory: string,
  shape: { tops: number; middles: number; files: number },
  size: (number: number) => number,
): string[] {
  const source = text();
  const random = numbers();
  const names: string[] = [];
  for (let top = 0; top < shape.tops; top++) {
    names.push(`part-${top}`);
    for (let middle = 0; middle < shape.middles; middle++) {
      const parent = `part-${top}/directory-${middle}`;
      mkdirSync(join(directory, parent), { recursive: true });
      names.push(parent);
      for (let file = 0; file < shape.files; file++) {
        const bytes = size(random.next().value);
        const from = Math.floor(random.next().value * (source.length - bytes));
        const name = `${parent}/file-${file}.txt`;
        writeFileSync(join(directory, name), source.subarray(from, from + bytes));
        names.push(name);
      }
    }
  }
  return names;
}

/** 700 + 6,300 directories and 63,000 files of 100 to 10,000 bytes, small ones more often. */
export function manyEntries(directory: string): Content[] {
  const tree = join(directory, 'many');
  const names = smallFiles(tree, { tops: 700, middles: 9, files: 10 }, (number) => Math.round(100 * 100 ** number));
  const content = pack(join(directory, 'many.tar'), tree, names);
  run('rm', ['-r', tree]);
  return [content];
}

/** A tar of 10,000 files of 4 KB in 100 directories, for a container to unpack. */
export function tenThousandFiles(directory: string): string {
  const tree = join(directory, 'new');
  const names = smallFiles(tree, { tops: 10, middles: 10, files: 100 }, () => 4096);
  const { tar } = pack(join(directory, 'new.tar'), tree, names);
  run('rm', ['-r', tree]);
  return tar;
}
