/** What a container wrote, from its log and the files that this was rotated into. */
import { closeSync, fstatSync, statSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { parseExactTime } from '../spec/time.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import { logPath } from '../store/store.ts';
import { type OpenLog, openLogs, unpack } from './log-files.ts';
import { JSON_FILE, type LineReader, type LogCodec, type LogEntry, openLines } from './log-lines.ts';
import { LOCAL } from './log-local.ts';
import type { Engine } from './open.ts';

export interface LogOptions {
  /** Go on until the container has ended. */
  follow: boolean;
  /** Lines from the end; all when absent. */
  tail?: number;
  /** Nanoseconds since 1970: who asks for what came after a line that he has seen says its time. */
  since?: bigint;
  until?: bigint;
  /** The bytes are enough: nobody asks when they were written, or by what. */
  bytes?: boolean;
}

/** What a container writes in one go is shown within this time. Polling, since a watch (inotify) is a thing that hosts run out of, and
 *  would not save the look at whether the container has ended. */
const POLL_MS = 50;

/** Where the last `lines` lines begin: which file, counted from the youngest, and its offset. A line that was split counts once. */
async function tailStart(
  logs: readonly OpenLog[],
  lines: number,
  { backwards }: LogCodec,
): Promise<{ file: number; offset: number }> {
  let found = 0;
  for (const [file, log] of logs.entries()) {
    await unpack(log);
    for (const { entry, end } of backwards(log.fd, fstatSync(log.fd).size)) {
      const isWhole = entry?.log.at(-1) === 0x0a;
      if ((isWhole || found === 0) && ++found > lines) return { file, offset: end };
    }
  }
  return { file: logs.length - 1, offset: 0 };
}

/** A container's output, oldest first, in groups that are good until the next is asked for. With `follow` it goes on until the container
 *  has ended, from one file to the next.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_UNSUPPORTED for a container without a log */
export async function* readLogs(engine: Engine, name: string, options: LogOptions): AsyncIterable<LogEntry[]> {
  const record = requireContainer(engine.store, name);
  const { Type } = readHostConfig(engine.store, record.ID).LogConfig;
  if (Type === 'none') {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', 'configured logging driver does not support reading');
  }
  const isAlive = () => {
    const { Running, Restarting } = containerState(engine.store, record);
    return Running || Restarting;
  };
  const codec = Type === 'local' ? LOCAL : JSON_FILE;
  for await (const entries of readAll(logPath(engine.store, record, Type), options, codec, isAlive)) {
    const { since, until } = options;
    if (since === undefined && until === undefined) {
      yield entries;
      continue;
    }
    const times = entries.map(({ time }) => parseExactTime(time, 0) ?? 0n);
    const isLate = (time: bigint) => until !== undefined && time > until;
    yield entries.filter((_, index) => times[index]! >= (since ?? 0n) && !isLate(times[index]!));
    if (times.some(isLate)) return;
  }
}

async function* readAll(
  path: string,
  { follow, tail, since, until, bytes }: LogOptions,
  codec: LogCodec,
  isAlive: () => boolean,
): AsyncGenerator<LogEntry[]> {
  const timed = since !== undefined || until !== undefined;
  const read = bytes === true && !timed && codec.readBytes !== undefined ? codec.readBytes : codec.read;
  const logs = openLogs(path);
  try {
    let { file, offset } =
      tail === undefined ? { file: logs.length - 1, offset: 0 } : await tailStart(logs, tail, codec);
    for (let log = logs.at(-1); log !== undefined; log = logs.at(-1)) {
      if (logs.length - 1 <= file) {
        await unpack(log);
        const lines = openLines(log.fd, offset, read);
        [file, offset] = [Number.MAX_SAFE_INTEGER, 0];
        yield* rest(lines);
        if (logs.length === 1) {
          if (!follow || !(yield* untilReplaced(path, log, lines, isAlive))) return;
          logs.unshift(...openLogs(path, log));
        }
      }
      closeSync(logs.pop()!.fd);
    }
  } finally {
    for (const { fd } of logs) closeSync(fd);
  }
}

function* rest(lines: LineReader): Generator<LogEntry[], boolean> {
  let any = false;
  for (let entries = lines.next(); entries !== undefined; entries = lines.next()) {
    any = true;
    yield entries;
  }
  return any;
}

/** What comes to the youngest file. @returns whether another has taken its place: nothing comes to this one any more */
async function* untilReplaced(
  path: string,
  log: OpenLog,
  lines: LineReader,
  isAlive: () => boolean,
): AsyncGenerator<LogEntry[], boolean> {
  for (;;) {
    // Asked before the file is read to its end: so nothing comes between.
    const alive = isAlive();
    const now = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (now?.ino === log.inode && now.size < lines.position) lines.restart();
    if (yield* rest(lines)) continue;
    if (now !== undefined && now.ino !== log.inode) return true;
    if (!alive) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
