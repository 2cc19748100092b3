/** The bytes of a blob into an upload session: in one request, as a stream, or in chunks. */
import { createHash, type Hash } from 'node:crypto';
import { TsboxError } from '../errors.ts';
import { familiarName } from '../spec/reference.ts';
import type { HttpResponse } from './exchange.ts';
import { blobSize } from './known-blob.ts';
import { readRefusal, statusError } from './refusal.ts';
import { backoff, pause } from './retry.ts';
import { Interrupted, locationOf, type Place, pushError, send, sendBody, type Target } from './upload-session.ts';

/** What to send. */
export interface BlobUpload {
  /** Where it is known before. */
  digest?: string;
  /** Bytes; where it is known before. */
  size?: number;
  /** The bytes from the beginning; opened again when the upload has to be started again. */
  open: () => AsyncIterable<Uint8Array>;
}

export interface Upload extends Target {
  /** Bytes. */
  chunkSize: number;
  progress: (sent: number) => void;
}

/** What came of it. */
export interface Uploaded {
  digest: string;
  /** Bytes. */
  size: number;
}

const BYTES = { 'content-type': 'application/octet-stream' };

function withDigest(url: URL, digest: string): URL {
  const target = new URL(url);
  target.searchParams.set('digest', digest);
  return target;
}

async function finished(upload: Upload, response: HttpResponse, digest: string): Promise<void> {
  if (response.status !== 201 && response.status !== 204) {
    const refusal = await readRefusal(response);
    if (refusal.codes.includes('DIGEST_INVALID')) {
      const message = `push ${familiarName(upload.reference)}: the registry received something else than ${digest}`;
      throw new TsboxError('ERR_TSBOX_DAMAGED', message);
    }
    throw pushError(upload.reference, refusal);
  }
  response.discard();
}

/** Ends a session whose bytes are all sent. */
async function complete(upload: Upload, url: URL, { digest, size }: Uploaded): Promise<Uploaded> {
  const response = await send(upload, { method: 'PUT', target: withDigest(url, digest), body: Buffer.alloc(0) });
  // The session is gone when it was ended by an earlier try whose answer was lost.
  const isGone = response.status === 404;
  const there = isGone ? await blobSize(upload.session, upload.reference, digest, upload) : undefined;
  if (isGone && there === size) response.discard();
  else await finished(upload, response, digest);
  return { digest, size };
}

/** Sends a blob in one request.
 *  @throws Interrupted; ERR_TSBOX_DAMAGED when the source is not as long as it says */
export async function uploadWhole(upload: Upload, { url }: Place, blob: Required<BlobUpload>): Promise<Uploaded> {
  async function* counted(): AsyncGenerator<Uint8Array> {
    let sent = 0;
    for await (const chunk of blob.open()) {
      sent += chunk.length;
      if (sent > blob.size) break;
      yield chunk;
      upload.progress(sent);
    }
    if (sent === blob.size) return;
    const message = `push blob ${blob.digest}: its source does not have the ${blob.size} bytes that it should have`;
    throw new TsboxError('ERR_TSBOX_DAMAGED', message);
  }
  const response = await sendBody(upload, {
    method: 'PUT',
    target: withDigest(url, blob.digest),
    headers: BYTES,
    body: { size: blob.size, open: counted },
  });
  await finished(upload, response, blob.digest);
  return { digest: blob.digest, size: blob.size };
}

/** Answers that say something against a body without a length, or against its size, and nothing against the blob. */
const REFUSES_STREAM: readonly number[] = [411, 413, 416, 501];

/** Sends a blob of unknown length as one stream of unknown length: what it is made from is read while it is on its way.
 *  @returns undefined when the registry does not take that
 *  @throws Interrupted; what the source throws */
export async function uploadStream(upload: Upload, { url }: Place, blob: BlobUpload): Promise<Uploaded | undefined> {
  let pass: { hash: Hash; sent: number; ended: boolean } | undefined;
  // The request may be made twice, for a new proof of who we are; what is left of the first time must not count.
  async function* hashed(): AsyncGenerator<Uint8Array> {
    const own = { hash: createHash('sha256'), sent: 0, ended: false };
    pass = own;
    for await (const chunk of blob.open()) {
      own.hash.update(chunk);
      own.sent += chunk.length;
      yield chunk;
      upload.progress(own.sent);
    }
    own.ended = true;
  }
  const response = await sendBody(upload, { method: 'PATCH', target: url, headers: BYTES, body: { open: hashed } });
  if (REFUSES_STREAM.includes(response.status)) {
    response.discard();
    return undefined;
  }
  if (response.status !== 202 && response.status !== 204) {
    throw pushError(upload.reference, await readRefusal(response));
  }
  response.discard();
  if (pass?.ended !== true || !tookAll(response, pass.sent)) {
    throw new Interrupted(statusError(`push ${familiarName(upload.reference)}`, tookLess(response)));
  }
  const digest = `sha256:${pass.hash.digest('hex')}`;
  return complete(upload, locationOf(upload, response), { digest, size: pass.sent });
}

/** Sends a blob of unknown length in chunks. A chunk that was cut is gone on with where the registry has it.
 *  @throws Interrupted; what the source throws @see distribution-spec, Pushing a blob in chunks */
export async function uploadInChunks(upload: Upload, { url, shortest }: Place, blob: BlobUpload): Promise<Uploaded> {
  const hash = createHash('sha256');
  let sent = 0;
  let at = url;
  for await (const chunk of inChunks(blob.open(), Math.max(upload.chunkSize, shortest))) {
    hash.update(chunk);
    at = await sendChunk(upload, at, chunk, sent);
    sent += chunk.length;
    upload.progress(sent);
  }
  return complete(upload, at, { digest: `sha256:${hash.digest('hex')}`, size: sent });
}

async function* inChunks(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const part of source) {
    for (let rest = part; rest.length > 0; ) {
      const piece = rest.subarray(0, size - held);
      // The source may use its buffer again.
      parts.push(Buffer.from(piece));
      held += piece.length;
      rest = rest.subarray(piece.length);
      if (held < size) continue;
      yield Buffer.concat(parts);
      [parts, held] = [[], 0];
    }
  }
  if (held > 0) yield Buffer.concat(parts);
}

/** @param start where the chunk begins in the blob @returns where the next one goes */
async function sendChunk(upload: Upload, url: URL, chunk: Buffer, start: number): Promise<URL> {
  let at = url;
  let done = 0;
  for (let attempt = 1; ; attempt++) {
    try {
      const range = `${start + done}-${start + chunk.length - 1}`;
      const response = await sendBody(upload, {
        method: 'PATCH',
        target: at,
        headers: { ...BYTES, 'content-range': range },
        body: chunk.subarray(done),
      });
      if (response.status !== 202 && response.status !== 204) {
        throw pushError(upload.reference, await readRefusal(response));
      }
      response.discard();
      at = locationOf(upload, response);
      if (tookAll(response, start + chunk.length)) return at;
      const before = done;
      done = within(chunk, start, taken(response) ?? 0);
      if (done <= before) throw statusError(`push ${familiarName(upload.reference)}`, tookLess(response));
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (attempt >= upload.session.retry.attempts) throw error.failure;
      await pause(Math.max(error.wait, backoff(attempt, upload.session.retry)), upload.signal);
      [at, done] = await ask(upload, at, chunk, start, error);
      if (done === chunk.length) return at;
    }
  }
}

function tookLess(response: HttpResponse) {
  return { status: response.status, codes: [], text: 'and took less than was sent', host: response.url.host };
}

/** Bytes of the blob that the registry says it has; undefined when it does not say. `0-0` is what registries write for nothing, too. */
function taken(response: HttpResponse): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(String(response.headers['range'] ?? ''))?.[1];
  if (last === undefined) return undefined;
  return last === '0' ? 0 : Number(last) + 1;
}

/** Does the registry have `bytes` bytes of the blob, or does it not say? */
function tookAll(response: HttpResponse, bytes: number): boolean {
  const has = taken(response);
  return has === undefined || has === bytes || (has === 0 && bytes === 1);
}

/** How many bytes of the chunk are among the first `bytes` of the blob. */
function within(chunk: Buffer, start: number, bytes: number): number {
  return Math.min(Math.max(bytes - start, 0), chunk.length);
}

/** How far did a cut upload get? @throws Interrupted when the registry has lost it: it must be begun again */
async function ask(
  upload: Upload,
  url: URL,
  chunk: Buffer,
  start: number,
  cut: Interrupted,
): Promise<[at: URL, done: number]> {
  const response = await send(upload, { method: 'GET', target: url });
  response.discard();
  const bytes = taken(response) ?? start;
  if (response.status !== 204 || bytes < start || bytes > start + chunk.length) throw new Interrupted(cut.failure);
  const at = response.headers.location === undefined ? url : locationOf(upload, response);
  return [at, within(chunk, start, bytes)];
}
