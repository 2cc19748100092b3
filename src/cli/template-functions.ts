/** The functions of Go's templates and those that Docker adds. Pure. @see pkg.go.dev/text/template, Functions */
import { plainJson } from './go-json.ts';
import { templateError } from './template-parse.ts';
import { displayWidth } from './width.ts';

type TemplateFunction = (...args: never[]) => unknown;

export const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  and: () => false,
  or: () => false,
  not: (value: unknown) => !truth(value),
  eq: (a: unknown, ...others: unknown[]) => others.some((b) => a === b),
  ne: (a: unknown, b: unknown) => a !== b,
  lt: (a: number | string, b: number | string) => a < b,
  le: (a: number | string, b: number | string) => a <= b,
  gt: (a: number | string, b: number | string) => a > b,
  ge: (a: number | string, b: number | string) => a >= b,
  index: (value: unknown, ...keys: unknown[]) => keys.reduce(item, value),
  slice: (value: string | unknown[], from = 0, to: number = value.length) => value.slice(from, to),
  len: lengthOf,
  print: (...values: unknown[]) =>
    values.reduce<string>((text, value, at) => {
      const blank = at > 0 && typeof value !== 'string' && typeof values[at - 1] !== 'string';
      return `${text}${blank ? ' ' : ''}${goText(value)}`;
    }, ''),
  println: (...values: unknown[]) => `${values.map(goText).join(' ')}\n`,
  printf: (format: string, ...values: unknown[]) => formatGo(format, values),
  json: plainJson,
  join: (values: unknown[] | null, separator = '') => (values ?? []).map(goText).join(separator),
  split: (text: string, separator: string) => text.split(separator),
  lower: (text: string) => text.toLowerCase(),
  upper: (text: string) => text.toUpperCase(),
  title: (text: string) =>
    text.replace(/(^|\s)(\p{L})/gu, (_, before: string, letter: string) => before + letter.toUpperCase()),
  pad: (text: string, before: number, after: number) =>
    text === '' ? '' : ' '.repeat(before) + text + ' '.repeat(after),
  truncate: (text: string, length: number) => [...text].slice(0, length).join(''),
};

/** @throws ERR_TSBOX_USAGE when there is no such function, or it cannot take these values */
export function callFunction(name: string, args: readonly unknown[]): unknown {
  if (!Object.hasOwn(FUNCTIONS, name)) throw templateError(`function "${name}" not defined`);
  const called = FUNCTIONS[name] as (...values: unknown[]) => unknown;
  try {
    return called(...args);
  } catch (error) {
    if (error instanceof TypeError) throw templateError(`error calling ${name}: wrong type of value`);
    throw error;
  }
}

/** Go's truth: false, 0, nil and what is empty are not. */
export function truth(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go prints it: `[a b]`, `map[k:v]`, `<no value>`. */
export function goText(value: unknown): string {
  if (value === undefined || value === null) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(inner).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, each]) => `${key}:${inner(each)}`).join(' ')}]`;
  }
  return String(value);
}

const inner = (value: unknown): string => (value === null || value === undefined ? '<nil>' : goText(value));

function item(value: unknown, key: unknown): unknown {
  // A map that is not there has no keys, as in Go.
  if (value === null && typeof key === 'string') return '';
  if (value === null || value === undefined) throw templateError('error calling index: index of untyped nil');
  if (Array.isArray(value) || typeof value === 'string') {
    const at = Number(key);
    if (!Number.isInteger(at) || at < 0 || at >= value.length) {
      throw templateError(`error calling index: index out of range: ${goText(key)}`);
    }
    return typeof value === 'string' ? value.charCodeAt(at) : value[at];
  }
  if (typeof value !== 'object') throw templateError("error calling index: can't index this value");
  // The zero value of a map of strings, which nearly all of Docker's maps are.
  return Object.hasOwn(value, String(key)) ? (value as Record<string, unknown>)[String(key)] : '';
}

function lengthOf(value: unknown): number {
  if (value === null || value === undefined) return 0;
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (typeof value === 'object') return Object.keys(value).length;
  throw templateError('error calling len: value has no length');
}

/** The verbs of Go's fmt that are of use in a template, with flags, width and precision. */
function formatGo(format: string, values: readonly unknown[]): string {
  let next = 0;
  const text = format.replace(
    /%([-+ 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])/g,
    (_, flags: string, width, precision, verb) => {
      if (verb === '%') return '%';
      if (next >= values.length) return `%!${verb}(MISSING)`;
      const shown = formatOne(verb as string, values[next++], precision === undefined ? undefined : Number(precision));
      if (shown === undefined) return `%!${verb}(${goText(values[next - 1])})`;
      const signed = flags.includes('+') && /^\d/.test(shown) ? `+${shown}` : shown;
      const missing = ' '.repeat(Math.max(0, Number(width ?? 0) - displayWidth(signed)));
      if (flags.includes('-')) return signed + missing;
      return flags.includes('0') && /[dxXobf]/.test(verb) ? missing.replaceAll(' ', '0') + signed : missing + signed;
    },
  );
  return next < values.length ? `${text}%!(EXTRA ${values.slice(next).map(goText).join(', ')})` : text;
}

function formatOne(verb: string, value: unknown, precision: number | undefined): string | undefined {
  const isNumber = typeof value === 'number';
  switch (verb) {
    case 'v':
      return value === null ? '<nil>' : goText(value);
    case 's':
      return precision === undefined ? goText(value) : [...goText(value)].slice(0, precision).join('');
    case 'q':
      return Array.isArray(value)
        ? `[${value.map((each) => JSON.stringify(goText(each))).join(' ')}]`
        : JSON.stringify(goText(value));
    case 't':
      return typeof value === 'boolean' ? String(value) : undefined;
    case 'd':
      return isNumber ? String(value) : undefined;
    case 'x':
      return isNumber ? value.toString(16) : typeof value === 'string' ? Buffer.from(value).toString('hex') : undefined;
    case 'o':
      return isNumber ? value.toString(8) : undefined;
    case 'b':
      return isNumber ? value.toString(2) : undefined;
    case 'f':
      return isNumber ? value.toFixed(precision ?? 6) : undefined;
    case 'c':
      return isNumber ? String.fromCodePoint(value) : undefined;
    default:
      return undefined;
  }
}
