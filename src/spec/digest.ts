/** Content digests: `sha256:<64 hex digits>`. Text only; whoever has bytes computes the hash. */
import { TsboxError } from '../errors.ts';

export type DigestAlgorithm = 'sha256' | 'sha512';

export interface ParsedDigest {
  algorithm: DigestAlgorithm;
  /** Lower case, exactly as long as the algorithm's output. */
  hex: string;
}

const HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const SHAPE = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
const LONGEST = 7 + 128;

/** Why `text` is no digest, in Docker's words; undefined when it is one. */
export function digestFault(text: string): string | undefined {
  // The longest good digest is short, so a long text is not worth a regular expression.
  if (text.length > 4 * LONGEST || !SHAPE.test(text)) return 'invalid checksum digest format';
  const colon = text.indexOf(':');
  const algorithm = text.slice(0, colon);
  if (algorithm !== 'sha256' && algorithm !== 'sha512') return 'unsupported digest algorithm';
  if (text.length - colon - 1 !== HEX_LENGTH[algorithm]) return 'invalid checksum digest length';
  return /^[0-9a-f]+$/.test(text.slice(colon + 1)) ? undefined : 'invalid checksum digest format';
}

/** Is `text` a digest of a known algorithm with all its digits? Safe to use as a file name part after that. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && digestFault(text) === undefined;
}

/** Splits a digest.
 *  @throws ERR_TSBOX_SPEC for another shape, algorithm, length, or upper case digits
 *  @see image-spec descriptor.md, Digests */
export function parseDigest(text: string): ParsedDigest {
  const fault = digestFault(text);
  if (fault !== undefined) throw new TsboxError('ERR_TSBOX_SPEC', `${fault}: ${text.slice(0, 200)}`);
  const colon = text.indexOf(':');
  return { algorithm: text.slice(0, colon) as DigestAlgorithm, hex: text.slice(colon + 1) };
}
