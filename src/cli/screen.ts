/** What the terminal behind standard output or error can do. */
import { isatty } from 'node:tty';
import { windowSize } from '../sys/terminal.ts';

const CODES = {
  plain: '',
  dim: '\x1b[2m',
  red: '\x1b[31m',
  green: '\x1b[32m',
  yellow: '\x1b[33m',
  blue: '\x1b[34m',
  magenta: '\x1b[35m',
  cyan: '\x1b[36m',
} as const;

export type Tone = keyof typeof CODES;
export type Paint = (tone: Tone, text: string) => string;

/** Text as it is. */
export const noColours: Paint = (_, text) => text;

export const withColours: Paint = (tone, text) =>
  tone === 'plain' || text === '' ? text : `${CODES[tone]}${text}\x1b[0m`;

/** Colours for a terminal; none when NO_COLOR is set or the terminal is dumb. @see no-color.org */
export function colours(fd: 1 | 2, env: Readonly<Record<string, string | undefined>> = process.env): Paint {
  const wanted = isatty(fd) && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return wanted ? withColours : noColours;
}

/** Columns of the terminal behind `fd`, or COLUMNS; `undefined` when neither is there. */
export function outputWidth(fd: 1 | 2): number | undefined {
  if (isatty(fd)) return windowSize(fd)?.columns ?? 80;
  const given = Number(process.env['COLUMNS']);
  return Number.isInteger(given) && given > 0 ? given : undefined;
}
