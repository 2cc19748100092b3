/** The flags of `run` and `create` that are about a container's life: how it is begun, ended and begun again. */
import { readFileSync } from 'node:fs';
import type { AttachedStream, ContainerRequest } from '../engine/api.ts';
import { parseDuration } from '../spec/time.ts';
import { FLAG_ERROR, type FlagTable, type FlagValues, UsageError } from './args.ts';

export const RESTART_FLAG = {
  restart: {
    kind: 'string',
    value: 'policy',
    help: 'Start it again when it has ended: no, on-failure[:n], always, unless-stopped',
  },
} as const satisfies FlagTable;

export const LIFE_FLAGS = {
  ...RESTART_FLAG,
  attach: { kind: 'list', short: 'a', help: 'Connect only these streams: stdin, stdout, stderr' },
  'env-file': { kind: 'list', help: 'Set the environment variables of this file, a line each' },
  'health-cmd': { kind: 'string', value: 'command', help: 'Command whose success says that the container is healthy' },
  'health-interval': { kind: 'string', value: 'duration', help: 'Time between two checks; 30s when absent' },
  'health-retries': { kind: 'int', help: 'Failures after which it is unhealthy; 3 when absent' },
  'health-start-interval': {
    kind: 'string',
    value: 'duration',
    help: 'Time between two checks within the start period; 5s when absent, or less if health-interval is',
  },
  'health-start-period': {
    kind: 'string',
    value: 'duration',
    help: 'Time after the start in which failures do not count',
  },
  'health-timeout': { kind: 'string', value: 'duration', help: 'Time that a check may take; 30s when absent' },
  init: { kind: 'bool', help: 'Run an init as the first process: it sends signals on and waits for orphans' },
  'label-file': { kind: 'list', help: 'Set the labels of this file, a line each' },
  'no-healthcheck': { kind: 'bool', help: "Turn the image's health check off" },
  'stop-timeout': { kind: 'int', help: 'Seconds to wait before a container that is stopped is killed' },
} as const satisfies FlagTable;

type Values = FlagValues<typeof LIFE_FLAGS>;

/** The request with what these flags ask for. Files count before what was given by itself.
 *  @throws UsageError on a file that cannot be read or has a line that is none */
export function withLife(request: ContainerRequest, flags: Values): ContainerRequest {
  const env = flags['env-file'].flatMap((path) => fileLines(path, process.env));
  const labels = flags['label-file'].flatMap((path) => fileLines(path, undefined));
  const pairs = labels.map((line): [string, string] => {
    const equals = line.indexOf('=');
    return equals < 0 ? [line, ''] : [line.slice(0, equals), line.slice(equals + 1)];
  });
  const attach = streams(flags.attach);
  return {
    ...request,
    ...(attach.length > 0 && { attach }),
    ...(env.length > 0 && { env: [...env, ...request.env] }),
    ...(pairs.length > 0 && { labels: { ...Object.fromEntries(pairs), ...request.labels } }),
    ...(flags.restart !== undefined && { restart: flags.restart }),
    ...(flags['stop-timeout'] !== undefined && { stopTimeout: flags['stop-timeout'] }),
    ...(flags.init && { init: true }),
    ...healthcheck(flags),
  };
}

/** @throws UsageError on a stream that there is not */
function streams(given: readonly string[]): AttachedStream[] {
  return given.map((text) => {
    const name = text.toLowerCase();
    if (name === 'stdin' || name === 'stdout' || name === 'stderr') return name;
    const why = 'valid streams are STDIN, STDOUT and STDERR';
    throw new UsageError(`invalid argument ${JSON.stringify(text)} for "-a, --attach" flag: ${why}`, FLAG_ERROR);
  });
}

/** Nanoseconds. */
function duration(flags: Values, name: `health-${'interval' | 'start-interval' | 'start-period' | 'timeout'}`): number {
  const text = flags[name];
  if (text === undefined) return 0;
  const value = text === '0' ? 0 : parseDuration(text);
  if (value === undefined) {
    const why = `time: invalid duration ${JSON.stringify(text)}`;
    throw new UsageError(`invalid argument ${JSON.stringify(text)} for "--${name}" flag: ${why}`, FLAG_ERROR);
  }
  if (value < 0) throw new UsageError(`--${name} cannot be negative`, FLAG_ERROR);
  return Math.round(value * 1e6);
}

function healthcheck(flags: Values): Pick<ContainerRequest, 'healthcheck'> {
  const command = flags['health-cmd'] ?? '';
  const retries = flags['health-retries'] ?? 0;
  const check = {
    Interval: duration(flags, 'health-interval'),
    Timeout: duration(flags, 'health-timeout'),
    StartPeriod: duration(flags, 'health-start-period'),
    StartInterval: duration(flags, 'health-start-interval'),
    Retries: retries,
  };
  if (retries < 0) throw new UsageError('--health-retries cannot be negative', FLAG_ERROR);
  const given = Object.fromEntries(Object.entries(check).filter(([, value]) => value !== 0));
  const asked = command !== '' || Object.keys(given).length > 0;
  if (flags['no-healthcheck']) {
    if (asked) throw new UsageError('--no-healthcheck conflicts with --health-* options', FLAG_ERROR);
    return { healthcheck: { Test: ['NONE'] } };
  }
  if (!asked) return {};
  return { healthcheck: { ...(command !== '' && { Test: ['CMD-SHELL', command] }), ...given } };
}

/** As Docker reads them: blanks before a line and lines that begin with `#` do not count; a name alone has the caller's value, or is left
 *  out; without `own` it stays. @throws UsageError in Docker's words */
export function fileLines(path: string, own: Readonly<Record<string, string | undefined>> | undefined): string[] {
  const bad = (what: string) => new UsageError(what, FLAG_ERROR);
  return readLines(path).flatMap((whole, index) => {
    const line = (index === 0 ? whole.replace(/^\uFEFF/, '') : whole).trimStart();
    if (line === '' || line.startsWith('#')) return [];
    const equals = line.indexOf('=');
    const name = (equals < 0 ? line : line.slice(0, equals)).trimStart();
    if (/\s/.test(name)) throw bad(`poorly formatted environment: variable '${name}' contains whitespaces`);
    if (name === '') throw bad(`poorly formatted environment: no variable name on line '${line}'`);
    if (equals >= 0) return [`${name}=${line.slice(equals + 1)}`];
    if (own === undefined) return [line.trim()];
    const value = own[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
}

function readLines(path: string): string[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'no such file or directory' : code === 'EACCES' ? 'permission denied' : String(code);
    throw new UsageError(`open ${path}: ${why}`, FLAG_ERROR);
  }
  const lines = bytes.toString('utf8').split(/\r?\n/);
  if (Buffer.from(bytes.toString('utf8')).equals(bytes)) return lines;
  const at = bytes
    .toString('latin1')
    .split(/\r?\n/)
    .findIndex((line) => {
      const raw = Buffer.from(line, 'latin1');
      return !Buffer.from(raw.toString('utf8')).equals(raw);
    });
  throw new UsageError(`env file ${path} contains invalid utf8 bytes at line ${at + 1}: ${lines[at]}`, FLAG_ERROR);
}
