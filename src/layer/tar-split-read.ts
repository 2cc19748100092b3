/** Reads tar-split files, and gives a layer back byte for byte with them. */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { printable } from '../sys/ffi.ts';
import { AT_EMPTY_PATH, AT_FDCWD, close, OPEN, openat, openat2, RESOLVE } from '../sys/file.ts';
import { isRegular, statAt } from '../sys/stat.ts';
import { crc64Bytes, newCrc64, updateCrc64 } from './crc64.ts';
import { bytesOf, damaged } from './entry.ts';
import { createOutput, type Output } from './output.ts';

/** A line: raw bytes of the archive, or an entry with the length and checksum of the data that lies in its file. */
export type SplitLine =
  | { type: 2; payload: Buffer }
  | { type: 1; name: string; size: number; payload: Buffer | undefined };

const NEWLINE = 0x0a;
const MAX_LINE = 64 * 1024 * 1024;
const CHUNK = 0x40000;

function parseLine(text: string, path: string): SplitLine {
  const bad = (): TsboxError => new TsboxError('ERR_TSBOX_DAMAGED', `${path}: not a tar-split file`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad();
  }
  if (typeof value !== 'object' || value === null) throw bad();
  const { type, name, name_raw: nameRaw, size = 0, payload } = value as Record<string, unknown>;
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'base64') : undefined;
  if (type === 2 && bytes !== undefined) return { type, payload: bytes };
  if (type !== 1 || !Number.isSafeInteger(size) || (size as number) < 0) throw bad();
  if (typeof nameRaw === 'string') {
    return { type, name: Buffer.from(nameRaw, 'base64').toString('latin1'), size: size as number, payload: bytes };
  }
  if (name !== undefined && typeof name !== 'string') throw bad();
  return { type, name: Buffer.from(name ?? '').toString('latin1'), size: size as number, payload: bytes };
}

/** The lines of a tar-split file, as many at a time as are there. @throws ERR_TSBOX_DAMAGED */
export async function* readTarSplit(path: string): AsyncGenerator<SplitLine[]> {
  const file = createReadStream(path);
  const stream = createGunzip({ chunkSize: CHUNK });
  file.on('error', (error) => stream.destroy(error));
  file.pipe(stream);
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let start = 0;
      const lines: SplitLine[] = [];
      for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
        lines.push(parseLine(bytes.toString('utf8', start, end), path));
        start = end + 1;
      }
      yield lines;
      rest = Buffer.from(bytes.subarray(start));
      if (rest.length > MAX_LINE) throw new TsboxError('ERR_TSBOX_DAMAGED', `${path}: not a tar-split file`);
    }
  } catch (error) {
    if (error instanceof TsboxError || isErrno(error, 'ENOENT')) throw error;
    throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    file.destroy();
    stream.destroy();
  }
  if (rest.length > 0) yield [parseLine(rest.toString(), path)];
}

function changed(name: string): TsboxError {
  const message = `file integrity checksum failed for "${printable(bytesOf(name))}"`;
  const hint = 'The file was changed after the layer was unpacked. Remove the image and pull it again.';
  return new TsboxError('ERR_TSBOX_DAMAGED', message, { hint });
}

function openFile(root: number, name: string, size: number): number {
  let fd: number;
  try {
    // As it stands in the archive: a file may be called `./a` or `a/.`.
    const path = name
      .split('/')
      .filter((part) => part !== '' && part !== '.')
      .join('/');
    fd = openat2(root, bytesOf(path), OPEN.RDONLY | OPEN.NONBLOCK, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].some((code) => isErrno(error, code))) throw error;
    throw wrapError(
      `file integrity checksum failed for "${printable(bytesOf(name))}"`,
      damaged(name, 'its file is gone'),
    );
  }
  const status = statAt(fd, '', AT_EMPTY_PATH);
  if (isRegular(status) && status.size === size) return fd;
  close(fd);
  throw changed(name);
}

/** The exact bytes of a layer, from the directory that it was unpacked into and its tar-split file, in large chunks that are good
 *  as long as output.ts says. Each file is checked, after its bytes were given: the caller throws away what it has when this throws.
 *  @throws ERR_TSBOX_DAMAGED `file integrity checksum failed for "NAME"` when a file is not as it was unpacked */
export async function* reassembleLayer(layerDiffDir: string | Buffer, tarSplitPath: string): AsyncGenerator<Buffer> {
  const root = openat(AT_FDCWD, layerDiffDir, OPEN.RDONLY | OPEN.DIRECTORY);
  const output = createOutput();
  try {
    for await (const lines of readTarSplit(tarSplitPath)) {
      for (const line of lines) {
        if (line.type === 2) yield* output.put(line.payload);
        else if (line.size > 0) yield* copyFile(root, line.name, line.size, line.payload, output);
      }
    }
    yield* output.rest();
  } finally {
    close(root);
  }
}

function* copyFile(
  root: number,
  name: string,
  size: number,
  wanted: Buffer | undefined,
  output: Output,
): Generator<Buffer> {
  const fd = openFile(root, name, size);
  try {
    const crc = newCrc64();
    const missing = yield* output.copy(fd, size, bytesOf(name), (chunk, start, end) =>
      updateCrc64(crc, chunk, start, end),
    );
    if (missing > 0 || wanted === undefined || !crc64Bytes(crc).equals(wanted)) throw changed(name);
  } finally {
    close(fd);
  }
}
