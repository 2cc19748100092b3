/** Run by itself: makes a large layer as a stream, unpacks it, packs it again and puts it together again. Prints what it took. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { applyLayer } from '../../src/layer/apply.ts';
import { diffLayer } from '../../src/layer/diff.ts';
import { reassembleLayer } from '../../src/layer/tar-split-read.ts';
import { encodeHeader, type WrittenEntry } from '../../src/layer/write.ts';

const [kind = '', root = ''] = process.argv.slice(2);
const ENTRIES = 70_000;
const GIGABYTE = 2 ** 30;

function header(made: Partial<WrittenEntry> & { name: string }): Buffer {
  const plain = { type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 1e9, mtimeNsec: 0, linkname: '' } as const;
  return encodeHeader({ ...plain, deviceMajor: 0, deviceMinor: 0, xattrs: undefined, ...made });
}

const BLOCK = Buffer.alloc(512, 'x');
const KINDS: Record<string, (at: number) => Buffer[]> = {
  files: (at) => [header({ name: `usr/share/d${at % 700}/file-${at}`, size: 10 }), BLOCK],
  directories: (at) => [header({ name: `usr/d${at % 700}/directory-${at}/`, type: 'directory' })],
  links: (at) => [header({ name: `usr/d${at % 700}/link-${at}`, type: 'link', linkname: `usr/d${at % 700}/later` })],
  whiteouts: (at) => [header({ name: `usr/d${at % 700}/.wh.gone-${at}` })],
  again: () => [header({ name: 'usr/the-same', size: 10 }), BLOCK],
  deep: (at) => [header({ name: `${'d/'.repeat(1500)}file-${at}` })],
};

function* layer(): Generator<Buffer> {
  if (kind === 'file') {
    yield header({ name: 'large', size: GIGABYTE });
    for (let at = 0; at < GIGABYTE; at += 0x40000) yield Buffer.alloc(0x40000, at % 251);
  } else {
    for (let at = 0; at < ENTRIES; at += 100) {
      yield Buffer.concat(Array.from({ length: 100 }, (_, more) => KINDS[kind]!(at + more)).flat());
    }
  }
  if (kind === 'links') for (let at = 0; at < 700; at++) yield header({ name: `usr/d${at}/later` });
  yield Buffer.alloc(1024);
}

let made = 0;

async function* stream(): AsyncGenerator<Buffer> {
  for (const chunk of layer()) {
    made += chunk.length;
    yield chunk;
  }
}

async function count(chunks: AsyncIterable<Buffer>): Promise<number> {
  let bytes = 0;
  for await (const chunk of chunks) bytes += chunk.length;
  return bytes;
}

const directory = join(root, 'layer');
mkdirSync(directory);
const before = process.resourceUsage().maxRSS;
const whiteouts = 'overlay';
const { entries } = await applyLayer(stream(), directory, { whiteouts, lchown: true, tarSplit: join(root, 'split') });
const packed = await count(diffLayer(directory, { whiteouts }));
const bytes = await count(reassembleLayer(directory, join(root, 'split')));
const grown = Math.round((process.resourceUsage().maxRSS - before) / 1024);
console.log(JSON.stringify({ entries, packed, bytes, wanted: made, grown }));
