/** The functions of Go's templates and those that Docker adds. Pure. @see pkg.go.dev/text/template, Functions */
import { plainJson } from './go-json.ts';
import { GoNil, GoShown, GoStruct, zeroOf } from './go-types.ts';
import { templateError } from './template-parse.ts';
import { displayWidth } from './width.ts';

type TemplateFunction = (...args: never[]) => unknown;

export const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  and: () => false,
  or: () => false,
  not: (value: unknown) => !truth(value),
  eq: (a: unknown, ...others: unknown[]) => others.some((b) => isEqual(a, b)),
  ne: (a: unknown, b: unknown) => !isEqual(a, b),
  lt: (a: unknown, b: unknown) => isLess(a, b),
  le: (a: unknown, b: unknown) => isLess(a, b) || isEqual(a, b),
  gt: (a: unknown, b: unknown) => !isLess(a, b) && !isEqual(a, b),
  ge: (a: unknown, b: unknown) => !isLess(a, b),
  index: (value: unknown, ...keys: unknown[]) => keys.reduce(item, value),
  slice: part,
  len: lengthOf,
  print: (...values: unknown[]) =>
    values.reduce<string>((text, value, at) => {
      const blank = at > 0 && typeof value !== 'string' && typeof values[at - 1] !== 'string';
      return `${text}${blank ? ' ' : ''}${goText(value)}`;
    }, ''),
  println: (...values: unknown[]) => `${values.map(goText).join(' ')}\n`,
  printf: (format: string, ...values: unknown[]) => formatGo(format, values),
  html: (...values: unknown[]) => printed(values).replace(/[&<>"'\0]/g, (one) => HTML[one]!),
  js: (...values: unknown[]) =>
    printed(values).replace(/[\\'"<>&=]|[\0-\x1f]/g, (one) => JS[one] ?? `\\u${codeOf(one)}`),
  urlquery: (...values: unknown[]) =>
    encodeURIComponent(printed(values))
      .replace(/%20/g, '+')
      .replace(/[!'()*]/g, (one) => `%${codeOf(one).slice(2)}`),
  json: plainJson,
  join: (values: unknown[] | GoNil | null, separator = '') => listOf(values).map(goText).join(separator),
  split: (text: string, separator: string) => text.split(separator),
  lower: (text: string) => text.toLowerCase(),
  upper: (text: string) => text.toUpperCase(),
  title: (text: string) =>
    text.replace(/(^|[^\p{L}\p{N}_])(\p{L})/gu, (_, before: string, letter: string) => before + letter.toUpperCase()),
  pad: (text: string, before: number, after: number) =>
    text === '' ? '' : ' '.repeat(before) + text + ' '.repeat(after),
  truncate: (text: string, length: number) => [...text].slice(0, length).join(''),
};

/** @throws TypeError when it is no list */
function listOf(values: unknown[] | GoNil | null | undefined): unknown[] {
  if (values === null || values === undefined || values instanceof GoNil) return [];
  if (!Array.isArray(values)) throw new TypeError('no list');
  return values;
}

const same = (text: unknown) => text;

/** With a column's title, Docker's own leave it as it is. */
export const TITLE_FUNCTIONS: typeof FUNCTIONS = {
  ...FUNCTIONS,
  json: same,
  lower: same,
  title: same,
  truncate: same,
  upper: same,
};

const HTML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
  '\0': '\ufffd',
};
const JS: Readonly<Record<string, string>> = { '\\': '\\\\', "'": "\\'", '"': '\\"' };

const codeOf = (character: string) => character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
const printed = (values: readonly unknown[]) => values.map(goText).join('');

/** A number that Go prints as something else is a number all the same. */
const plain = (value: unknown) => (value instanceof GoShown ? value.json : value);

/** Of one kind, or one of them is not there. @throws ERR_TSBOX_USAGE when they cannot be compared */
function isEqual(first: unknown, second: unknown): boolean {
  const [a, b] = [plain(first), plain(second)];
  const isMissing = [a, b].map((value) => value === undefined || value === null || value instanceof GoNil);
  if (isMissing.includes(true)) return isMissing[0] === isMissing[1];
  if (typeof a !== typeof b && !(isNumber(a) && isNumber(b)))
    throw templateError('error calling eq: incompatible types for comparison');
  return a === b || (isNumber(a) && Number(a) === Number(b));
}

const isNumber = (value: unknown) => typeof value === 'number' || typeof value === 'bigint';

function isLess(first: unknown, second: unknown): boolean {
  const [a, b] = [plain(first), plain(second)] as [number, number];
  if ((isNumber(a) && isNumber(b)) || (typeof a === 'string' && typeof b === 'string')) return a < b;
  throw templateError('error calling lt: incompatible types for comparison');
}

/** @throws ERR_TSBOX_USAGE when it cannot take these values */
export function callFunction(functions: typeof FUNCTIONS, name: string, args: readonly unknown[]): unknown {
  const called = functions[name] as (...values: unknown[]) => unknown;
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
  if (value instanceof GoNil) return false;
  if (value instanceof GoStruct) return true;
  if (value instanceof GoShown) return Boolean(value.json);
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go prints it: `[a b]`, `map[k:v]`, `<no value>`. */
export function goText(value: unknown): string {
  if (value === undefined || value === null) return '<no value>';
  if (value instanceof GoNil) return { list: '[]', map: 'map[]', pointer: '<nil>' }[value.kind];
  if (value instanceof GoShown) return value.text;
  if (value instanceof GoStruct) return `{${value.values().map(inner).join(' ')}}`;
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
  if ((value === null || (value instanceof GoNil && value.kind === 'map')) && typeof key === 'string') return '';
  if (value === undefined || value === null) throw templateError('error calling index: index of untyped nil');
  if (value instanceof GoNil) throw templateError(`error calling index: index out of range: ${goText(key)}`);
  if (Array.isArray(value) || typeof value === 'string') {
    const at = Number(key);
    if (!Number.isInteger(at) || at < 0 || at >= value.length) {
      throw templateError(`error calling index: index out of range: ${goText(key)}`);
    }
    return typeof value === 'string' ? value.charCodeAt(at) : value[at];
  }
  if (typeof value !== 'object' || value instanceof GoStruct)
    throw templateError("error calling index: can't index this value");
  return Object.hasOwn(value, String(key)) ? (value as Record<string, unknown>)[String(key)] : zeroOf(value);
}

function part(value: string | unknown[], from = 0, to: number = value.length): unknown {
  const outside = [from, to].find((at) => at < 0 || at > value.length);
  if (outside !== undefined) throw templateError(`error calling slice: index out of range: ${outside}`);
  if (from > to) throw templateError(`error calling slice: invalid slice index: ${from} > ${to}`);
  return value.slice(from, to);
}

function lengthOf(value: unknown): number {
  if (value === null || value === undefined || value instanceof GoNil) return 0;
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
      if (shown === undefined) return `%!${verb}(${typeName(values[next - 1])}${goText(values[next - 1])})`;
      const signed = flags.includes('+') && /^\d/.test(shown) ? `+${shown}` : shown;
      const missing = ' '.repeat(Math.max(0, Number(width ?? 0) - displayWidth(signed)));
      if (flags.includes('-')) return signed + missing;
      return flags.includes('0') && /[dxXobf]/.test(verb) ? missing.replaceAll(' ', '0') + signed : missing + signed;
    },
  );
  return next < values.length ? `${text}%!(EXTRA ${values.slice(next).map(goText).join(', ')})` : text;
}

/** As Go tells of a value that its verb is not for: `%!d(string=a)`. */
function typeName(value: unknown): string {
  if (typeof value === 'number') return Number.isInteger(value) ? 'int=' : 'float64=';
  return { string: 'string=', boolean: 'bool=' }[typeof value as string] ?? '';
}

function formatOne(verb: string, value: unknown, precision: number | undefined): string | undefined {
  if (value instanceof GoShown && typeof value.json === 'number' && 'dxob'.includes(verb))
    return formatOne(verb, value.json, precision);
  const isNumber = typeof value === 'number';
  switch (verb) {
    case 'v':
      return value === null ? '<nil>' : goText(value);
    case 's':
      if (isNumber || typeof value === 'boolean') return undefined;
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
    case 'X':
      return formatOne('x', value, precision)?.toUpperCase();
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
