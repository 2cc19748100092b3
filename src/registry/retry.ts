/** Patience: what is asked again, how often and how much later. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpResponse } from './exchange.ts';
import { isPassing, isUnreachable } from './network-error.ts';

export interface RetryPolicy {
  /** Tries in all. */
  attempts: number;
  /** Milliseconds before the second try; doubled for each further one. */
  delay: number;
  /** Milliseconds; a registry that asks for more patience gets an error shown instead. */
  longest: number;
}

const PASSING = new Set([408, 429, 500, 502, 503, 504]);

/** May the same request get a better answer a moment later? */
export function isPassingStatus(status: number): boolean {
  return PASSING.has(status);
}

/** Milliseconds that the answer asks to wait, in seconds or until a date. @see RFC 9110, 10.2.3 Retry-After */
export function retryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(date - now, 0);
}

/** Milliseconds before try `attempt` + 1: doubling, with jitter so that many clients do not come back at once. @param attempt from 1 */
export function backoff(attempt: number, policy: RetryPolicy): number {
  return Math.min(policy.delay * 2 ** (attempt - 1), policy.longest) * (0.5 + Math.random() / 2);
}

/** Waits. @throws the signal's reason as soon as it is aborted */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

export interface RetryContext {
  signal?: AbortSignal | undefined;
  /** Has this server answered before? Then it is worth coming back when it is gone. */
  reached: () => boolean;
  /** Told before each wait. */
  notice: (text: string) => void;
}

/** Sends until there is an answer that is worth having, or the tries are used up: then the last answer or error is the outcome. */
export async function sendPatiently(
  send: () => Promise<HttpResponse>,
  policy: RetryPolicy,
  context: RetryContext,
): Promise<HttpResponse> {
  for (let attempt = 1; ; attempt++) {
    let wait = backoff(attempt, policy);
    let reason: string;
    try {
      const response = await send();
      if (!isPassingStatus(response.status) || attempt >= policy.attempts) return response;
      const asked = retryAfter(response.headers['retry-after'], Date.now());
      if (asked !== undefined && asked > policy.longest) return response;
      wait = Math.max(wait, asked ?? 0);
      response.discard();
      reason = `${response.url.host} answered ${response.status}`;
    } catch (error) {
      if (!isPassing(error) || attempt >= policy.attempts) throw error;
      if (isUnreachable(error) && !context.reached()) throw error;
      reason = (error as Error).message;
    }
    context.notice(`${reason}: trying again in ${(wait / 1000).toFixed(1)} s`);
    await pause(wait, context.signal);
  }
}
