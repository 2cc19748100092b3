/** Bytes against their descriptor. */
import { createHash, type Hash } from 'node:crypto';
import { TsboxError } from '../errors.ts';
import { type DigestAlgorithm, parseDigest } from '../spec/digest.ts';
import type { Descriptor } from '../spec/oci-image.ts';

type Expected = Pick<Descriptor, 'digest' | 'size'>;

/** The digest of bytes. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** @throws ERR_TSBOX_DAMAGED when a whole document is not the one that was asked for. @param what verb and object */
export function verifyDocument(bytes: Uint8Array, expected: Expected, what: string): void {
  if (bytes.length !== expected.size) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: has ${bytes.length} bytes, should have ${expected.size}`);
  }
  const digest = digestOf(bytes, parseDigest(expected.digest).algorithm);
  if (digest !== expected.digest) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: has the digest ${digest}, should have ${expected.digest}`);
  }
}

/** What a descriptor carries itself; undefined when it carries nothing.
 *  @throws ERR_TSBOX_DAMAGED when that is not what it describes @see image-spec descriptor.md, Embedded Content */
export function embeddedData({ data, ...expected }: Descriptor, what: string): Buffer | undefined {
  if (typeof data !== 'string') return undefined;
  const bytes = Buffer.from(data, 'base64');
  verifyDocument(bytes, expected, `${what}: the data within its descriptor`);
  return bytes;
}

/** A stream that is checked as it passes. */
export interface Check {
  /** Bytes that passed. */
  received: number;
  /** Counts and hashes. @throws ERR_TSBOX_DAMAGED as soon as there is more than there should be */
  add(chunk: Uint8Array): void;
  /** @throws ERR_TSBOX_DAMAGED when size or digest are not what they should be */
  finish(): void;
}

/** The part of a stream that is there already. */
export interface Prefix {
  size: number;
  /** Fed with these bytes, in the algorithm of the digest; used up by the check. */
  hash: Hash;
}

/** Begins to check a stream. @param what verb and object @param prefix what was received earlier, when the stream goes on from there */
export function createCheck(expected: Expected, what: string, prefix?: Prefix): Check {
  const { algorithm } = parseDigest(expected.digest);
  const hash = prefix?.hash ?? createHash(algorithm);
  const check: Check = {
    received: prefix?.size ?? 0,
    add(chunk) {
      if (check.received + chunk.length > expected.size) {
        throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: longer than the ${expected.size} bytes of its descriptor`);
      }
      hash.update(chunk);
      check.received += chunk.length;
    },
    finish() {
      if (check.received !== expected.size) {
        const message = `${what}: ends after ${check.received} of ${expected.size} bytes`;
        throw new TsboxError('ERR_TSBOX_DAMAGED', message);
      }
      const digest = `${algorithm}:${hash.digest('hex')}`;
      if (digest !== expected.digest) throw new TsboxError('ERR_TSBOX_DAMAGED', `${what}: has the digest ${digest}`);
    },
  };
  return check;
}
