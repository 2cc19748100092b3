/**
 * Writes tar-split: what it takes to give a layer back byte for byte from the directory that it was unpacked into. Gzipped JSON
 * lines: type 2 has raw bytes of the archive, type 1 stands for a file's data with its CRC-64. dockerd reads and writes the same.
 * Data that no file of the layer keeps (of sparse files, of whiteouts, of a file that a later entry replaces) goes in as bytes.
 * @see the tar-split project, tar/storage
 */
import { isUtf8 } from 'node:buffer';
import { closeSync, createWriteStream, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { writeBase64 } from '../sys/bytes.ts';
import { close, OPEN, openat, pread } from '../sys/file.ts';
import { refusal } from '../sys/node-error.ts';
import type { PlainRun } from '../sys/plain.ts';
import { type Crc64, newCrc64, resetCrc64, updateCrc64, writeCrc64 } from './crc64.ts';
import { bytesOf, pathOf } from './entry.ts';
import { readTarSplit } from './tar-split-read.ts';

const SEGMENT = 0x10000;
const BATCH = 0x40000;
/** The lines are mostly zeros in base64: the fastest level is good enough. Some batches may wait, so that nobody waits for them. */
const COMPRESSION = { level: 1, chunkSize: BATCH, highWaterMark: 8 * BATCH };

/** Batches that were written, for the next ones. */
const spare: Buffer[] = [];
const MOST_SPARE = 8;

function newBatch(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(BATCH);
}

interface LineWriter {
  /** A segment with the bytes up to `end`, which may change as soon as this returns. */
  segment(bytes: Buffer, end: number): void;
  file(name: string, size: number, crc: Buffer | undefined): void;
  /** Lines in hand, for who adds some in C, and the number of the next. */
  inHand(): { bytes: Buffer; filled: number; position: number };
  /** So many were added, and end there. */
  added(end: number, count: number): void;
  /** Sends them on their way. */
  flush(): void;
  /** Waits while too much is under way. */
  drain(): Promise<void>;
  finish(): Promise<void>;
  abort(): void;
}

/** Characters that stand in JSON as they are, and are the same in any encoding. */
const PLAIN = /^[ !#-[\]-~]*$/;

function nameField(name: string): string {
  if (PLAIN.test(name)) return `"name":"${name}"`;
  if (/^[\x00-\x7f]*$/.test(name)) return `"name":${JSON.stringify(name)}`;
  const bytes = bytesOf(name);
  return isUtf8(bytes) ? `"name":${JSON.stringify(bytes.toString())}` : `"name_raw":"${bytes.toString('base64')}"`;
}

function createLineWriter(path: string): LineWriter {
  const gzip = createGzip(COMPRESSION);
  const file = createWriteStream(path, { mode: 0o644 });
  gzip.pipe(file);
  let failure: Error | undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    gzip.destroy();
  };
  let wake: (() => void) | undefined;
  gzip.on('error', fail);
  gzip.on('drain', () => wake?.());
  gzip.on('close', () => wake?.());
  file.on('error', fail);
  let batch = newBatch();
  let filled = 0;
  let position = 0;

  /** Makes room for a line; the lines in hand go on their way when there is too little. */
  function reserve(length: number): void {
    if (filled + length <= batch.length) return;
    flush(length);
  }

  function flush(next: number): void {
    const full = batch;
    gzip.write(full.subarray(0, filled), () => {
      if (full.length === BATCH && spare.length < MOST_SPARE) spare.push(full);
    });
    batch = next > BATCH ? Buffer.allocUnsafeSlow(next) : newBatch();
    filled = 0;
  }

  function put(ascii: string): void {
    filled += batch.write(ascii, filled, 'latin1');
  }

  async function drain(): Promise<void> {
    if (failure === undefined && gzip.writableNeedDrain) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) throw refusal(`write ${path}`, failure);
  }

  async function finish(): Promise<void> {
    flush(0);
    gzip.end();
    await finished(file).catch(fail);
    if (failure !== undefined) throw refusal(`write ${path}`, failure);
  }

  return {
    segment(bytes, end) {
      reserve(Math.ceil(end / 3) * 4 + 64);
      put('{"type":2,"payload":"');
      filled = writeBase64(batch, filled, bytes, end);
      put(`","position":${position++}}\n`);
    },
    file(name, size, crc) {
      const payload = crc === undefined ? 'null' : `"${crc.toString('base64')}"`;
      const sizeField = size === 0 ? '' : `,"size":${size}`;
      const line = `{"type":1,${nameField(name)}${sizeField},"payload":${payload},"position":${position++}}\n`;
      reserve(3 * line.length);
      filled += batch.write(line, filled);
    },
    inHand: () => ({ bytes: batch, filled, position }),
    added(end, count) {
      filled = end;
      position += count;
    },
    flush: () => flush(0),
    drain,
    finish,
    abort() {
      gzip.destroy();
      file.destroy();
    },
  };
}

export interface TarSplitWriter {
  /** Bytes of the archive that are no kept file's data. */
  raw(chunk: Buffer, start: number, end: number): void;
  /** An entry begins. `kept` is the length of its data when that will lie in a file of this name, else 0. */
  entry(name: string, kept: number): void;
  /** Data of the entry. */
  data(chunk: Buffer, start: number, end: number): void;
  done(): void;
  /** What is in hand, for who adds lines in C: see sys/plain.ts. */
  inHand(): PlainRun['lines'];
  /** Lines of so many entries were added, each with all raw bytes before its data. @param added `files`: entries with data */
  added(added: { lines: number; entries: number; files: number }): void;
  /** Makes room for lines. */
  flush(): void;
  /** Where the archive stands, at the begin of an entry; for `lost`. */
  mark(): number;
  /** A file of this layer is about to be replaced by the entry at `mark`: its data moves into the tar-split file. */
  lost(path: string, dirfd: number, base: Buffer, size: number, mark: number): void;
  drain(): Promise<void>;
  /** Completes the file. */
  finish(): Promise<void>;
  /** Gives up: removes what was written. */
  abort(): void;
}

interface LostFile {
  path: string;
  /** How many files with data came before it was lost. */
  before: number;
  offset: number;
  size: number;
}

/** Writes `path` while a layer is unpacked. */
export function createTarSplitWriter(path: string): TarSplitWriter {
  const lines = createLineWriter(path);
  const segment = Buffer.allocUnsafe(SEGMENT);
  let filled = 0;
  let keptName: string | undefined;
  let keptSize = 0;
  const crc: Crc64 = newCrc64();
  const sum = Buffer.alloc(8);
  let ordinal = 0;
  const losses: LostFile[] = [];
  let aside: number | undefined;
  let asideSize = 0;

  function flushSegment(): void {
    if (filled === 0) return;
    lines.segment(segment, filled);
    filled = 0;
  }

  function raw(chunk: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      if (filled === SEGMENT) flushSegment();
      const copied = chunk.copy(segment, filled, at, end);
      filled += copied;
      at += copied;
    }
  }

  function entry(name: string, kept: number): void {
    flushSegment();
    if (kept === 0) {
      lines.file(name, 0, undefined);
      return;
    }
    keptName = name;
    keptSize = kept;
    resetCrc64(crc);
    ordinal++;
  }

  function data(chunk: Buffer, start: number, end: number): void {
    if (keptName === undefined) raw(chunk, start, end);
    else updateCrc64(crc, chunk, start, end);
  }

  function done(): void {
    if (keptName === undefined) return;
    writeCrc64(crc, sum);
    lines.file(keptName, keptSize, sum);
    keptName = undefined;
  }

  /** How many files with data came before: the entry in hand has been counted already. */
  function mark(): number {
    return keptName === undefined ? ordinal : ordinal - 1;
  }

  function lost(lostPath: string, dirfd: number, base: Buffer, size: number, before: number): void {
    losses.push({ path: lostPath, before, offset: asideSize, size });
    const fd = openat(dirfd, base, OPEN.RDONLY | OPEN.NOFOLLOW);
    try {
      aside ??= openSync(`${path}.lost`, 'wx', 0o600);
      for (const piece of fileData(fd, size, lostPath)) {
        writeFileSync(aside, piece);
        asideSize += piece.length;
      }
    } catch (error) {
      throw refusal(`write ${path}.lost`, error);
    } finally {
      close(fd);
    }
  }

  async function finish(): Promise<void> {
    flushSegment();
    await lines.finish();
    if (aside === undefined) return;
    closeSync(aside);
    aside = undefined;
    await inlineLosses(path, losses).catch((error: unknown) => {
      throw refusal(`write ${path}`, error);
    });
    rmSync(`${path}.lost`);
  }

  function abort(): void {
    lines.abort();
    if (aside !== undefined) closeSync(aside);
    for (const name of [path, `${path}.lost`, `${path}.inlined`]) rmSync(name, { force: true });
  }

  return {
    raw,
    entry,
    data,
    done,
    inHand: () => ({ ...lines.inHand(), raw: segment, rawFilled: filled }),
    added(added) {
      lines.added(added.lines, 2 * added.entries);
      ordinal += added.files;
      filled = 0;
    },
    flush: lines.flush,
    mark,
    lost,
    drain: lines.drain,
    finish,
    abort,
  };
}

/** The last of ascending numbers that is less than `bound`. A layer may have one name a million times. */
function lastBelow(ascending: readonly number[], bound: number): number | undefined {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return ascending[low - 1];
}

/** Which entries (counted among those with data) the lost files were. */
async function findLosses(path: string, losses: readonly LostFile[]): Promise<Map<number, LostFile>> {
  const wanted = new Map<string, number[]>(losses.map((loss) => [loss.path, []]));
  let ordinal = 0;
  for await (const lines of readTarSplit(path)) {
    for (const line of lines) {
      if (line.type === 2 || line.size === 0) continue;
      wanted.get(pathOf(line.name))?.push(ordinal);
      ordinal++;
    }
  }
  const found = new Map<number, LostFile>();
  for (const loss of losses) {
    const entry = lastBelow(wanted.get(loss.path) ?? [], loss.before);
    if (entry !== undefined && !found.has(entry)) found.set(entry, loss);
  }
  return found;
}

/** Rewrites the file: the data of the lost files as segments. */
async function inlineLosses(path: string, losses: readonly LostFile[]): Promise<void> {
  const found = await findLosses(path, losses);
  const lines = createLineWriter(`${path}.inlined`);
  const aside = openSync(`${path}.lost`, 'r');
  let ordinal = 0;
  try {
    for await (const read of readTarSplit(path)) {
      for (const line of read) {
        const loss = line.type === 1 && line.size > 0 ? found.get(ordinal++) : undefined;
        if (line.type === 2) lines.segment(line.payload, line.payload.length);
        else if (loss === undefined) lines.file(line.name, line.size, line.payload);
        else {
          lines.file(line.name, 0, undefined);
          for (const piece of fileData(aside, loss.size, loss.path, loss.offset)) {
            lines.segment(piece, piece.length);
            await lines.drain();
          }
        }
      }
      await lines.drain();
    }
    await lines.finish();
  } finally {
    closeSync(aside);
    lines.abort();
  }
  renameSync(`${path}.inlined`, path);
}

/** `size` bytes of an open file in pieces; each is good until the next. Ends early where the file does. */
function* fileData(fd: number, size: number, name: string, from = 0): Generator<Buffer> {
  const piece = Buffer.allocUnsafe(Math.min(size, SEGMENT));
  for (let at = 0; at < size; ) {
    const got = pread(fd, piece, 0, Math.min(piece.length, size - at), from + at, name);
    if (got === 0) return;
    at += got;
    yield piece.subarray(0, got);
  }
}
