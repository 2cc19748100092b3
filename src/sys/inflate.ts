/** gzip streams, unpacked on another thread into memory that is used again. */
import { bind, bindSlow, check, OWN } from './ffi.ts';
import type { Sha256 } from './sha256.ts';

export interface Inflated {
  /** Bytes of the input that were taken. */
  used: number;
  /** Bytes of the output that were written. */
  made: number;
  /** Was it the end of a gzip member? Then the next call begins another one. */
  end: boolean;
}

export interface Inflater {
  /** Unpacks `input` from an offset until it is used up or `output` is full. Neither may change meanwhile, and no second call may be
   *  made. @throws InflateError */
  inflate(input: Buffer, from: number, output: Buffer): Promise<Inflated>;
  /** Not while a call is under way. */
  close(): void;
}

/** The stream is damaged; the message is zlib's. */
export class InflateError extends Error {}

const END = 1;
const BAD = 2;
const MESSAGE = 8;

const open = bind('int64_t', 'tsbox_inflate_open', [], OWN);
const sumInto = bind('int', 'tsbox_inflate_sum', ['int64_t', 'int64_t'], OWN);
const end = bind('void', 'tsbox_inflate_close', ['int64_t'], OWN);
const POINTER = 'const void *';
const ARGUMENTS = ['int64_t', POINTER, 'uint32_t', 'uint32_t', 'void *', 'uint32_t', 'void *'];
const inflate = bindSlow('int', 'tsbox_inflate', ARGUMENTS, OWN);

/** @param sum gets all that comes out, on that thread @throws SyscallError without memory for it */
export function openInflater(sum?: Sha256): Inflater {
  const handle = open();
  if (handle === 0) check(-1, 'inflateInit2', () => 'begin to unpack gzip');
  if (sum !== undefined) check(sumInto(handle, sum.context), 'EVP_DigestUpdate', () => 'sum what gzip unpacks to');
  const result = Buffer.alloc(MESSAGE + 64);
  return {
    async inflate(input, from, output) {
      const state = await inflate('unpack gzip', handle, input, from, input.length, output, output.length, result);
      if (state === BAD) throw new InflateError(result.toString('latin1', MESSAGE, result.indexOf(0, MESSAGE)));
      return { used: result.readUInt32LE(0), made: result.readUInt32LE(4), end: state === END };
    },
    close: () => end(handle),
  };
}
