/** Lines of Docker's json-file logs: read forwards as they come, or backwards from the end. */
import { readSync } from 'node:fs';
import { logTexts } from '../sys/log-texts.ts';
import type { StreamName } from './api.ts';

export interface LogEntry {
  stream: StreamName;
  /** RFC 3339, nanoseconds. */
  time: string;
  /** The bytes that were written, with their newline when they had one. */
  log: Buffer;
  attrs?: Readonly<Record<string, string>>;
}

const CHUNK = 1 << 20;
const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
const FRONT = Buffer.from('{"log":"');
const MIDDLE = Buffer.from('\\n","stream":"std');
const NOTHING = Buffer.alloc(0);

/** What a line says; undefined for one that is damaged. The bytes are good until the next chunk is read. */
export function parseEntry(line: Buffer): LogEntry | undefined {
  return parsePlain(line) ?? parseAny(line);
}

/** The usual line has nothing escaped but the newline at its end: no need for a parser. */
function parsePlain(line: Buffer): LogEntry | undefined {
  const slash = line.indexOf(BACKSLASH);
  if (slash < FRONT.length || line.compare(FRONT, 0, FRONT.length, 0, FRONT.length) !== 0) return undefined;
  if (line.compare(MIDDLE, 0, MIDDLE.length, slash, slash + MIDDLE.length) !== 0) return undefined;
  const rest = line.toString('latin1', slash + MIDDLE.length);
  const [, name, time] = /^(out|err)","time":"([^"]+)"\}$/.exec(rest) ?? [];
  if (time === undefined) return undefined;
  line[slash] = NEWLINE;
  return { stream: name === 'out' ? 'stdout' : 'stderr', time, log: line.subarray(FRONT.length, slash + 1) };
}

/** `raw` is ours: the bytes in base64 where they are no UTF-8, which JSON cannot say. */
function parseAny(line: Buffer): LogEntry | undefined {
  try {
    const { log, stream, time, attrs, raw } = JSON.parse(line.toString()) as Record<string, unknown>;
    if (typeof log !== 'string' || typeof time !== 'string') return undefined;
    return {
      stream: stream === 'stderr' ? 'stderr' : 'stdout',
      time,
      log: typeof raw === 'string' ? Buffer.from(raw, 'base64') : Buffer.from(log),
      ...(typeof attrs === 'object' && attrs !== null && { attrs: attrs as Record<string, string> }),
    };
  } catch {
    return undefined;
  }
}

/** A driver's format. */
export interface LogCodec {
  /** The entries that are whole, which may lie in `data`, and how many bytes of it are done with. */
  read(data: Buffer): { entries: LogEntry[]; used: number };
  /** As {@link read} where only the bytes are asked for: an entry may be many, without their times and attributes. Absent where that is no
   *  faster. */
  readBytes?(data: Buffer): { entries: LogEntry[]; used: number };
  /** The entries of a file from its end to its start, undefined for one that is damaged, each with where it ends. One that is still being
   *  written is left out. */
  backwards(fd: number, size: number): Generator<{ entry: LogEntry | undefined; end: number }>;
}

export const JSON_FILE: LogCodec = {
  read(data) {
    const used = data.lastIndexOf(NEWLINE) + 1;
    return { entries: entriesOf(data.subarray(0, used)), used };
  },
  readBytes(data) {
    const used = data.lastIndexOf(NEWLINE) + 1;
    return { entries: bytesOf(data.subarray(0, used)), used };
  },
  *backwards(fd, size) {
    for (const { line, end } of linesBackwards(fd, size)) yield { entry: parseEntry(line), end };
  },
};

export interface LineReader {
  /** What has been read of the file. */
  position: number;
  /** The entries that the next chunk completes; undefined at the file's end. Good until the next call. */
  next(): LogEntry[] | undefined;
  /** The file begins anew. */
  restart(): void;
}

/** Reads whole entries from `position` on; one that is still being written waits for its end. */
export function openLines(fd: number, position: number, read: LogCodec['read']): LineReader {
  let buffer = Buffer.alloc(CHUNK);
  let kept = 0;
  const reader: LineReader = {
    position,
    next() {
      if (kept === buffer.length) buffer = Buffer.concat([buffer, Buffer.alloc(buffer.length)]);
      const got = readSync(fd, buffer, kept, buffer.length - kept, reader.position);
      if (got === 0) return undefined;
      reader.position += got;
      const data = buffer.subarray(0, kept + got);
      const { entries, used: end } = read(data);
      const rest = data.subarray(end);
      if (end > 0) {
        const next = Buffer.alloc(Math.max(CHUNK, rest.length * 2));
        rest.copy(next);
        buffer = next;
      }
      kept = rest.length;
      return entries;
    },
    restart() {
      reader.position = 0;
      kept = 0;
    },
  };
  return reader;
}

function entriesOf(lines: Buffer): LogEntry[] {
  const entries: LogEntry[] = [];
  for (let at = 0; at < lines.length; ) {
    const end = lines.indexOf(NEWLINE, at);
    const entry = end > at ? parseEntry(lines.subarray(at, end)) : undefined;
    if (entry !== undefined) entries.push(entry);
    at = end + 1;
  }
  return entries;
}

/** What many lines say, in one piece as far as they are of one stream. */
function bytesOf(lines: Buffer): LogEntry[] {
  const entries: LogEntry[] = [];
  const into = Buffer.allocUnsafe(lines.length);
  for (let at = 0, filled = 0; at < lines.length; ) {
    const { end, written, isError } = logTexts(into.subarray(filled), lines, at);
    if (end > at) {
      const log = into.subarray(filled, filled + written);
      entries.push({ stream: isError ? 'stderr' : 'stdout', time: '', log });
      [at, filled] = [end, filled + written];
      continue;
    }
    const newline = lines.indexOf(NEWLINE, at);
    const entry = newline > at ? parseAny(lines.subarray(at, newline)) : undefined;
    if (entry !== undefined) entries.push(entry);
    at = newline + 1;
  }
  return entries;
}

/** The lines of a file from its end to its start, each with where it ends. What is behind the last newline is left out. */
export function* linesBackwards(fd: number, size: number): Generator<{ line: Buffer; end: number }> {
  let tail: Buffer = NOTHING; // from the last newline that was found
  let end = -1; // of the line in `tail`
  for (let at = size; at > 0; ) {
    const start = Math.max(0, at - CHUNK);
    const chunk = Buffer.alloc(at - start);
    readSync(fd, chunk, 0, chunk.length, start);
    let to = chunk.length;
    for (
      let newline = chunk.lastIndexOf(NEWLINE);
      newline >= 0;
      newline = newline === 0 ? -1 : chunk.lastIndexOf(NEWLINE, newline - 1)
    ) {
      if (end >= 0) yield { line: Buffer.concat([chunk.subarray(newline + 1, to), tail]), end };
      tail = NOTHING;
      to = newline;
      end = start + newline + 1;
    }
    if (end >= 0) tail = Buffer.concat([chunk.subarray(0, to), tail]);
    at = start;
  }
  if (end >= 0) yield { line: tail, end };
}
