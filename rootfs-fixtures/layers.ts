/**
 * The image `layers`: three layers that hold what is hard about layers (layers-content.ts), packed with GNU tar. Needs root, for devices and
 * owners. usage: layers.ts OUTPUT-DIRECTORY
 *
 * Beside the image it writes `layers.json`: what a correct engine shows below `fixture/`, for tests to compare with.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Compression, type FixtureLayer, PAX, packNames, run, writeImage } from './image.ts';
import { LAYERS, type LayerContent } from './layers-content.ts';
import { bytes, type Entry, FIXTURE_MTIME, makeTree, modeOf } from './tree.ts';

/** How each layer is packed: three header dialects, and the three forms of a blob. */
const PACKING: readonly { compression: Compression; options: readonly string[] }[] = [
  { compression: 'gzip', options: PAX },
  { compression: 'none', options: ['--format=gnu', '--numeric-owner'] },
  {
    compression: 'zstd',
    options: [...PAX, '--pax-option=globexthdr.name=GlobalHead,comment=a global header', '--sparse'],
  },
];

function packLayer(work: string, number: number, { createdBy, entries, implicit = [] }: LayerContent): FixtureLayer {
  const directory = join(work, `layer-${number}`);
  const tar = join(work, `layer-${number}.tar`);
  const { compression, options } = PACKING[number]!;
  mkdirSync(directory, { mode: 0o755 });
  const names: Buffer[] = [];
  if (number === 0) {
    run(join(import.meta.dirname, 'busybox.sh'), [join(work, 'busybox.tar')]);
    run('tar', ['--extract', '--numeric-owner', '--file', join(work, 'busybox.tar'), '--directory', directory]);
    const listed = run('find', ['.', '-mindepth', '1', '-print0'], { cwd: directory }).toString('latin1');
    names.push(...listed.split('\0').filter(Boolean).sort().map(bytes));
  }
  makeTree(directory, entries);
  names.push(...entries.filter(({ path }) => !implicit.includes(path)).map(({ path }) => bytes(path)));
  packNames(tar, directory, names, options);
  return { tar, compression, createdBy };
}

interface Inode {
  /** Path of its first name in the layer that brought it. */
  readonly inode: string;
  readonly entry: Entry;
  readonly implicit: boolean;
}

/** The tree that the stacked layers show. What vanishes is taken from the recipe's own list, not worked out from whiteouts. */
function merged(layers: readonly LayerContent[]): Map<string, Inode> {
  const tree = new Map<string, Inode>();
  layers.forEach(({ entries, gone, implicit = [] }, number) => {
    for (const path of gone) {
      if (!tree.delete(path)) throw new Error(`layer ${number} takes away ${path}, which is not there`);
    }
    for (const entry of entries) {
      if (entry.path.includes('/.wh.')) continue;
      const inode =
        entry.type === 'link'
          ? tree.get(entry.target)!
          : { inode: `${number}:${entry.path}`, entry, implicit: implicit.includes(entry.path) };
      tree.set(entry.path, inode);
    }
  });
  return tree;
}

/** One line of layers.json. `mode` and `mtime` are null where no promise is made; names and values are bytes as characters. */
function describe(path: string, { inode, entry, implicit }: Inode): object {
  const { type } = entry;
  const mtime = entry.mtime ?? `${FIXTURE_MTIME}.000000000`;
  const common = {
    path,
    type,
    inode,
    mode: implicit ? null : type === 'symlink' ? 0o777 : modeOf(entry),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    mtime: implicit ? null : mtime,
    xattrs: entry.xattrs ?? {},
  };
  if (type === 'file')
    return { ...common, data: entry.data, before: entry.hole?.before ?? 0, after: entry.hole?.after ?? 0 };
  if (type === 'symlink') return { ...common, target: entry.target };
  if (type === 'character' || type === 'block') return { ...common, major: entry.major, minor: entry.minor };
  return common;
}

const [output = ''] = process.argv.slice(2);
if (process.getuid?.() !== 0) throw new Error('the layers fixture is built by root only: it holds devices');
const work = mkdtempSync(join(tmpdir(), 'fixture-layers-'));
try {
  const packed = LAYERS.map((content, number) => packLayer(work, number, content));
  const lines = [...merged(LAYERS)].map(([path, inode]) => JSON.stringify(describe(path, inode)));
  writeFileSync(join(output, 'layers.json'), `[\n${lines.join(',\n')}\n]\n`);
  writeImage(output, 'layers', packed);
} finally {
  rmSync(work, { recursive: true });
}
