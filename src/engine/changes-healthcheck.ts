/** HEALTHCHECK of a Dockerfile. Pure. @see docs.docker.com/reference/dockerfile, HEALTHCHECK */
import type { Healthcheck } from '../spec/oci-image.ts';
import { jsonWords, syntaxError } from './dockerfile-words.ts';

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};
const SHORTEST = 1e6;

/** Nanoseconds of a duration as Go writes it: `1m30s`, `500ms`. */
function nanoseconds(text: string, flag: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/gu)];
  if (text !== '0' && (text === '' || parts.map((part) => part[0]).join('') !== text)) {
    throw syntaxError(`time: invalid duration ${JSON.stringify(text)}`);
  }
  const value = Math.round(parts.reduce((sum, part) => sum + Number(part[1]) * UNITS[part[2]!]!, 0));
  if (value !== 0 && value < SHORTEST) throw syntaxError(`Interval "${flag.slice(2)}" cannot be less than 1ms`);
  return value;
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) throw syntaxError(`--retries must be at least 1 (not ${text})`);
  return Number(text);
}

const FLAGS: Readonly<Record<string, (into: Healthcheck, value: string, flag: string) => void>> = {
  '--interval': (into, value, flag) => {
    into.Interval = nanoseconds(value, flag);
  },
  '--timeout': (into, value, flag) => {
    into.Timeout = nanoseconds(value, flag);
  },
  '--start-period': (into, value, flag) => {
    into.StartPeriod = nanoseconds(value, flag);
  },
  '--start-interval': (into, value, flag) => {
    into.StartInterval = nanoseconds(value, flag);
  },
  '--retries': (into, value) => {
    into.Retries = count(value);
  },
};

/** What stands behind HEALTHCHECK. @throws ERR_TSBOX_USAGE */
export function parseHealthcheck(text: string): Healthcheck {
  const health: Healthcheck = {};
  let rest = text;
  for (let flag = FLAG.exec(rest); flag !== null; flag = FLAG.exec(rest)) {
    const [whole, name = '', value] = flag;
    if (!Object.hasOwn(FLAGS, name)) throw syntaxError(`Unknown flag: ${name.slice(2)}`);
    if (value === undefined) throw syntaxError(`Missing a value on flag: ${name.slice(2)}`);
    FLAGS[name]!(health, value, name);
    rest = rest.slice(whole.length);
  }
  const kind = /^\S+/.exec(rest)?.[0] ?? '';
  const command = rest.slice(kind.length).trim();
  if (kind === '') throw syntaxError('HEALTHCHECK requires at least one argument');
  if (kind.toUpperCase() === 'NONE') {
    if (command !== '') throw syntaxError('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'] };
  }
  if (kind.toUpperCase() !== 'CMD') throw syntaxError(`Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`);
  const words = jsonWords(command);
  if (command === '' || words?.length === 0) throw syntaxError('Missing command after HEALTHCHECK CMD');
  return { ...health, Test: words === undefined ? ['CMD-SHELL', command] : ['CMD', ...words] };
}

const FLAG = /^(--[a-z-]+)(?:=(\S*))?(?:\s+|$)/;
