/** The files of a log: the one that is written, and those that it was rotated into, some of them compressed. */
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { isErrno } from '../errors.ts';
import { pause } from '../sys/pause.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';

export interface OpenLog {
  fd: number;
  inode: bigint;
  /** Nanoseconds since 1970 of the last change; the compressed file has that of the one it was made of. */
  changed: bigint;
  packed: boolean;
}

function openLog(path: string, packed = false): OpenLog | undefined {
  try {
    const fd = openSync(path, 'r');
    const { ino, mtimeNs } = fstatSync(fd, { bigint: true });
    return { fd, inode: ino, changed: mtimeNs, packed };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** How often the files are looked at anew that are being rotated meanwhile, a millisecond apart. */
const TRIES = 100;

/** In this order: one gets its name before the other loses it. */
const openRotated = (path: string, number: number) =>
  openLog(`${path}.${number}`) ?? openLog(`${path}.${number}.gz`, true);

const isAnyAt = (path: string, number: number) => existsSync(`${path}.${number}`) || existsSync(`${path}.${number}.gz`);

function openYoungest(path: string): OpenLog | undefined {
  for (let tries = 0; ; tries++) {
    const log = openLog(path);
    if (log !== undefined || tries === TRIES || !isAnyAt(path, 1)) return log;
    pause(1);
  }
}

/** As gzip(1) leaves it at the end: the bytes that were compressed, modulo 2^32. */
function unpackedSize(fd: number): number {
  const bytes = Buffer.alloc(4);
  readSync(fd, bytes, 0, 4, fstatSync(fd).size - 4);
  return bytes.readUInt32LE();
}

/** Is it the same file, perhaps compressed by now? */
function isSame(log: OpenLog, other: OpenLog): boolean {
  if (log.packed === other.packed) return log.inode === other.inode;
  if (!log.packed) return isSame(other, log);
  const { size, mtimeNs } = fstatSync(other.fd, { bigint: true });
  return log.changed === mtimeNs && unpackedSize(log.fd) === Number(size % 2n ** 32n);
}

interface Chain {
  logs: OpenLog[];
  /** The number at which nothing was found; undefined when it ended at the one that was looked for. */
  end: number | undefined;
}

function openChain(path: string, last?: OpenLog): Chain {
  const logs: OpenLog[] = [];
  let log = openYoungest(path) ?? openRotated(path, 1);
  let number = 0;
  while (log !== undefined && (last === undefined || !isSame(log, last))) {
    if (logs.some((other) => isSame(other, log!))) closeSync(log.fd);
    else logs.push(log);
    log = openRotated(path, ++number);
  }
  if (log === undefined) return { logs, end: number };
  closeSync(log.fd);
  return { logs, end: undefined };
}

const isStill = (path: string, log: OpenLog) =>
  statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === log.inode;

/** Were all of them found? Files are rotated from the oldest on, each to the next number: where one is missing that is not the last, its
 *  neighbour is about to come there; and at the end the youngest goes to the first. */
function isWhole(path: string, { logs: [youngest], end }: Chain): boolean {
  if (end !== undefined && isAnyAt(path, end + 1)) return false;
  return youngest === undefined || youngest.packed || isStill(path, youngest);
}

/** The files of a log, the youngest first, down to the one that `last` is, which is left out. While they are rotated they are looked at
 *  anew; in the end a file that comes up again under its next name is taken once. */
export function openLogs(path: string, last?: OpenLog): OpenLog[] {
  for (let tries = 0; ; tries++) {
    const chain = openChain(path, last);
    if (tries === TRIES || isWhole(path, chain)) return chain.logs;
    for (const { fd } of chain.logs) closeSync(fd);
    pause(1);
  }
}

/** Reads what a compressed file holds into one without a name, as far as it is whole, and puts that in its place. */
export async function unpack(log: OpenLog): Promise<void> {
  if (!log.packed) return;
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-log-'));
  try {
    const path = join(directory, 'log');
    const from = await open(`/proc/self/fd/${log.fd}`, 'r');
    const to = await open(path, 'wx', 0o600);
    await pipeline(from.createReadStream(), createGunzip(), to.createWriteStream()).catch((error: unknown) => {
      if (!String((error as { code?: unknown }).code).startsWith('Z_')) throw error;
    });
    const fd = openSync(path, 'r');
    closeSync(log.fd);
    // Its identity stays that of the file it was.
    Object.assign(log, { fd, packed: false });
  } finally {
    removeWholeTree(directory);
  }
}
