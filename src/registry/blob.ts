/** Blobs: streams that are verified as they pass, and that go on after a cut where they were. */
import { TsboxError } from '../errors.ts';
import type { Descriptor } from '../spec/oci-image.ts';
import { familiarName, type Reference } from '../spec/reference.ts';
import { blobSources, type Source } from './blob-source.ts';
import type { HttpResponse } from './exchange.ts';
import { isPassing } from './network-error.ts';
import { readRefusal, refuseHtml, statusError } from './refusal.ts';
import { backoff, pause } from './retry.ts';
import type { Session } from './session.ts';
import { type Check, createCheck, embeddedData, type Prefix } from './verify.ts';

export interface BlobOptions extends Partial<Trust> {
  signal?: AbortSignal | undefined;
  /** What the caller has from an interrupted transfer: the stream begins behind it. */
  prefix?: Prefix;
}

/** Which mirrors are believed. */
export interface Trust {
  /** Hosts of those that are not asked. */
  without: ReadonlySet<string>;
  /** Gets the hosts of those that gave bytes, when the stream does not end well: they may be at fault. */
  doubtful: Set<string>;
}

/** A transfer that got so far since the last cut starts counting its tries anew. Bytes. */
const PROGRESS = 1024 * 1024;

/**
 * The blob's bytes: those that the descriptor carries, else from the mirrors, the registry, and the addresses that the descriptor names.
 * They are vouched for only when the stream has ended: a wrong size or digest is an error at the end, and what was made of the bytes is
 * to be thrown away then. Never gives more bytes than the descriptor says. Leaving the loop early ends the transfer.
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
  const given = embeddedData(descriptor, what);
  if (given !== undefined) return yield given.subarray(check.received);
  const mirrors = new Set<string>();
  let verified = check.received > 0 && check.received === descriptor.size;
  try {
    if (!verified) yield* fromSources({ session, reference, descriptor, check, what, options, mirrors });
    check.finish();
    verified = true;
  } finally {
    if (!verified) for (const host of mirrors) options.doubtful?.add(host);
  }
}

interface Fetch {
  session: Session;
  reference: Reference;
  descriptor: Descriptor;
  check: Check;
  what: string;
  options: BlobOptions;
  /** Hosts of the mirrors that gave some of the bytes. */
  mirrors: Set<string>;
}

interface Transfer extends Fetch {
  source: Source;
}

/** The blob from the first server that has it; another one may go on with it: the digest is over the whole, whoever gave the parts. */
async function* fromSources(fetch: Fetch): AsyncGenerator<Buffer, void, undefined> {
  const { session, reference, descriptor, check, options } = fetch;
  const sources = blobSources(session, reference, descriptor, options);
  for (const [index, source] of sources.entries()) {
    try {
      return yield* fromSource({ ...fetch, source });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof TsboxError) || !mayGoOn(source, error, index + 1 < sources.length)) throw error;
      session.notice(`${source.kind === 'mirror' ? 'mirror ' : ''}${source.host}: ${error.message}`);
      // All bytes are here, and what came behind them is of no interest.
      if (check.received > 0 && check.received === descriptor.size) return;
    }
  }
}

/** A registry that has a blob's manifest answers for the blob as well, unless the manifest says where else it is. */
function mayGoOn({ kind }: Source, error: TsboxError, more: boolean): boolean {
  return kind === 'registry' ? more && error.code === 'ERR_TSBOX_NOT_FOUND' : more;
}

/** The rest of the blob from one server, over as many connections as it takes. */
async function* fromSource(transfer: Transfer): AsyncGenerator<Buffer, void, undefined> {
  const { session, descriptor, check, options } = transfer;
  for (let attempt = 1; check.received < descriptor.size || attempt === 1; attempt++) {
    const start = check.received;
    const response = await request(transfer);
    const skip = await checkAnswer(transfer, response);
    try {
      yield* fresh(transfer, response, skip);
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (check.received - start >= PROGRESS) attempt = 1;
      if (!isPassing(error) || attempt >= session.retry.attempts) throw error;
      const wait = backoff(attempt, session.retry);
      session.notice(
        `${(error as Error).message}: going on at byte ${check.received} in ${(wait / 1000).toFixed(1)} s`,
      );
      await pause(wait, options.signal);
    }
  }
}

/** Asks for what is missing, or for all of it where the server cannot give a part. */
async function request({ source, check }: Transfer): Promise<HttpResponse> {
  if (check.received === 0) return source.request({});
  const response = await source.request({ range: `bytes=${check.received}-` });
  if (response.status !== 416) return response;
  response.discard();
  return source.request({});
}

/** The answer's bytes behind the first `skip`. */
async function* fresh(
  transfer: Transfer,
  response: HttpResponse,
  skip: number,
): AsyncGenerator<Buffer, void, undefined> {
  const { check, descriptor, what, source, mirrors } = transfer;
  for await (const chunk of response.chunks()) {
    const rest = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - rest.length;
    if (rest.length === 0) continue;
    if (source.kind === 'mirror') mirrors.add(source.host);
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

/** A small blob in memory, an image's config: from the next server when one gives something else.
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
  return withoutLiars(session.notice, async (trust) => {
    const chunks: Buffer[] = [];
    for await (const chunk of fetchBlob(session, reference, descriptor, { ...options, ...trust })) chunks.push(chunk);
    return Buffer.concat(chunks);
  });
}

/** Codes of the errors that wrong bytes lead to, in whoever reads them before their digest is known. */
const WRONG_CONTENT: readonly string[] = ['ERR_TSBOX_DAMAGED', 'ERR_TSBOX_LIMIT', 'ERR_TSBOX_UNSUPPORTED'];

/** Does something that reads blobs, again without the mirrors that gave wrong bytes, until none of them is to blame.
 *  @param work hands what it is given on to `fetchBlob` */
export async function withoutLiars<T>(notice: (text: string) => void, work: (trust: Trust) => Promise<T>): Promise<T> {
  const without = new Set<string>();
  for (;;) {
    const doubtful = new Set<string>();
    try {
      return await work({ without, doubtful });
    } catch (error) {
      if (doubtful.size === 0 || !(error instanceof TsboxError) || !WRONG_CONTENT.includes(error.code)) throw error;
      for (const host of doubtful) without.add(host);
      notice(`mirror ${[...doubtful].join(', ')}: ${error.message}: trying again without it`);
    }
  }
}
