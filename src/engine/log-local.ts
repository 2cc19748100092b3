/**
 * Entries of Docker's `local` logs: a message of protobuf between two lengths of 32 bits, big-endian, so that it can be read from either end.
 * @see moby, daemon/logger/local, api/types/plugins/logdriver/entry.proto
 */
import { readSync } from 'node:fs';
import type { LogCodec, LogEntry } from './log-lines.ts';

const LENGTH = 4;
/** More than any entry has; what says that it is longer is damaged. */
const MOST = 1 << 20;
const WINDOW = 1 << 20;
const NEWLINE = Buffer.from('\n');

interface Varint {
  value: bigint;
  end: number;
}

function varint(bytes: Buffer, at: number): Varint {
  let value = 0n;
  for (let end = at, shift = 0n; end < bytes.length; end++, shift += 7n) {
    value |= BigInt(bytes[end]! & 0x7f) << shift;
    if (bytes[end]! < 0x80) return { value, end: end + 1 };
  }
  throw new RangeError('a number without its end');
}

/** The fields of a message: numbers, or bytes within `message`. @throws RangeError for what is no message */
function* fields(message: Buffer): Generator<{ field: number; number?: bigint; bytes?: Buffer }> {
  for (let at = 0; at < message.length; ) {
    const key = varint(message, at);
    const field = Number(key.value >> 3n);
    const { value, end } = varint(message, key.end);
    if ((key.value & 7n) === 0n) {
      yield { field, number: value };
      at = end;
    } else if ((key.value & 7n) === 2n && end + Number(value) <= message.length) {
      at = end + Number(value);
      yield { field, bytes: message.subarray(end, at) };
    } else throw new RangeError('a field of another kind');
  }
}

const SECOND = 1_000_000_000n;

/** RFC 3339 with nanoseconds. */
function timeText(nanoseconds: bigint): string {
  const whole = new Date(Number(nanoseconds / SECOND) * 1000).toISOString().slice(0, 19);
  return `${whole}.${String(nanoseconds % SECOND).padStart(9, '0')}Z`;
}

/** undefined for what is damaged. */
function parseMessage(message: Buffer): LogEntry | undefined {
  let stream: LogEntry['stream'] = 'stdout';
  let time = 0n;
  let line: Buffer = Buffer.alloc(0);
  let ends = true;
  try {
    for (const { field, number = 0n, bytes } of fields(message)) {
      if (field === 1) stream = bytes?.toString('latin1') === 'stderr' ? 'stderr' : 'stdout';
      else if (field === 2) time = number;
      else if (field === 3 && bytes !== undefined) line = bytes;
      else if (field === 4 && number !== 0n) ends = false;
      // Of a line that was split: is it the last part?
      else if (field === 5 && bytes !== undefined) {
        for (const part of fields(bytes)) if (part.field === 1 && part.number !== 0n) ends = true;
      }
    }
    return { stream, time: timeText(time), log: ends ? Buffer.concat([line, NEWLINE]) : line };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** How long the message at `at` is; undefined when what is there is no entry, `short` when its end is not there yet. */
function messageLength(data: Buffer, at: number): number | 'short' | undefined {
  if (data.length - at < LENGTH) return 'short';
  const length = data.readUInt32BE(at);
  if (length > MOST) return undefined;
  const end = at + LENGTH + length;
  if (data.length < end + LENGTH) return 'short';
  return data.readUInt32BE(end) === length ? length : undefined;
}

export const LOCAL: LogCodec = {
  /** After damage it goes on where an entry is whole again. */
  read(data) {
    const entries: LogEntry[] = [];
    let at = 0;
    for (;;) {
      const length = messageLength(data, at);
      if (length === 'short') return { entries, used: at };
      if (length === undefined) {
        at++;
        continue;
      }
      const entry = parseMessage(data.subarray(at + LENGTH, at + LENGTH + length));
      if (entry !== undefined) entries.push(entry);
      at += 2 * LENGTH + length;
    }
  },
  *backwards(fd, size) {
    const bytes = windowed(fd);
    for (let end = wholeSize(fd, size); end > 0; ) {
      const length = bytes(end - LENGTH, LENGTH).readUInt32BE();
      const start = end - 2 * LENGTH - length;
      if (length > MOST || start < 0) return; // damaged: what is before is not reached from here
      yield { entry: parseMessage(bytes(start + LENGTH, length)), end };
      end = start;
    }
  },
};

/** Bytes of a file that is read from its end to its start. */
function windowed(fd: number): (at: number, length: number) => Buffer {
  let start = 0;
  let window = Buffer.alloc(0);
  return (at, length) => {
    if (at < start || at + length > start + window.length) {
      start = Math.max(0, at + length - Math.max(WINDOW, length));
      window = Buffer.alloc(at + length - start);
      readSync(fd, window, 0, window.length, start);
    }
    return window.subarray(at - start, at - start + length);
  };
}

/** Where the last whole entry ends: another may just be being written. */
function wholeSize(fd: number, size: number): number {
  const number = (at: number) => {
    const bytes = Buffer.alloc(LENGTH);
    return at >= 0 && readSync(fd, bytes, 0, LENGTH, at) === LENGTH ? bytes.readUInt32BE() : -1;
  };
  const last = number(size - LENGTH);
  if (last >= 0 && last <= MOST && number(size - 2 * LENGTH - last) === last) return size;
  let at = 0;
  for (let length = number(0); length >= 0 && length <= MOST && at + 2 * LENGTH + length <= size; length = number(at)) {
    at += 2 * LENGTH + length;
  }
  return at;
}
