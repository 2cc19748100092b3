/** Blobs: streams that are verified as they pass, and that go on after a cut where they were. */
import { TsboxError } from '../errors.ts';
import type { Descriptor } from '../spec/oci-image.ts';
import { familiarName, type Reference } from '../spec/reference.ts';
import { type Endpoint, pullEndpoints } from './endpoint.ts';
import type { HttpResponse } from './exchange.ts';
import { isPassing } from './network-error.ts';
import { readRefusal, refuseHtml, statusError } from './refusal.ts';
import { backoff, pause } from './retry.ts';
import type { Session } from './session.ts';
import { type Check, createCheck, type Prefix } from './verify.ts';

export interface BlobOptions {
  signal?: AbortSignal | undefined;
  /** What the caller has from an interrupted transfer: the stream begins behind it. */
  prefix?: Prefix;
}

/** A transfer that got so far since the last cut starts counting its tries anew. Bytes. */
const PROGRESS = 1024 * 1024;

/**
 * The blob's bytes. They are vouched for only when the stream has ended: a wrong size or digest is an error at the end, and what was made of
 * the bytes is to be thrown away then. Never gives more bytes than the descriptor says. Leaving the loop early ends the transfer.
 * @throws ERR_TSBOX_DAMAGED for other content than the descriptor's; ERR_TSBOX_REGISTRY when the transfer cannot be completed;
 * ERR_TSBOX_NOT_FOUND, ERR_TSBOX_UNAUTHORIZED; the signal's reason when it is aborted
 * @see distribution-spec, Pulling blobs; RFC 9110, 14 Range Requests
 */
export async function* fetchBlob(
  session: Session,
  reference: Reference,
  descriptor: Descriptor,
  options: BlobOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  const what = `fetch blob ${descriptor.digest} of ${familiarName(reference)}`;
  const check = createCheck(descriptor, what, options.prefix);
  const endpoints = pullEndpoints(reference.domain, session.config, session.mirrors);
  for (const endpoint of check.received > 0 && check.received === descriptor.size ? [] : endpoints) {
    try {
      yield* fromEndpoint({ session, endpoint, reference, descriptor, check, what, signal: options.signal });
      break;
    } catch (error) {
      options.signal?.throwIfAborted();
      // Another server may go on with it: the digest is over the whole, whoever gave the parts.
      if (!endpoint.mirror || !(error instanceof TsboxError)) throw error;
      session.notice(`mirror ${endpoint.host}: ${error.message}`);
    }
  }
  check.finish();
}

interface Transfer {
  session: Session;
  endpoint: Endpoint;
  reference: Reference;
  descriptor: Descriptor;
  check: Check;
  what: string;
  signal: AbortSignal | undefined;
}

/** The rest of the blob from one server, over as many connections as it takes. */
async function* fromEndpoint(transfer: Transfer): AsyncGenerator<Buffer, void, undefined> {
  const { session, descriptor, check, signal } = transfer;
  for (let attempt = 1; check.received < descriptor.size || attempt === 1; attempt++) {
    const start = check.received;
    const response = await request(transfer);
    const skip = await checkAnswer(transfer, response);
    try {
      yield* fresh(transfer, response, skip);
      return;
    } catch (error) {
      signal?.throwIfAborted();
      if (check.received - start >= PROGRESS) attempt = 1;
      if (!isPassing(error) || attempt >= session.retry.attempts) throw error;
      const wait = backoff(attempt, session.retry);
      session.notice(
        `${(error as Error).message}: going on at byte ${check.received} in ${(wait / 1000).toFixed(1)} s`,
      );
      await pause(wait, signal);
    }
  }
}

function request({ session, endpoint, reference, descriptor, check, signal }: Transfer): Promise<HttpResponse> {
  return session.send(endpoint, {
    method: 'GET',
    target: `/v2/${reference.path}/blobs/${descriptor.digest}`,
    headers: check.received === 0 ? {} : { range: `bytes=${check.received}-` },
    scopes: [`repository:${reference.path}:pull`],
    signal,
  });
}

/** The answer's bytes behind the first `skip`. */
async function* fresh(
  transfer: Transfer,
  response: HttpResponse,
  skip: number,
): AsyncGenerator<Buffer, void, undefined> {
  const { check, descriptor, what } = transfer;
  for await (const chunk of response.chunks()) {
    const rest = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - rest.length;
    if (rest.length === 0) continue;
    check.add(rest);
    yield rest;
  }
  if (check.received < descriptor.size) {
    throw new TsboxError('ERR_TSBOX_REGISTRY', `${what}: ends after ${check.received} of ${descriptor.size} bytes`, {
      cause: Object.assign(new Error('short answer'), { code: 'ECONNRESET' }),
    });
  }
}

/** Is the answer the content that was asked for? @returns bytes at its beginning that we have already */
async function checkAnswer({ descriptor, check, what, reference }: Transfer, response: HttpResponse): Promise<number> {
  const { status, headers } = response;
  const start = check.received;
  if (status !== 200 && !(status === 206 && start > 0)) {
    const refusal = await readRefusal(response);
    if (status === 404) throw new TsboxError('ERR_TSBOX_NOT_FOUND', `${what}: ${refusal.text} from ${refusal.host}`);
    throw statusError(what, refusal, {
      hint: `The manifest of ${familiarName(reference)} could be had, this part of it not. Try again.`,
    });
  }
  const fail = (reason: string): TsboxError => {
    response.discard();
    return new TsboxError('ERR_TSBOX_DAMAGED', `${what}: ${response.url.host} ${reason}`);
  };
  if (![undefined, 'identity'].includes(headers['content-encoding'])) {
    throw fail(`sends it as ${headers['content-encoding']}`);
  }
  if (status === 200) refuseHtml(response, what);
  if (status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers['content-range'] ?? '');
    if (range === null || Number(range[1]) !== start) throw fail('sends another range than asked for');
    if (range[3] !== '*' && Number(range[3]) !== descriptor.size) {
      throw fail(`has ${range[3]} bytes of it, the manifest says ${descriptor.size}`);
    }
    return 0;
  }
  const length = headers['content-length'];
  if (length !== undefined && Number(length) !== descriptor.size) {
    throw fail(`has ${length} bytes of it, the manifest says ${descriptor.size}`);
  }
  return start;
}

/** A small blob in memory, an image's config.
 *  @throws as fetchBlob; ERR_TSBOX_LIMIT when the descriptor says more than the session's limit */
export async function readBlob(
  session: Session,
  reference: Reference,
  descriptor: Descriptor,
  options: Pick<BlobOptions, 'signal'> = {},
): Promise<Buffer> {
  if (descriptor.size > session.limits.document) {
    const message = `read blob ${descriptor.digest} of ${familiarName(reference)}: ${descriptor.size} bytes, more than ${session.limits.document}`;
    throw new TsboxError('ERR_TSBOX_LIMIT', message);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of fetchBlob(session, reference, descriptor, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
