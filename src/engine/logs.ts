/** What a container wrote, from its log. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import type { StreamName } from './api.ts';
import type { Engine } from './open.ts';

export interface LogEntry {
  stream: StreamName;
  /** RFC 3339, nanoseconds. */
  time: string;
  /** With its newline when it had one. */
  log: string;
}

export interface LogOptions {
  follow: boolean;
  /** Lines from the end; all when absent. */
  tail?: number;
}

const CHUNK = 256 * 1024;
const POLL_MS = 50;

/** Offset at which the last `lines` lines begin. */
function tailOffset(fd: number, lines: number): number {
  const { size } = fstatSync(fd);
  const buffer = Buffer.alloc(CHUNK);
  let found = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - CHUNK);
    const length = readSync(fd, buffer, 0, end - start, start);
    for (let at = length - 1; at >= 0; at--) {
      if (buffer[at] !== 0x0a || start + at === size - 1) continue;
      found++;
      if (found === lines) return start + at + 1;
    }
    end = start;
  }
  return lines === 0 ? size : 0;
}

function parseEntry(line: Buffer): LogEntry | undefined {
  if (line.length === 0) return undefined;
  try {
    return JSON.parse(line.toString('utf8')) as LogEntry;
  } catch {
    return undefined;
  }
}

/** Whole lines from `position` on; the rest of a line that is still being written waits in `partial`. */
function readEntries(fd: number, cursor: { position: number; partial: Buffer }): LogEntry[] {
  const buffer = Buffer.alloc(CHUNK);
  const length = readSync(fd, buffer, 0, CHUNK, cursor.position);
  cursor.position += length;
  let data = Buffer.concat([cursor.partial, buffer.subarray(0, length)]);
  const entries: LogEntry[] = [];
  for (let end = data.indexOf(0x0a); end >= 0; end = data.indexOf(0x0a)) {
    const entry = parseEntry(data.subarray(0, end));
    if (entry !== undefined) entries.push(entry);
    data = data.subarray(end + 1);
  }
  cursor.partial = data;
  return entries;
}

/** A container's output, oldest first. With `follow` it goes on until the container has ended.
 *  @throws ERR_TSBOX_NOT_FOUND */
export async function* readLogs(engine: Engine, name: string, options: LogOptions): AsyncIterable<LogEntry> {
  const record = requireContainer(engine.store, name);
  const running = () => containerState(engine.store, record).Running;
  let fd: number;
  try {
    fd = openSync(record.LogPath, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    throw error;
  }
  try {
    const cursor = {
      position: options.tail === undefined ? 0 : tailOffset(fd, options.tail),
      partial: Buffer.alloc(0),
    };
    for (;;) {
      const alive = options.follow && running();
      const before = cursor.position;
      yield* readEntries(fd, cursor);
      if (cursor.position > before) continue;
      if (!alive) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    closeSync(fd);
  }
}
