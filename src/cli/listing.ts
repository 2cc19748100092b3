/** Lists in the forms of `--format`: Docker's table, `table TEMPLATE`, `json`, a template for each row. Pure but for the printing. */
import { parseTime } from '../spec/time.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { goJson } from './go-json.ts';
import { print } from './output.ts';
import { tableText } from './table.ts';

/** A row by the names that templates use. A function is a method: `{{.Label "key"}}`. */
export type Row = Readonly<Record<string, unknown>>;

export interface Listing {
  /** Column titles by field: `{ID: 'CONTAINER ID'}`. */
  headers: Readonly<Record<string, string>>;
  /** The fields that the plain table shows, in order. */
  columns: readonly string[];
  rows: readonly Row[];
}

/** Does a list in this form show its columns and nothing else? */
export function isPlainTable(format: string | undefined): format is 'table' | '' | undefined {
  return format === undefined || format === '' || format === 'table';
}

/** @throws ERR_TSBOX_USAGE on a format that is no template */
export async function printListing(listing: Listing, format: string | undefined): Promise<void> {
  print(await listingText(listing, format));
}

export async function listingText({ headers, columns, rows }: Listing, format?: string): Promise<string> {
  if (format === 'json') return rows.map((row) => `${goJson(row)}\n`).join('');
  if (isPlainTable(format)) {
    const cells = rows.map((row) => columns.map((column) => String(row[column])));
    return tableText([columns.map((column) => headers[column] ?? column), ...cells]);
  }
  const { compileTemplate } = await import('./template.ts');
  const [, asTable, source = ''] = /^(table)? *([\s\S]*?) *$/.exec(format) ?? [];
  const template = compileTemplate(source.replaceAll('\\t', '\t').replaceAll('\\n', '\n'));
  if (asTable === undefined) return rows.map((row) => `${template(row)}\n`).join('');
  const title = template(new Proxy({}, headerProxy(headers)), true);
  return tableText([title, ...rows.map((row) => template(row))].map((line) => line.split('\t')));
}

/** Every field is its own title, and so is a method's. */
function headerProxy(headers: Readonly<Record<string, string>>): ProxyHandler<object> {
  const title = (name: string) => headers[name] ?? name.toUpperCase();
  return {
    get: (_, name) => (name === 'Label' ? (key: string) => key : title(String(name))),
    getOwnPropertyDescriptor: () => ({ configurable: true, enumerable: true }),
    has: () => true,
  };
}

/** Docker's `--filter key=value` flags by key; `key!=value` has the key `key!`.
 *  @param flag how the verb's help calls the flag
 *  @throws UsageError when one has no `=` or a key that `known` does not have */
export function parseFilters(
  filters: readonly string[],
  known: readonly string[],
  flag = '-f, --filter',
): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const filter of filters) {
    if (filter === '') continue;
    const equals = filter.indexOf('=');
    if (equals < 0) {
      const what = `invalid argument ${JSON.stringify(filter)} for "${flag}" flag`;
      throw new UsageError(`${what}: bad format of filter (expected name=value)`, FLAG_ERROR);
    }
    const key = filter.slice(0, equals).trim().toLowerCase();
    if (!known.includes(key)) {
      throw new UsageError(`invalid filter '${key}'`, 1, `Filters of this command: ${known.join(', ')}.`);
    }
    found.set(key, [...(found.get(key) ?? []), filter.slice(equals + 1).trim()]);
  }
  return found;
}

const CLASSES = { alpha: 'a-zA-Z', digit: '0-9', alnum: '0-9a-zA-Z', lower: 'a-z', upper: 'A-Z', xdigit: '0-9a-fA-F' };

/** What Go writes in another way than JavaScript: `(?i)` at the begin, `(?P<name>`, `\A`, `\z`, `[[:digit:]]`. */
function goRegExp(pattern: string): RegExp {
  const [, flags = '', rest = ''] = /^(?:\(\?([ims]+)\))?([\s\S]*)$/.exec(pattern) ?? [];
  const source = rest
    .replaceAll('(?P<', '(?<')
    .replace(/\\[Az]/g, (anchor) => (anchor === '\\A' ? '^' : '$'))
    .replace(/\[:(\w+):\]/g, (text, name: keyof typeof CLASSES) => CLASSES[name] ?? text);
  return new RegExp(source, flags);
}

/** Does the text fit the regular expression of a filter, or contain what is none? */
export function matches(pattern: string, text: string): boolean {
  try {
    return goRegExp(pattern).test(text);
  } catch {
    return text.includes(pattern);
  }
}

/** The one time that `until` gives, in milliseconds since 1970. @throws UsageError when it is no time, or given more than once */
export function untilOf(filters: ReadonlyMap<string, readonly string[]>, now: number): number | undefined {
  const [text, ...others] = filters.get('until') ?? [];
  if (text === undefined) return undefined;
  if (others.length > 0) throw new UsageError('more than one until filter specified', 1);
  const time = parseTime(text, now);
  if (time !== undefined) return time;
  const hint = 'Give how long ago (24h, 1h30m), a date (2024-05-01, 2024-05-01T10:00:00Z), or seconds since 1970.';
  throw new UsageError(`failed to parse value as time or duration: ${JSON.stringify(text)}`, 1, hint);
}
