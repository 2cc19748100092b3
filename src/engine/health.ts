/** What a health check asks, and what its answers come to: Docker's rules. Pure. @see docs.docker.com/reference/dockerfile, HEALTHCHECK */
import { TsboxError } from '../errors.ts';
import type { Health, HealthResult } from '../spec/container.ts';
import type { Healthcheck } from '../spec/oci-image.ts';

const NS_PER_MS = 1e6;
const DEFAULT_NS = 30e9;
const DEFAULT_EARLY_NS = 5e9;
const DEFAULT_RETRIES = 3;
const LOG_MOST = 5;

export interface Probe {
  command: string[];
  /** Milliseconds between the end of one probe and the next, and for one probe. */
  every: number;
  timeout: number;
  /** Within the first `until` milliseconds of the container, until its health is known, the time between two is another. */
  early?: { every: number; until: number };
}

const milliseconds = (nanoseconds: number | undefined) =>
  Math.max(1, Math.round((nanoseconds || DEFAULT_NS) / NS_PER_MS));

/** undefined when nothing is asked. */
export function probeOf(check: Healthcheck | undefined): Probe | undefined {
  const [kind, ...words] = check?.Test ?? [];
  const command = kind === 'CMD' ? words : kind === 'CMD-SHELL' ? ['/bin/sh', '-c', ...words] : [];
  if (command.length === 0) return undefined;
  return {
    command,
    every: milliseconds(check?.Interval),
    timeout: milliseconds(check?.Timeout),
    ...((check?.StartPeriod ?? 0) > 0 && { early: early(check!) }),
  };
}

/** Docker 25 takes 5 s where nothing is said, even when the usual interval is shorter: older ones took that one, and it is kept. */
function early({ Interval, StartInterval, StartPeriod }: Healthcheck): { every: number; until: number } {
  const every = StartInterval || Math.min(DEFAULT_EARLY_NS, Interval || DEFAULT_NS);
  return { every: milliseconds(every), until: milliseconds(StartPeriod) };
}

/** @param age milliseconds that the container had run for when it was asked: not by a clock that can be set */
export function afterProbe(before: Health, result: HealthResult, check: Healthcheck, age: number): Health {
  const Log = [...before.Log, result].slice(-LOG_MOST);
  if (result.ExitCode === 0) return { Status: 'healthy', FailingStreak: 0, Log };
  // One that has never been healthy yet may take its time.
  if (before.Status === 'starting' && age * NS_PER_MS < (check.StartPeriod ?? 0)) return { ...before, Log };
  const FailingStreak = before.FailingStreak + 1;
  const most = (check.Retries ?? 0) > 0 ? check.Retries! : DEFAULT_RETRIES;
  return { Status: FailingStreak >= most ? 'unhealthy' : before.Status, FailingStreak, Log };
}

/** The user's check, with what he left open from the image's. */
export function mergeHealthcheck(
  user: Healthcheck | undefined,
  image: Healthcheck | null | undefined,
): Healthcheck | undefined {
  if (user === undefined || !image) return user ?? image ?? undefined;
  const given = Object.entries(user).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value));
  return { ...image, ...Object.fromEntries(given) };
}

/** @throws ERR_TSBOX_USAGE in Docker's words */
export function checkHealthcheck(check: Healthcheck): void {
  const refused = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);
  for (const name of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const value = check[name] ?? 0;
    if (value !== 0 && value < NS_PER_MS) throw refused(`${name} in Healthcheck cannot be less than 1ms`);
  }
  if ((check.Retries ?? 0) < 0) throw refused('Retries in Healthcheck cannot be negative');
}
