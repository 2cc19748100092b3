/**
 * Flags as Docker reads them (Go's pflag): `--name x`, `--name=x`, `-n x`, `-nx`, `-n=x`, `-it`, `--rm=false`; a value may begin
 * with a dash; `--` ends the flags. One table of flags per verb drives the parser, the help and what is refused by name.
 */
import { TsboxError } from '../errors.ts';

export interface FlagSpec {
  /** A bool takes a value only behind `=`. A list may be given more than once. */
  readonly kind: 'bool' | 'string' | 'int' | 'list';
  readonly short?: string;
  /** One line, without a period. */
  readonly help: string;
  /** The word for the value in the help; the kind when absent. */
  readonly value?: string;
  readonly default?: boolean | string | number;
  /** Other spellings, not in the help. */
  readonly aliases?: readonly string[];
}

export type FlagTable = Readonly<Record<string, FlagSpec>>;

type ValueOf<F extends FlagSpec> = F['kind'] extends 'bool'
  ? boolean
  : F['kind'] extends 'list'
    ? string[]
    : F['kind'] extends 'int'
      ? number | (F extends { readonly default: number } ? never : undefined)
      : string | (F extends { readonly default: string } ? never : undefined);

export type FlagValues<T extends FlagTable> = { -readonly [Name in keyof T]: ValueOf<T[Name]> };

export interface Grammar<T extends FlagTable = FlagTable> {
  readonly flags: T;
  /** Docker's flags that tsbox does not have, `name` or `name/short`, separated by blanks. */
  readonly unsupported?: string;
  /** Flags end at the first argument: what follows belongs to the container. */
  readonly stopAtArgument?: boolean;
}

export interface Parsed<T extends FlagTable> {
  help: boolean;
  values: FlagValues<T>;
  args: string[];
}

/** A flag or an argument is wrong. The message is followed by where the right ones are to be read. */
export class UsageError extends TsboxError {
  /** The command whose help says more: `tsbox run`; the caller fills it in. */
  command = 'tsbox';

  constructor(message: string, exitCode: number, hint?: string) {
    super('ERR_TSBOX_USAGE', message, hint === undefined ? { exitCode } : { exitCode, hint });
  }
}

/** Docker's exit code for a flag that is wrong, whatever the verb. */
export const FLAG_ERROR = 125;

type Value = boolean | string | number | string[] | undefined;
type Found = { readonly name: string; readonly spec: FlagSpec } | 'help';

/** Reads flags and arguments. Stops reading at `--help`.
 *  @throws UsageError (exit code 125) on a flag that is unknown, not supported, without its value or with a wrong one */
export function parseFlags<T extends FlagTable>(grammar: Grammar<T>, argv: readonly string[]): Parsed<T> {
  const values: Record<string, Value> = {};
  for (const [name, spec] of Object.entries(grammar.flags)) {
    values[name] = spec.default ?? (spec.kind === 'bool' ? false : spec.kind === 'list' ? [] : undefined);
  }
  const args: string[] = [];
  const done = (help: boolean) => ({ help, values: values as FlagValues<T>, args });
  const rest = [...argv];
  while (rest.length > 0) {
    const word = rest.shift()!;
    if (word === '--') {
      args.push(...rest);
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      args.push(word);
      if (grammar.stopAtArgument !== true) continue;
      args.push(...rest);
      break;
    }
    const asked = word.startsWith('--')
      ? readLong(grammar, values, word, rest)
      : readShort(grammar, values, word, rest);
    if (asked === 'help') return done(true);
  }
  return done(false);
}

function readLong(grammar: Grammar, values: Record<string, Value>, word: string, rest: string[]): 'help' | undefined {
  const equals = word.indexOf('=');
  const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
  if (name === '' || name.startsWith('-')) throw new UsageError(`bad flag syntax: ${word}`, FLAG_ERROR);
  const found = findLong(grammar, name);
  if (found === 'help') return 'help';
  let text: string | undefined = equals < 0 ? undefined : word.slice(equals + 1);
  if (text === undefined && found.spec.kind === 'bool') text = 'true';
  if (text === undefined) text = rest.shift();
  if (text === undefined) throw new UsageError(`flag needs an argument: --${name}`, FLAG_ERROR);
  store(values, found, text);
  return undefined;
}

/** `-itv/a:/b`: bools up to a flag that takes the rest of the word, or the next word, as its value. */
function readShort(grammar: Grammar, values: Record<string, Value>, word: string, rest: string[]): 'help' | undefined {
  for (let at = 1; at < word.length; at++) {
    const short = word[at]!;
    const found = findShort(grammar, short, word);
    if (found === 'help') return 'help';
    let text: string | undefined;
    if (word[at + 1] === '=') text = word.slice(at + 2);
    else if (found.spec.kind !== 'bool') text = at + 1 < word.length ? word.slice(at + 1) : rest.shift();
    else {
      store(values, found, 'true');
      continue;
    }
    if (text === undefined) throw new UsageError(`flag needs an argument: '${short}' in ${word}`, FLAG_ERROR);
    store(values, found, text);
    return undefined;
  }
  return undefined;
}

function findLong(grammar: Grammar, name: string): Found {
  for (const [key, spec] of Object.entries(grammar.flags)) {
    if (key === name || spec.aliases?.includes(name) === true) return { name: key, spec };
  }
  if (name === 'help') return 'help';
  if (isUnsupported(grammar, (long) => long === name)) throw notSupported(`--${name}`);
  throw new UsageError(`unknown flag: --${name}`, FLAG_ERROR);
}

function findShort(grammar: Grammar, short: string, word: string): Found {
  for (const [key, spec] of Object.entries(grammar.flags)) if (spec.short === short) return { name: key, spec };
  if (isUnsupported(grammar, (_, other) => other === short)) throw notSupported(`-${short}`);
  if (short === 'h') return 'help';
  throw new UsageError(`unknown shorthand flag: '${short}' in ${word}`, FLAG_ERROR);
}

function isUnsupported(grammar: Grammar, is: (long: string, short: string | undefined) => boolean): boolean {
  return (grammar.unsupported ?? '').split(' ').some((flag) => {
    const [long = '', short] = flag.split('/');
    return is(long, short);
  });
}

const notSupported = (flag: string) => new UsageError(`${flag}: not supported yet`, FLAG_ERROR);

function store(values: Record<string, Value>, { name, spec }: Exclude<Found, 'help'>, text: string): void {
  /** As Docker says it, and Go's functions for it. */
  const invalid = (type: string, why: string) => {
    const shown = spec.short === undefined ? `--${name}` : `-${spec.short}, --${name}`;
    const given = JSON.stringify(text);
    const message = `invalid argument ${given} for "${shown}" flag: strconv.Parse${type}: parsing ${given}: ${why}`;
    return new UsageError(message, FLAG_ERROR);
  };
  if (spec.kind === 'list') values[name] = [...(values[name] as string[]), text];
  else if (spec.kind === 'string') values[name] = text;
  else if (spec.kind === 'int') {
    if (!/^[+-]?(\d+|0x[0-9a-f]+)$/i.test(text)) throw invalid('Int', 'invalid syntax');
    const number = Number(text.replace(/^[+-]/, ''));
    if (!Number.isSafeInteger(number)) throw invalid('Int', 'value out of range');
    values[name] = text.startsWith('-') ? -number : number;
  } else if (/^(1|t|T|true|TRUE|True)$/.test(text)) values[name] = true;
  else if (/^(0|f|F|false|FALSE|False)$/.test(text)) values[name] = false;
  else throw invalid('Bool', 'invalid syntax');
}

/** @throws UsageError (exit code 1, as Docker) when there are too few or too many. `max` may be Infinity */
export function checkCount(command: string, args: readonly string[], min: number, max: number): void {
  if (args.length >= min && args.length <= max) return;
  const plural = (count: number) => `${count} ${count === 1 ? 'argument' : 'arguments'}`;
  const needs =
    max === 0
      ? 'accepts no arguments'
      : min === max
        ? `requires ${plural(min)}`
        : min > 0 && max < Number.POSITIVE_INFINITY
          ? `requires at least ${min} and at most ${plural(max)}`
          : args.length < min
            ? `requires at least ${plural(min)}`
            : `requires at most ${plural(max)}`;
  throw new UsageError(`'${command}' ${needs}`, 1);
}
