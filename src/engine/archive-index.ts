/** What is where in a tar file: read once, header by header; the data is skipped, however large. */
import { read } from 'node:fs';
import { posix } from 'node:path';
import { promisify } from 'node:util';
import { TsboxError, wrapError } from '../errors.ts';
import { bytesOf, type TarEntry } from '../layer/entry.ts';
import { BLOCK } from '../layer/header.ts';
import { createTarReader } from '../layer/read.ts';

const readAt = promisify(read);

/** A file of the archive, or a name that leads to one. */
export type Indexed = { kind: 'file'; offset: number; size: number } | { kind: 'link'; target: string };

export type ArchiveIndex = ReadonlyMap<string, Indexed>;

const WINDOW = 0x10000;
const CHUNK = 0x40000;
/** Given to the tar reader in the place of data, which it only counts. */
const SKIPPED = Buffer.alloc(0x100000);
/** Image archives have a few entries a layer; a million is something else, and would fill the memory. */
const MOST_ENTRIES = 1_000_000;

/** Bytes of an open file. @throws ERR_TSBOX_DAMAGED when it ends before */
export async function* readRange(fd: number, offset: number, size: number, name: string): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - at));
    const { bytesRead } = await readAt(fd, chunk, 0, chunk.length, offset + at);
    if (bytesRead === 0) throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${name}: it ends within an entry`);
    at += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

/** Names as the archive's own documents write them: `a/b`, without `./`. Names that lead out of it are left out: nobody may mean them. */
function plainName(name: string): string | undefined {
  const path = posix.normalize(bytesOf(name).toString('utf8')).replace(/\/$/, '');
  return path === '.' || path.startsWith('/') || path === '..' || path.startsWith('../') ? undefined : path;
}

function indexed(entry: TarEntry, name: string, offset: number): Indexed | undefined {
  if (entry.type === 'file' && entry.sparse === undefined) return { kind: 'file', offset, size: entry.stored };
  const target = bytesOf(entry.linkname).toString('utf8');
  if (entry.type === 'symlink') {
    // From the top of the archive: `../` may not lead above it, as joining with a root shows.
    return target.startsWith('/')
      ? undefined
      : { kind: 'link', target: posix.join('/', posix.dirname(name), target).slice(1) };
  }
  if (entry.type === 'link') return { kind: 'link', target: plainName(entry.linkname) ?? '' };
  return undefined;
}

/** Reads the headers of an uncompressed tar file from its beginning to its end.
 *  @param name of the file, for messages
 *  @throws ERR_TSBOX_DAMAGED when it is no tar archive, or cut off */
export async function indexArchive(fd: number, size: number, name: string): Promise<ArchiveIndex> {
  const index = new Map<string, Indexed>();
  const window = Buffer.alloc(WINDOW);
  let windowAt = 0;
  let windowEnd = 0;
  let at = 0;
  let stored = 0;
  const reader = createTarReader({
    entry(entry) {
      stored = entry.stored;
      const path = plainName(entry.name);
      const found = path === undefined ? undefined : indexed(entry, path, at);
      if (path === undefined) return;
      if (found === undefined) index.delete(path);
      else index.set(path, found);
      if (index.size > MOST_ENTRIES) {
        throw new TsboxError('ERR_TSBOX_LIMIT', `more than ${MOST_ENTRIES} entries`);
      }
    },
    data() {},
    done() {},
  });
  try {
    while (at < size) {
      if (at + BLOCK > windowEnd || at < windowAt) {
        const { bytesRead } = await readAt(fd, window, 0, WINDOW, at);
        [windowAt, windowEnd] = [at, at + bytesRead];
        if (bytesRead === 0) break;
      }
      const end = Math.min(at + BLOCK, windowEnd);
      const block = Buffer.from(window.subarray(at - windowAt, end - windowAt));
      at = end;
      stored = 0;
      reader.push(block);
      at += skip(stored, size - at);
    }
    reader.end();
  } catch (error) {
    throw wrapError(`read ${name}`, error);
  }

  /** Passes over an entry's data and its padding, as far as the file has them. @returns how many bytes */
  function skip(length: number, available: number): number {
    const whole = Math.min(Math.ceil(length / BLOCK) * BLOCK, available);
    for (let left = whole; left > 0; left -= SKIPPED.length) {
      reader.push(left < SKIPPED.length ? SKIPPED.subarray(0, left) : SKIPPED);
    }
    return whole;
  }

  return index;
}
