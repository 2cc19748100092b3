/** What a container wrote, from its log and the files that this was rotated into. */
import { closeSync, existsSync, fstatSync, openSync, statSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import { type LineReader, type LogEntry, linesBackwards, openLines, parseEntry } from './log-lines.ts';
import type { Engine } from './open.ts';

export interface LogOptions {
  /** Go on until the container has ended. */
  follow: boolean;
  /** Lines from the end; all when absent. */
  tail?: number;
  /** Milliseconds since 1970. */
  since?: number;
  until?: number;
}

/** What a container writes in one go is shown within this time. Polling, since a watch (inotify) is a thing that hosts run out of, and
 *  would not save the look at whether the container has ended. */
const POLL_MS = 50;

interface OpenLog {
  fd: number;
  inode: number;
}

function openLog(path: string): OpenLog | undefined {
  try {
    const fd = openSync(path, 'r');
    return { fd, inode: fstatSync(fd).ino };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** How often the log is looked for that is not there for a moment while it is rotated. */
const TRIES = 100;

function openYoungest(path: string): OpenLog | undefined {
  for (let tries = 0; ; tries++) {
    const log = openLog(path);
    if (log !== undefined || tries === TRIES || !existsSync(`${path}.1`)) return log;
  }
}

/** The files of a log, the youngest first, down to the one that `last` is, which is left out. Should they be rotated meanwhile, a file
 *  comes up again under its next name, and is taken once. */
function openLogs(path: string, last?: number): OpenLog[] {
  const found: OpenLog[] = [];
  let log = openYoungest(path) ?? openLog(`${path}.1`);
  for (let number = 1; log !== undefined && log.inode !== last; number++) {
    const { fd, inode } = log;
    if (found.some((other) => other.inode === inode)) closeSync(fd);
    else found.push(log);
    log = openLog(`${path}.${number}`);
  }
  if (log !== undefined) closeSync(log.fd);
  return found;
}

/** Where the last `lines` lines begin: which file, counted from the youngest, and its offset. A line that was split counts once. */
function tailStart(logs: readonly OpenLog[], lines: number): { file: number; offset: number } {
  let found = 0;
  for (const [file, { fd }] of logs.entries()) {
    for (const { line, end } of linesBackwards(fd, fstatSync(fd).size)) {
      const isWhole = parseEntry(line)?.log.at(-1) === 0x0a;
      if ((isWhole || found === 0) && ++found > lines) return { file, offset: end };
    }
  }
  return { file: logs.length - 1, offset: 0 };
}

/** Milliseconds since 1970, with a fraction. */
function millisecondsOf(time: string): number {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
  return Date.parse(time.replace(/\.\d+/, '')) + Number(`0.${fraction}`) * 1000;
}

/** A container's output, oldest first, in groups that are good until the next is asked for. With `follow` it goes on until the container
 *  has ended, from one file to the next.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_UNSUPPORTED for a container without a log */
export async function* readLogs(engine: Engine, name: string, options: LogOptions): AsyncIterable<LogEntry[]> {
  const record = requireContainer(engine.store, name);
  if (readHostConfig(engine.store, record.ID).LogConfig.Type === 'none') {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', 'configured logging driver does not support reading');
  }
  const isAlive = () => {
    const { Running, Restarting } = containerState(engine.store, record);
    return Running || Restarting;
  };
  for await (const entries of readAll(record.LogPath, options, isAlive)) {
    const { since, until } = options;
    if (since === undefined && until === undefined) {
      yield entries;
      continue;
    }
    const times = entries.map(({ time }) => millisecondsOf(time));
    yield entries.filter((_, index) => times[index]! >= (since ?? 0) && times[index]! <= (until ?? Number.MAX_VALUE));
    if (until !== undefined && times.some((time) => time > until)) return;
  }
}

async function* readAll(
  path: string,
  { follow, tail }: LogOptions,
  isAlive: () => boolean,
): AsyncGenerator<LogEntry[]> {
  const logs = openLogs(path);
  try {
    let { file, offset } = tail === undefined ? { file: logs.length - 1, offset: 0 } : tailStart(logs, tail);
    for (let log = logs.at(-1); log !== undefined; log = logs.at(-1)) {
      if (logs.length - 1 <= file) {
        const lines = openLines(log.fd, offset);
        [file, offset] = [Number.MAX_SAFE_INTEGER, 0];
        yield* rest(lines);
        if (logs.length === 1) {
          if (!follow || !(yield* untilReplaced(path, log, lines, isAlive))) return;
          logs.unshift(...openLogs(path, log.inode));
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
    const now = statSync(path, { throwIfNoEntry: false });
    if (now?.ino === log.inode && now.size < lines.position) lines.restart();
    if (yield* rest(lines)) continue;
    if (now !== undefined && now.ino !== log.inode) return true;
    if (!alive) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
