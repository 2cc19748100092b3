/** Lists in the forms of `--format`: Docker's table, `table TEMPLATE`, `json`, a template for each row. Pure but for the printing. */
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

/** @throws ERR_TSBOX_USAGE on a format that is no template */
export async function printListing(listing: Listing, format: string | undefined): Promise<void> {
  print(await listingText(listing, format));
}

export async function listingText({ headers, columns, rows }: Listing, format = 'table'): Promise<string> {
  if (format === 'json') return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  if (format === 'table') {
    const cells = rows.map((row) => columns.map((column) => String(row[column])));
    return tableText([columns.map((column) => headers[column] ?? column), ...cells]);
  }
  const { compileTemplate } = await import('./template.ts');
  const [, asTable, source = ''] = /^(table\s+)?([\s\S]*)$/.exec(format) ?? [];
  const template = compileTemplate(source.replaceAll('\\t', '\t').replaceAll('\\n', '\n'));
  if (asTable === undefined) return rows.map((row) => `${template(row)}\n`).join('');
  const title = template(new Proxy({}, headerProxy(headers)));
  return tableText([title, ...rows.map(template)].map((line) => line.split('\t')));
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

/** Docker's `--filter key=value` flags by key. @throws when one has no `=` or a key that `known` does not have */
export function parseFilters(
  filters: readonly string[],
  known: readonly string[],
  refuse: (message: string) => Error,
): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const filter of filters) {
    const equals = filter.indexOf('=');
    if (equals < 0) throw refuse(`invalid argument ${JSON.stringify(filter)} for "-f, --filter" flag: not key=value`);
    const key = filter.slice(0, equals).trim().toLowerCase();
    if (!known.includes(key)) throw refuse(`invalid filter '${key}'`);
    found.set(key, [...(found.get(key) ?? []), filter.slice(equals + 1).trim()]);
  }
  return found;
}

/** Does a set of labels have `key` or `key=value`? */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const equals = wanted.indexOf('=');
  if (equals < 0) return Object.hasOwn(labels, wanted);
  return labels[wanted.slice(0, equals)] === wanted.slice(equals + 1);
}
