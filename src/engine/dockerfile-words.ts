/**
 * Words of a Dockerfile instruction: where they end, and what quotes, escapes and variables in them mean. Pure.
 * @see docs.docker.com/reference/dockerfile, "Environment replacement" and "Escape"
 */
import { TsboxError } from '../errors.ts';

/** A Dockerfile instruction that Docker would refuse too. */
export function syntaxError(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message);
}

const SPACE = /\s/;

/** Splits at white space outside of quotes. Quotes and escapes stay: {@link expandWord} reads them. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const c = text[at]!;
    if (quote === '' && SPACE.test(c)) {
      if (word !== '') words.push(word);
      word = '';
      continue;
    }
    word += c;
    if (c === '\\' && quote !== "'" && at + 1 < text.length) word += text[++at];
    else if (quote === '' && (c === '"' || c === "'")) quote = c;
    else if (c === quote) quote = '';
  }
  if (word !== '') words.push(word);
  return words;
}

/** Variables by name; undefined for one that is not set. */
export type Lookup = (name: string) => string | undefined;

/** Variables of an image's `Env`. */
export function lookupIn(env: readonly string[]): Lookup {
  return (name) => env.findLast((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
}

interface Scanner {
  readonly text: string;
  at: number;
  readonly lookup: Lookup;
}

/** A word without its quotes and escapes, `$name`, `${name}`, `${name:-word}`, `${name:+word}` and `${name:?word}` replaced.
 *  @throws ERR_TSBOX_USAGE on a quote or brace that is not closed */
export function expandWord(text: string, lookup: Lookup): string {
  return scanUntil({ text, at: 0, lookup }, '');
}

/** Reads up to `stop`, which is consumed, or with an empty `stop` to the end. */
function scanUntil(scanner: Scanner, stop: string): string {
  const { text } = scanner;
  let result = '';
  while (scanner.at < text.length) {
    const c = text[scanner.at]!;
    if (c === stop) {
      scanner.at++;
      return result;
    }
    if (c === "'") result += singleQuoted(scanner);
    else if (c === '"') result += doubleQuoted(scanner);
    else if (c === '$') result += variable(scanner);
    else {
      if (c === '\\') scanner.at++;
      result += text[scanner.at] ?? '';
      scanner.at++;
    }
  }
  if (stop !== '') throw syntaxError(`unexpected end of statement while looking for matching ${stop}`);
  return result;
}

function singleQuoted(scanner: Scanner): string {
  const end = scanner.text.indexOf("'", scanner.at + 1);
  if (end < 0) throw syntaxError('unexpected end of statement while looking for matching single-quote');
  const inside = scanner.text.slice(scanner.at + 1, end);
  scanner.at = end + 1;
  return inside;
}

/** A backslash is one unless a double quote, a dollar or another backslash follows. */
function doubleQuoted(scanner: Scanner): string {
  const { text } = scanner;
  let result = '';
  scanner.at++;
  while (scanner.at < text.length) {
    const c = text[scanner.at]!;
    if (c === '"') {
      scanner.at++;
      return result;
    }
    if (c === '$') {
      result += variable(scanner);
      continue;
    }
    if (c === '\\' && '"$\\'.includes(text[scanner.at + 1] ?? ' ')) scanner.at++;
    result += text[scanner.at];
    scanner.at++;
  }
  throw syntaxError('unexpected end of statement while looking for matching double-quote');
}

/** A name, all the digits of a positional parameter, or one of the shell's special parameters. */
const NAME = /[A-Za-z_]\w*|[0-9]+|[@*#?!$-]/y;

function nameAt(scanner: Scanner): string {
  NAME.lastIndex = scanner.at;
  const name = NAME.exec(scanner.text)?.[0] ?? '';
  scanner.at += name.length;
  return name;
}

function variable(scanner: Scanner): string {
  scanner.at++;
  if (scanner.text[scanner.at] !== '{') {
    const name = nameAt(scanner);
    return name === '' ? '$' : (scanner.lookup(name) ?? '');
  }
  scanner.at++;
  const name = nameAt(scanner);
  if (name === '') throw syntaxError(`syntax error: bad substitution in ${JSON.stringify(scanner.text)}`);
  const value = scanner.lookup(name);
  let operator = scanner.text[scanner.at++] ?? '';
  if (operator === '}') return value ?? '';
  const emptyCounts = operator === ':';
  if (emptyCounts) operator = scanner.text[scanner.at++] ?? '';
  if (operator === '') throw syntaxError(`syntax error: missing '}' in ${JSON.stringify(scanner.text)}`);
  if (!'+-?'.includes(operator)) {
    throw syntaxError(`unsupported modifier (${operator}) in substitution: ${JSON.stringify(scanner.text)}`);
  }
  const word = scanUntil(scanner, '}');
  const isSet = value !== undefined && !(emptyCounts && value === '');
  if (operator === '+') return isSet ? word : '';
  if (!isSet && operator === '?') throw syntaxError(`${name}: ${word === '' ? 'not allowed to be empty' : word}`);
  return isSet ? value : word;
}

/** Words of `name=value name=value` or of the old form `name value`, not expanded yet.
 *  @throws ERR_TSBOX_USAGE in Docker's words */
export function nameValues(text: string, instruction: string): [name: string, value: string][] {
  const words = splitWords(text);
  if (words.length === 0) throw syntaxError(`${instruction} requires at least one argument`);
  if (!(words[0] ?? '').includes('=')) {
    const old = /^(\S+)\s+([\s\S]+)$/.exec(text.trim());
    if (old === null) throw syntaxError(`${instruction} must have two arguments`);
    return [[old[1]!, old[2]!]];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 0) {
      throw syntaxError(`Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`);
    }
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

/** A JSON array of strings; undefined when the text is something else and so a command for the shell.
 *  @throws ERR_TSBOX_USAGE for an array that has more than strings */
export function jsonWords(text: string): string[] | undefined {
  if (!text.trimStart().startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (!value.every((word) => typeof word === 'string')) {
    throw syntaxError('when using JSON array syntax, arrays must be comprised of strings only');
  }
  return value;
}

/** Instructions of a Dockerfile's text, one a line: comments out, continued lines joined. */
export function instructionLines(text: string): string[] {
  const lines: string[] = [];
  let open = '';
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*#/.test(line) || line.trim() === '') continue;
    const continued = /\\[ \t]*$/.exec(line);
    open += continued === null ? line : line.slice(0, continued.index);
    if (continued !== null) continue;
    lines.push(open.trim());
    open = '';
  }
  if (open.trim() !== '') lines.push(open.trim());
  return lines;
}
