/** Layers come plain or compressed: how, their first bytes say. */
import type { Transform } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';
import { TsboxError } from '../errors.ts';
import { InflateError, openInflater } from '../sys/inflate.ts';
import type { Sha256 } from '../sys/sha256.ts';
import { runDecompressor } from './decompress-command.ts';
import { overLimit } from './limits.ts';

export interface DecompressOptions {
  /** The most that may come out, in bytes; 64 GiB when absent. */
  maxBytes?: number;
  /** How many times larger than what went in, judged once {@link RATIO_FROM} bytes are out; 500 when absent. Gzip reaches 1030. */
  maxRatio?: number;
  /** Gets all that comes out, before or after it is given away: where there is a thread for it anyhow, on that. */
  sum?: Sha256;
}

export type Compression = 'gzip' | 'zstd' | 'bzip2' | 'xz' | 'none';

const DEFAULTS = { maxBytes: 64 * 2 ** 30, maxRatio: 500 };

/** Less than this is no bomb, however well it was packed. */
export const RATIO_FROM = 2 ** 30;

const OUTPUT = { chunkSize: 0x40000, highWaterMark: 0x100000 };
/** Input that is handed to an engine at a time, at the least, and how many pieces of it. */
const PIECE = 0x20000;
const AHEAD = 4;
const MAGIC = 6;
const MAGIC_OF_GZIP = 0x1f;
const GUNZIP_PIECE = 0x80000;
const MOST_SPARE = 16;
const NOTHING = Buffer.alloc(0);

type Engine = Transform & { bytesWritten: number };

function startsWith(bytes: Buffer, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && magic.every((byte, i) => bytes[i] === byte);
}

/** What the first (at least six) bytes of a stream say. */
export function detectCompression(head: Buffer): Compression {
  if (startsWith(head, [0x1f, 0x8b])) return 'gzip';
  if (startsWith(head, [0x28, 0xb5, 0x2f, 0xfd])) return 'zstd';
  // A zstd stream may begin with a skippable frame.
  if (startsWith(head.subarray(1), [0x2a, 0x4d, 0x18]) && head[0]! >>> 4 === 5) return 'zstd';
  if (startsWith(head, [0x42, 0x5a, 0x68])) return 'bzip2';
  if (startsWith(head, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])) return 'xz';
  return 'none';
}

/** The bytes of `stream`, each piece good until the next is asked for; unpacked when it is gzip (of any number of members), zstd (of any number of frames), bzip2 or xz, else as they are.
 *  @throws ERR_TSBOX_DAMAGED for a stream that is cut off, wrong, or has something else after its end
 *  @throws ERR_TSBOX_LIMIT for more than the limits; ERR_TSBOX_UNSUPPORTED when bzip2 or xz is not installed; and what `stream` itself throws, unchanged */
export async function* decompress(
  stream: AsyncIterable<Buffer>,
  options: DecompressOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  const limits = { ...DEFAULTS, ...options };
  const input = createInput(stream);
  let out = 0;
  try {
    const kind = detectCompression(await input.peek(MAGIC));
    for await (const chunk of unpackedBy(kind, input, options.sum)) {
      if (kind !== 'gzip') options.sum?.addHere(chunk);
      out += chunk.length;
      if (out > limits.maxBytes)
        throw overLimit(`the archive unpacks to more than ${limits.maxBytes} bytes`, '--max-layer-size');
      if (kind !== 'none' && out > RATIO_FROM && out > input.taken() * limits.maxRatio) {
        throw overLimit(`the archive unpacks to more than ${limits.maxRatio} times its size`, '--max-layer-ratio');
      }
      yield chunk;
    }
  } finally {
    await input.close();
  }
}

function unpackedBy(kind: Compression, input: Input, sum?: Sha256): AsyncGenerator<Buffer> {
  if (kind === 'none') return input.rest();
  if (kind === 'gzip') return gunzip(input, sum);
  return kind === 'zstd' ? unzstd(input) : runDecompressor(kind, input.rest());
}

/** The source, with a way to look ahead and to put a part back. */
interface Input {
  peek(length: number): Promise<Buffer>;
  next(): Promise<Buffer | undefined>;
  putBack(chunk: Buffer): void;
  rest(): AsyncGenerator<Buffer>;
  /** Bytes that were taken from the source. */
  taken(): number;
  close(): Promise<void>;
}

function createInput(stream: AsyncIterable<Buffer>): Input {
  const source = stream[Symbol.asyncIterator]();
  let held: Buffer | undefined;
  let taken = 0;
  let ended = false;

  async function pull(): Promise<Buffer | undefined> {
    while (!ended) {
      const { done, value } = await source.next();
      if (done === true) ended = true;
      else if (value.length > 0) {
        taken += value.length;
        return value;
      }
    }
    return undefined;
  }

  async function next(): Promise<Buffer | undefined> {
    const chunk = held;
    held = undefined;
    return chunk ?? (await pull());
  }

  return {
    async peek(length) {
      while (held === undefined || held.length < length) {
        const chunk = await pull();
        if (chunk === undefined) break;
        held = held === undefined ? chunk : Buffer.concat([held, chunk]);
      }
      return held ?? Buffer.alloc(0);
    },
    next,
    putBack: (chunk) => {
      held = chunk;
    },
    async *rest() {
      for (let chunk = await next(); chunk !== undefined; chunk = await next()) yield chunk;
    },
    taken: () => taken,
    async close() {
      if (!ended) await source.return?.();
    },
  };
}

/** Two outputs: while one is looked at, the other one is filled, in one call as a rule: that thread must not wait for this one. */
async function* gunzip(input: Input, sum?: Sha256): AsyncGenerator<Buffer> {
  const inflater = openInflater(sum);
  const outputs = [takeMemory(), takeMemory()] as const;
  const inputs = [takeMemory(), takeMemory()] as const;
  const pieces = readAhead(input, inputs);
  let piece: Buffer = NOTHING;
  let used = 0;
  let inside = true;

  /** Begins at once where there is input already. @returns what comes out next; nothing at the end of the stream */
  async function fill(output: Buffer): Promise<Buffer> {
    for (;;) {
      if (used === piece.length) {
        piece = pieces.ready() ?? (await pieces.next());
        used = 0;
      }
      if (piece.length === 0) break;
      if (!inside && piece[used] !== MAGIC_OF_GZIP) throw damagedGzip('something else follows its end');
      const inflated = await inflater.inflate(piece, used, output);
      used += inflated.used;
      inside = !inflated.end;
      if (inflated.made > 0) return output.subarray(0, inflated.made);
    }
    if (inside) throw damagedGzip('unexpected end of file');
    return NOTHING;
  }

  let filling = fill(outputs[0]!);
  try {
    for (let number = 1; ; number++) {
      const filled = await filling;
      if (filled.length === 0) return;
      filling = fill(outputs[number % 2]!);
      filling.catch(() => {}); // told when it is asked for
      yield filled;
    }
  } catch (error) {
    throw error instanceof InflateError ? damagedGzip(error.message, error) : error;
  } finally {
    await filling.catch(() => {});
    inflater.close();
    const unused = pieces.idle() ? [...outputs, ...inputs] : outputs;
    spare.push(...unused.slice(0, MOST_SPARE - spare.length));
  }
}

interface Pieces {
  /** The next piece if it is there. Nothing (no bytes) is the end. */
  ready(): Buffer | undefined;
  next(): Promise<Buffer>;
  /** Is the memory sure not to be written to any more? */
  idle(): boolean;
}

/** The next piece is asked for before it is needed. A piece is good until the one after the next is asked for. */
function readAhead(input: Input, memory: readonly [Buffer, Buffer]): Pieces {
  let found: Buffer | undefined;
  let coming: Promise<void>;
  let number = 0;

  function ask(): void {
    coming = fillPiece(input, memory[number++ % 2]!).then((piece) => {
      found = piece;
    });
    coming.catch(() => {}); // told when it is asked for
  }

  function ready(): Buffer | undefined {
    const piece = found;
    if (piece === undefined) return undefined;
    found = undefined;
    if (piece.length > 0) ask();
    else found = NOTHING;
    return piece;
  }

  ask();
  return {
    ready,
    async next() {
      await coming;
      return ready()!;
    },
    idle: () => found !== undefined,
  };
}

function damagedGzip(what: string, cause?: Error): TsboxError {
  return new TsboxError('ERR_TSBOX_DAMAGED', `gzip stream: ${what}`, { cause });
}

/** Memory that has been used is quicker than new memory, which the kernel fills with zeros first. */
const spare: Buffer[] = [];

function takeMemory(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(GUNZIP_PIECE);
}

async function* unzstd(input: Input): AsyncGenerator<Buffer> {
  // Node's engine stops at the end of a frame that is not the end of a chunk.
  do yield* unpack(input, createZstdDecompress(OUTPUT), 'zstd');
  while ((await input.peek(1)).length > 0);
}

/** Runs one engine until it or the input is at its end; what the engine left over is put back. */
async function* unpack(input: Input, engine: Engine, kind: Compression): AsyncGenerator<Buffer> {
  let failure: unknown;
  const feeding = feed(input, engine).catch((error: unknown) => {
    failure = error;
    engine.destroy();
  });
  try {
    for await (const chunk of engine as AsyncIterable<Buffer>) yield chunk;
    await feeding;
  } catch (error) {
    if (failure !== undefined) throw failure;
    throw refusalOf(error as NodeJS.ErrnoException, kind);
  } finally {
    engine.destroy();
  }
  if (failure !== undefined) throw failure;
}

function refusalOf(error: NodeJS.ErrnoException, kind: Compression): TsboxError {
  if (error.code === 'ZSTD_error_frameParameter_windowTooLarge') {
    const hint = 'Pack it with a window of 128 MiB at most: zstd --long=27.';
    return new TsboxError('ERR_TSBOX_LIMIT', 'zstd stream: it takes too much memory to unpack', { hint, cause: error });
  }
  return new TsboxError('ERR_TSBOX_DAMAGED', `${kind} stream: ${error.message}`, { cause: error });
}

/** Gives the engine its input. It has the next piece before it is done with one: its thread never waits for this one. */
async function feed(input: Input, engine: Engine): Promise<void> {
  const over = new Promise<void>((resolve) => {
    engine.once('end', resolve);
    engine.once('close', resolve);
  });
  const given: { piece: Buffer; done: Promise<unknown> }[] = [];
  let used = 0;

  /** Waits for the oldest piece. @returns whether the engine has taken all of it */
  async function isUsed(): Promise<boolean> {
    const { piece, done } = given[0]!;
    await Promise.race([over, done]);
    if (engine.bytesWritten - used < piece.length) return false;
    used += piece.length;
    given.shift();
    return true;
  }

  let goesOn = true;
  for (let piece = await nextPiece(input); goesOn && piece !== undefined; ) {
    if (engine.destroyed) return;
    const bytes = piece;
    given.push({ piece, done: new Promise((resolve) => engine.write(bytes, resolve)) });
    if (given.length === AHEAD) goesOn = await isUsed();
    if (goesOn) piece = await nextPiece(input);
  }
  while (goesOn && given.length > 0) goesOn = await isUsed();
  if (!goesOn) input.putBack(Buffer.concat(given.map(({ piece }) => piece)).subarray(engine.bytesWritten - used));
  engine.end();
}

/** As {@link nextPiece}, in memory that is there. @returns nothing at the end */
async function fillPiece(input: Input, memory: Buffer): Promise<Buffer> {
  let filled = 0;
  while (filled < memory.length) {
    const chunk = await input.next();
    if (chunk === undefined) break;
    const taken = chunk.copy(memory, filled);
    filled += taken;
    if (taken < chunk.length) input.putBack(chunk.subarray(taken));
  }
  return memory.subarray(0, filled);
}

/** What the source gives, several chunks together: each piece costs the way to another thread and back. */
async function nextPiece(input: Input): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  for (let length = 0; length < PIECE; ) {
    const chunk = await input.next();
    if (chunk === undefined) break;
    chunks.push(chunk);
    length += chunk.length;
  }
  return chunks.length > 1 ? Buffer.concat(chunks) : chunks[0];
}
