/** What a registry says when it says no, and how Docker tells it. */
import { type ErrorDetails, TsboxError } from '../errors.ts';
import { familiarName, familiarString, type Reference } from '../spec/reference.ts';
import { readBody } from './body.ts';
import type { HttpResponse } from './exchange.ts';
import { showUrl } from './network-error.ts';

export interface Refusal {
  status: number;
  /** `MANIFEST_UNKNOWN`, `DENIED`, ... @see distribution-spec, Error Codes */
  codes: string[];
  /** One line: `denied: requested access to the resource is denied`. */
  text: string;
  /** The server that said it. */
  host: string;
}

const MOST_BYTES = 64 * 1024;

/** A stranger's text made fit for a terminal: one line, no control characters, not too long. */
export function plainText(text: unknown): string {
  if (typeof text !== 'string') return '';
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}

/** Reads the answer's errors. A body that is none, HTML for example, gives the HTTP status alone. */
export async function readRefusal(response: HttpResponse): Promise<Refusal> {
  const status = `HTTP ${response.status}`;
  const refusal: Refusal = { status: response.status, codes: [], text: status, host: response.url.host };
  let body: unknown;
  try {
    body = JSON.parse((await readBody(response, MOST_BYTES, 'read an error')).toString());
  } catch {
    return refusal;
  }
  const { errors, details, message } = (typeof body === 'object' && body !== null ? body : {}) as Record<
    string,
    unknown
  >;
  const texts: string[] = [];
  for (const error of Array.isArray(errors) ? errors.slice(0, 5) : []) {
    const { code, message: told } = (typeof error === 'object' && error !== null ? error : {}) as Record<
      string,
      unknown
    >;
    if (typeof code === 'string') refusal.codes.push(code.toUpperCase());
    const words = [plainText(code).toLowerCase().replaceAll('_', ' '), plainText(told)].filter(Boolean);
    texts.push(words.join(': '));
  }
  if (texts.length === 0) texts.push(plainText(details) || plainText(message));
  const joined = texts.filter(Boolean).join('; ');
  if (joined !== '') refusal.text = joined;
  return refusal;
}

/** How `login` calls the registry of a reference. */
function loginHint(reference: Reference): string {
  const host = reference.domain === 'docker.io' ? '' : ` ${reference.domain}`;
  return `Check the name. A private repository needs "tsbox login${host}" first.`;
}

function limitHint(domain: string): string {
  return domain === 'docker.io'
    ? 'Docker Hub counts pulls. "tsbox login" raises the limit, a mirror (--registry-mirror) avoids it.'
    : 'The registry limits requests. Try again later.';
}

/** The error for a repository's content that could not be had. */
export function pullError(reference: Reference, refusal: Refusal): TsboxError {
  const name = familiarName(reference);
  const { status, codes, text } = refusal;
  const has = (...wanted: string[]): boolean => wanted.some((code) => codes.includes(code));
  if (status === 429 || has('TOOMANYREQUESTS')) {
    return new TsboxError('ERR_TSBOX_REGISTRY', `pull ${familiarString(reference)} from ${refusal.host}: ${text}`, {
      hint: limitHint(reference.domain),
    });
  }
  if (status === 401 || status === 403 || has('UNAUTHORIZED', 'DENIED')) {
    const message = `pull access denied for ${name}, repository does not exist or may require 'login'`;
    const because = codes.length > 0 ? `: ${text}` : '';
    return new TsboxError('ERR_TSBOX_UNAUTHORIZED', message + because, { hint: loginHint(reference) });
  }
  if (has('NAME_UNKNOWN')) {
    return notFound(`repository ${name} not found: ${text}`);
  }
  if (has('MANIFEST_UNKNOWN')) return notFound(`manifest for ${familiarString(reference)} not found: manifest unknown`);
  if (status === 404)
    return notFound(`manifest for ${familiarString(reference)} not found: ${text} from ${refusal.host}`);
  return statusError(`pull ${familiarString(reference)}`, refusal);
}

function notFound(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_NOT_FOUND', message, { hint: 'Check the name and the tag.' });
}

/** The error for an answer that has no words of its own. @param what verb and object */
export function statusError(what: string, refusal: Refusal, details: ErrorDetails = {}): TsboxError {
  const { status, host } = refusal;
  const text = refusal.text === `HTTP ${status}` ? refusal.text : `HTTP ${status} (${refusal.text})`;
  const code = status === 401 || status === 403 ? 'ERR_TSBOX_UNAUTHORIZED' : 'ERR_TSBOX_REGISTRY';
  return new TsboxError(code, `${what}: ${host} answered ${text}`, details);
}

/** The answer's content when it is HTML, as a sign-in page of a network gives it. */
export function refuseHtml(response: HttpResponse, what: string): void {
  if (!/^text\/html\b/i.test(response.headers['content-type'] ?? '')) return;
  throw new TsboxError('ERR_TSBOX_REGISTRY', `${what}: ${showUrl(response.url)} answered HTML, not registry data`, {
    hint: `${response.url.host} is no registry, or the network wants you to sign in with a browser first.`,
  });
}
