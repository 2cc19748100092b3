/** One upload session: begun or saved by a mount, then one request or many chunks. */
import { createHash } from 'node:crypto';
import { TsboxError } from '../errors.ts';
import { familiarName, type Reference } from '../spec/reference.ts';
import type { Endpoint } from './endpoint.ts';
import type { HttpResponse } from './exchange.ts';
import { isPassing } from './network-error.ts';
import { type Refusal, readRefusal, statusError } from './refusal.ts';
import { backoff, pause } from './retry.ts';
import type { RegistryRequest, Session } from './session.ts';

/** What to send. */
export interface BlobUpload {
  /** Where it is known before. */
  digest?: string;
  /** Bytes; where it is known before. */
  size?: number;
  /** The bytes from the beginning; opened again when the upload has to be started again. */
  open: () => AsyncIterable<Uint8Array>;
}

export interface Upload {
  session: Session;
  endpoint: Endpoint;
  reference: Reference;
  signal: AbortSignal | undefined;
  /** Bytes. */
  chunkSize: number;
  progress: (sent: number) => void;
}

/** The error for a repository that does not take something. */
export function pushError(reference: Reference, refusal: Refusal): TsboxError {
  const what = `push ${familiarName(reference)}`;
  const denied = refusal.status === 401 || refusal.status === 403;
  if (!denied) return statusError(what, refusal);
  const host = reference.domain === 'docker.io' ? '' : ` ${reference.domain}`;
  const text = refusal.codes.length > 0 ? refusal.text : 'denied: requested access to the resource is denied';
  return new TsboxError('ERR_TSBOX_UNAUTHORIZED', `${what}: ${text}`, {
    hint: `Log in with "tsbox login${host}" as somebody who may write to this repository.`,
  });
}

function send(upload: Upload, request: Omit<RegistryRequest, 'signal'>): Promise<HttpResponse> {
  const scopes = [`repository:${upload.reference.path}:pull,push`];
  return upload.session.send(upload.endpoint, { scopes, ...request, signal: upload.signal });
}

/** Where the next request of the session goes; registries write it as a path or as a URL. */
function locationOf(upload: Upload, response: HttpResponse): URL {
  const { location } = response.headers;
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    const message = `push ${familiarName(upload.reference)}: ${response.url.host} names no place to upload to`;
    throw new TsboxError('ERR_TSBOX_REGISTRY', message);
  }
  return new URL(location, response.url);
}

interface Place {
  url: URL;
  /** Bytes of the shortest chunk that the registry takes, except for the last one. */
  shortest: number;
}

/** Begins a session, or has the blob mounted from another repository instead. @see distribution-spec, Mounting a blob */
export async function startUpload(
  upload: Upload,
  digest: string | undefined,
  mountFrom: readonly string[],
): Promise<Place | 'mounted'> {
  const base = `/v2/${upload.reference.path}/blobs/uploads/`;
  const own = `repository:${upload.reference.path}:pull,push`;
  for (const from of digest === undefined ? [] : mountFrom) {
    const target = `${base}?${new URLSearchParams({ mount: digest ?? '', from })}`;
    const response = await send(upload, { method: 'POST', target, scopes: [own, `repository:${from}:pull`] });
    if (response.status === 201) {
      response.discard();
      return 'mounted';
    }
    if (response.status === 202) return place(upload, response);
    response.discard();
  }
  const response = await send(upload, { method: 'POST', target: base });
  if (response.status !== 202) throw pushError(upload.reference, await readRefusal(response));
  return place(upload, response);
}

function place(upload: Upload, response: HttpResponse): Place {
  response.discard();
  const shortest = Number(response.headers['oci-chunk-min-length'] ?? 0);
  return { url: locationOf(upload, response), shortest: Number.isSafeInteger(shortest) ? shortest : 0 };
}

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

/** Sends a blob in one request. @throws ERR_TSBOX_DAMAGED when the source is not as long as it says */
export async function uploadWhole(upload: Upload, { url }: Place, blob: Required<BlobUpload>): Promise<void> {
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
  const response = await send(upload, {
    method: 'PUT',
    target: withDigest(url, blob.digest),
    headers: { 'content-type': 'application/octet-stream' },
    body: { size: blob.size, open: counted },
    once: true,
  });
  await finished(upload, response, blob.digest);
}

/** Sends a blob of unknown length in chunks. A chunk that was cut is gone on with where the registry has it.
 *  @returns what was sent @see distribution-spec, Pushing a blob in chunks */
export async function uploadInChunks(
  upload: Upload,
  { url, shortest }: Place,
  blob: BlobUpload,
): Promise<{ digest: string; size: number }> {
  const hash = createHash('sha256');
  let sent = 0;
  let at = url;
  for await (const chunk of inChunks(blob.open(), Math.max(upload.chunkSize, shortest))) {
    hash.update(chunk);
    at = await sendChunk(upload, at, chunk, sent);
    sent += chunk.length;
    upload.progress(sent);
  }
  const digest = `sha256:${hash.digest('hex')}`;
  const response = await send(upload, { method: 'PUT', target: withDigest(at, digest), body: Buffer.alloc(0) });
  await finished(upload, response, digest);
  return { digest, size: sent };
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
      const first = start + done;
      const response = await send(upload, {
        method: 'PATCH',
        target: at,
        headers: {
          'content-type': 'application/octet-stream',
          'content-range': `${first}-${start + chunk.length - 1}`,
        },
        body: chunk.subarray(done),
        once: true,
      });
      if (response.status !== 202 && response.status !== 204) {
        throw pushError(upload.reference, await readRefusal(response));
      }
      response.discard();
      at = locationOf(upload, response);
      const before = done;
      done = taken(response, chunk, start) ?? chunk.length;
      if (done === chunk.length) return at;
      if (done <= before) throw statusError(`push ${familiarName(upload.reference)}`, tookNothing(response));
    } catch (error) {
      upload.signal?.throwIfAborted();
      if (!isPassing(error) || attempt >= upload.session.retry.attempts) throw error;
      await pause(backoff(attempt, upload.session.retry), upload.signal);
      [at, done] = await ask(upload, at, chunk, start);
      if (done === chunk.length) return at;
    }
  }
}

function tookNothing(response: HttpResponse): Refusal {
  return { status: response.status, codes: [], text: 'and took nothing', host: response.url.host };
}

/** Bytes of the chunk that the registry says it has; undefined when it does not say. */
function taken(response: HttpResponse, chunk: Buffer, start: number): number | undefined {
  const range = /^(?:bytes=)?0-(\d+)$/.exec(String(response.headers['range'] ?? ''));
  if (range === null) return undefined;
  return Math.min(Math.max(Number(range[1]) + 1 - start, 0), chunk.length);
}

/** How far did a cut upload get? */
async function ask(upload: Upload, url: URL, chunk: Buffer, start: number): Promise<[URL, number]> {
  const response = await send(upload, { method: 'GET', target: url });
  if (response.status !== 204) throw pushError(upload.reference, await readRefusal(response));
  response.discard();
  const at = response.headers.location === undefined ? url : locationOf(upload, response);
  return [at, taken(response, chunk, start) ?? 0];
}
