/** Upload sessions of a registry: begun, asked, given up; and requests that put something into a repository. @see distribution-spec, Push */
import { TsboxError } from '../errors.ts';
import { familiarName, type Reference } from '../spec/reference.ts';
import type { Endpoint } from './endpoint.ts';
import type { HttpResponse } from './exchange.ts';
import { isPassing } from './network-error.ts';
import { type Refusal, readRefusal, statusError } from './refusal.ts';
import { isPassingStatus, retryAfter } from './retry.ts';
import type { RegistryRequest, Session } from './session.ts';

/** Where something is put. */
export interface Target {
  session: Session;
  endpoint: Endpoint;
  reference: Reference;
  signal: AbortSignal | undefined;
}

/** An upload was cut short, by the network or by a registry that is busy: begun again it may go well. */
export class Interrupted extends Error {
  readonly failure: unknown;
  /** Milliseconds that the registry asked to wait. */
  readonly wait: number;

  constructor(failure: unknown, wait = 0) {
    super(failure instanceof Error ? failure.message : String(failure));
    this.failure = failure;
    this.wait = wait;
  }
}

/** The error for a repository that does not take something. */
export function pushError(reference: Reference, refusal: Refusal): TsboxError {
  const what = `push ${familiarName(reference)}`;
  const denied = refusal.status === 401 || refusal.status === 403;
  if (!denied) return statusError(what, refusal);
  const host = reference.domain === 'docker.io' ? '' : ` ${reference.domain}`;
  const words =
    refusal.status === 401
      ? 'unauthorized: authentication required'
      : 'denied: requested access to the resource is denied';
  const text = refusal.codes.length > 0 ? refusal.text : words;
  return new TsboxError('ERR_TSBOX_UNAUTHORIZED', `${what}: ${text}`, {
    hint: `Log in with "tsbox login${host}" as somebody who may write to this repository.`,
  });
}

export function send(target: Target, request: Omit<RegistryRequest, 'signal'>): Promise<HttpResponse> {
  const scopes = [`repository:${target.reference.path}:pull,push`];
  return target.session.send(target.endpoint, { scopes, ...request, signal: target.signal });
}

/** Sends a body once. @throws Interrupted for a failure that may pass; the source's own error */
export async function sendBody(target: Target, request: Omit<RegistryRequest, 'signal'>): Promise<HttpResponse> {
  let response: HttpResponse;
  try {
    response = await send(target, { ...request, once: true });
  } catch (error) {
    target.signal?.throwIfAborted();
    throw isPassing(error) ? new Interrupted(error) : error;
  }
  if (!isPassingStatus(response.status)) return response;
  const wait = retryAfter(response.headers['retry-after'], Date.now()) ?? 0;
  const failure = pushError(target.reference, await readRefusal(response));
  throw wait > target.session.retry.longest ? failure : new Interrupted(failure, wait);
}

/** Where the next request of the session goes; registries write it as a path or as a URL. */
export function locationOf(target: Target, response: HttpResponse): URL {
  const { location } = response.headers;
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    const message = `push ${familiarName(target.reference)}: ${response.url.host} names no place to upload to`;
    throw new TsboxError('ERR_TSBOX_REGISTRY', message);
  }
  return new URL(location, response.url);
}

/** A session. */
export interface Place {
  url: URL;
  /** Bytes of the shortest chunk that the registry takes, except for the last one. */
  shortest: number;
}

export function placeOf(target: Target, response: HttpResponse): Place {
  response.discard();
  const shortest = Number(response.headers['oci-chunk-min-length'] ?? 0);
  return { url: locationOf(target, response), shortest: Number.isSafeInteger(shortest) ? shortest : 0 };
}

/** Begins a session. */
export async function startUpload(target: Target): Promise<Place> {
  const response = await send(target, { method: 'POST', target: `/v2/${target.reference.path}/blobs/uploads/` });
  if (response.status !== 202) throw pushError(target.reference, await readRefusal(response));
  return placeOf(target, response);
}

/** Tells the registry to forget a session. It would do so by itself some day: a failure is of no interest. */
export async function cancelUpload(target: Target, { url }: Place): Promise<void> {
  if (target.signal?.aborted === true) return;
  await send(target, { method: 'DELETE', target: url, once: true }).then(
    (response) => response.discard(),
    () => {},
  );
}
