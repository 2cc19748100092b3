/** The files of a log: the one that is written, and those that it was rotated into, some of them compressed. */
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { isErrno } from '../errors.ts';

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

/** How often the files are looked at anew that are being rotated meanwhile. */
const TRIES = 100;

/** In this order: one gets its name before the other loses it. */
const openRotated = (path: string, number: number) =>
  openLog(`${path}.${number}`) ?? openLog(`${path}.${number}.gz`, true);

const isAnyThere = (path: string) => existsSync(`${path}.1`) || existsSync(`${path}.1.gz`);

function openYoungest(path: string): OpenLog | undefined {
  for (let tries = 0; ; tries++) {
    const log = openLog(path);
    if (log !== undefined || tries === TRIES || !isAnyThere(path)) return log;
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

function openChain(path: string, last?: OpenLog): OpenLog[] {
  const found: OpenLog[] = [];
  let log = openYoungest(path) ?? openRotated(path, 1);
  for (let number = 1; log !== undefined && (last === undefined || !isSame(log, last)); number++) {
    if (found.some((other) => isSame(other, log!))) closeSync(log.fd);
    else found.push(log);
    log = openRotated(path, number);
  }
  if (log !== undefined) closeSync(log.fd);
  return found;
}

const isStill = (path: string, log: OpenLog) =>
  statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === log.inode;

/** The files of a log, the youngest first, down to the one that `last` is, which is left out. While they are rotated they are looked at
 *  anew; in the end a file that comes up again under its next name is taken once. */
export function openLogs(path: string, last?: OpenLog): OpenLog[] {
  for (let tries = 0; ; tries++) {
    const logs = openChain(path, last);
    if (tries === TRIES || logs[0] === undefined || logs[0].packed || isStill(path, logs[0])) return logs;
    for (const { fd } of logs) closeSync(fd);
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
    rmSync(directory, { recursive: true, force: true });
  }
}
