/**
 * Opens what may hold images: a tar archive, compressed or not, from a file or standard input, or a directory. Nothing is unpacked. A
 * plain tar file is read where it is; what cannot be read twice (a pipe, a compressed file) is kept in a file without a name in the
 * data root's `tmp`, which is gone with the process.
 */
import {
  closeSync,
  createReadStream,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
  unlinkSync,
  write,
} from 'node:fs';
import { posix } from 'node:path';
import { promisify } from 'node:util';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { decompress, detectCompression } from '../layer/decompress.ts';
import { refusal } from '../store/io.ts';
import { OPEN, openat, openat2, RESOLVE } from '../sys/file.ts';
import { randomHex } from '../sys/random.ts';
import type { EngineOptions } from './api.ts';
import { type ArchiveIndex, type Indexed, indexArchive, readRange } from './archive-index.ts';
import { abortable } from './interrupt.ts';

const writeAt = promisify(write);

/** An open archive or directory: files by name, links followed. */
export interface Archive {
  /** For messages: `image.tar`, `standard input`. */
  readonly name: string;
  has(path: string): boolean;
  /** Bytes of a file. @throws ERR_TSBOX_DAMAGED when it is not there */
  size(path: string): number;
  /** @throws as size */
  stream(path: string): AsyncIterable<Buffer>;
  /** A small file whole. @throws as size; ERR_TSBOX_LIMIT above `limit` bytes */
  document(path: string, limit: number): Promise<Buffer>;
  close(): void;
}

function missing(name: string, path: string): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', `read ${name}: no file ${JSON.stringify(path.slice(0, 200))} in it`);
}

/** The rest of an archive follows from a way to find a file. */
function archiveOf(
  name: string,
  find: (path: string) => { size: number; stream(): AsyncIterable<Buffer> } | undefined,
  close: () => void,
): Archive {
  const found = (path: string) => {
    const file = find(path);
    if (file === undefined) throw missing(name, path);
    return file;
  };
  return {
    name,
    has: (path) => find(path) !== undefined,
    size: (path) => found(path).size,
    stream: (path) => found(path).stream(),
    async document(path, limit) {
      const file = found(path);
      if (file.size > limit) {
        const message = `read ${path} in ${name}: ${file.size} bytes, more than ${limit}`;
        throw new TsboxError('ERR_TSBOX_LIMIT', message);
      }
      const chunks: Buffer[] = [];
      for await (const chunk of file.stream()) chunks.push(chunk);
      return Buffer.concat(chunks);
    },
    close,
  };
}

const MOST_LINKS = 20;

/** Follows links within the archive; undefined for what is not there, or leads in circles. */
function follow(index: ArchiveIndex, path: string): Extract<Indexed, { kind: 'file' }> | undefined {
  let found = index.get(posix.normalize(path));
  for (let links = 0; found?.kind === 'link' && links < MOST_LINKS; links++) found = index.get(found.target);
  return found?.kind === 'file' ? found : undefined;
}

async function openTar(fd: number, size: number, name: string): Promise<Archive> {
  const index = await indexArchive(fd, size, name);
  return archiveOf(
    name,
    (path) => {
      const file = follow(index, path);
      if (file === undefined) return undefined;
      return { size: file.size, stream: () => readRange(fd, file.offset, file.size, name) };
    },
    () => closeSync(fd),
  );
}

/** Symlinks in the directory lead nowhere but into it. */
function openDirectory(path: string): Archive {
  const root = openat(-100, path, OPEN.PATH | OPEN.DIRECTORY);
  const open = (file: string): number | undefined => {
    try {
      const fd = openat2(root, file, OPEN.RDONLY | OPEN.NONBLOCK, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS);
      if (fstatSync(fd).isFile()) return fd;
      closeSync(fd);
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].some((name) => isErrno(error, name))) throw error;
    }
    return undefined;
  };
  return archiveOf(
    path,
    (file) => {
      const fd = open(file);
      if (fd === undefined) return undefined;
      const { size } = fstatSync(fd);
      closeSync(fd);
      return { size, stream: () => streamFile(open, file, size, path) };
    },
    () => closeSync(root),
  );
}

async function* streamFile(
  open: (file: string) => number | undefined,
  file: string,
  size: number,
  name: string,
): AsyncGenerator<Buffer> {
  const fd = open(file);
  if (fd === undefined) throw missing(name, file);
  try {
    yield* readRange(fd, 0, size, `${name}/${file}`);
  } finally {
    closeSync(fd);
  }
}

/** @throws ERR_TSBOX_UNSUPPORTED for a compression that is not read */
function isCompressed(fd: number): boolean {
  const head = Buffer.alloc(6);
  return detectCompression(head.subarray(0, readSync(fd, head, 0, head.length, 0))) !== 'none';
}

/** A new file in the data root that has no name and so leaves nothing behind. */
function openSpool(dataRoot: string): number {
  const directory = `${dataRoot}/tmp`;
  const path = `${directory}/.tmp-spool-${randomHex(8)}`;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
}

/** Decompresses and keeps a stream. */
async function openSpooled(
  source: AsyncIterable<Buffer>,
  name: string,
  { dataRoot, limits }: Pick<EngineOptions, 'dataRoot' | 'limits'>,
  signal: AbortSignal,
): Promise<Archive> {
  let fd: number | undefined;
  try {
    fd = openSpool(dataRoot);
    let size = 0;
    for await (const chunk of decompress(abortable(source, signal), limits)) {
      for (let at = 0; at < chunk.length; )
        at += (await writeAt(fd, chunk, at, chunk.length - at, size + at)).bytesWritten;
      size += chunk.length;
    }
    return await openTar(fd, size, name);
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw refusal(`read ${name}`, error);
  }
}

/** Standard input that is a file which nobody has begun to read is as good as the file's name. */
function isFreshFile(fd: number, stat: Stats): boolean {
  return stat.isFile() && /^pos:\s*0$/m.test(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'));
}

const STDIN = 0;

/** Opens an archive. The caller closes it.
 *  @param input path of a file or directory; standard input when absent @param options where a copy is kept, and how large it may be
 *  @throws ERR_TSBOX_DAMAGED when it is no tar archive or cut off; SyscallError */
export async function openArchive(
  input: string | undefined,
  options: Pick<EngineOptions, 'dataRoot' | 'limits'>,
  signal: AbortSignal,
): Promise<Archive> {
  const name = input ?? 'standard input';
  const stat = input === undefined ? fstatSync(STDIN) : statInput(input);
  if (stat.isDirectory()) return openDirectory(input ?? '/proc/self/fd/0');
  const seekable = input === undefined ? isFreshFile(STDIN, stat) : stat.isFile();
  if (!seekable) {
    return openSpooled(input === undefined ? process.stdin : createReadStream(input), name, options, signal);
  }
  const fd = openSync(input ?? '/proc/self/fd/0', 'r');
  try {
    if (!isCompressed(fd)) return await openTar(fd, stat.size, name);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return openSpooled(createReadStream('', { fd, start: 0, highWaterMark: 0x40000 }), name, options, signal);
}

function statInput(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw isErrno(error, 'ENOENT') ? refusal(`open ${path}`, error) : wrapError(`open ${path}`, error);
  }
}
