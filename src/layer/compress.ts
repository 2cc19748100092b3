/**
 * gzip for layers that are sent: the same bytes give the same bytes, nothing but data is in the header, and a layer keeps several
 * threads busy. Each block is compressed by itself, with the end of the one before it as its dictionary, as pigz does it.
 * @see RFC 1951, RFC 1952
 */
import { promisify } from 'node:util';
import { constants, crc32, deflateRaw } from 'node:zlib';

const LEVEL = 6;
/** Bytes of a block, as many as a chunk of `reassembleLayer` has. Part of the result: with another value it has another digest. */
const BLOCK = 256 * 1024;
/** As far back as deflate looks. */
const WINDOW = 32 * 1024;
/** Blocks of one stream that are compressed at a time: libuv has four threads. */
const AT_ONCE = 3;

/** No name, no time, unknown system. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
/** An empty last block. */
const END = Buffer.from([3, 0]);

const deflate = promisify(deflateRaw) as (data: Buffer, options: object) => Promise<Buffer>;

function compressBlock(block: Buffer, before: Buffer | undefined): Promise<Buffer> {
  const dictionary = before === undefined ? {} : { dictionary: before };
  const compressed = deflate(block, { level: LEVEL, finishFlush: constants.Z_SYNC_FLUSH, ...dictionary });
  // Whoever awaits it hears of a failure; the one that was left early does not want to.
  compressed.catch(() => {});
  return compressed;
}

/** The stream as gzip. Memory is bounded: a few MB. @throws what the source throws */
export async function* gzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  const pending: Promise<Buffer>[] = [];
  let checksum = 0;
  let size = 0;
  let before: Buffer | undefined;
  yield HEADER;
  for await (const block of inBlocks(source)) {
    checksum = crc32(block, checksum);
    size += block.length;
    pending.push(compressBlock(block, before));
    before = block.subarray(-WINDOW);
    if (pending.length === AT_ONCE) yield await pending.shift()!;
  }
  for (const compressed of pending) yield await compressed;
  const sums = Buffer.alloc(8);
  sums.writeUInt32LE(checksum, 0);
  sums.writeUInt32LE(size % 2 ** 32, 4);
  yield Buffer.concat([END, sums]);
}

/** The bytes in pieces of `BLOCK`, whatever pieces they come in. */
async function* inBlocks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let parts: Buffer[] = [];
  let held = 0;
  for await (const chunk of source) {
    for (let rest = chunk; rest.length > 0; ) {
      const piece = rest.subarray(0, BLOCK - held);
      parts.push(piece);
      held += piece.length;
      rest = rest.subarray(piece.length);
      if (held < BLOCK) continue;
      yield joined(parts);
      [parts, held] = [[], 0];
    }
  }
  if (held > 0) yield joined(parts);
}

function joined(parts: Buffer[]): Buffer {
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
