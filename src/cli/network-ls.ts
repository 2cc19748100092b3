/** `tsbox network ls` */

import type { NetworkSummary } from '../engine/networks.ts';
import { goTime } from '../spec/go-time.ts';
import { isIPv6 } from '../spec/ip.ts';
import { hasLabel } from '../spec/labels.ts';
import { compareNaturally } from '../spec/natural-order.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { isPlainTable, matches, parseFilters, printListing, type Row } from './listing.ts';
import { complain, print } from './output.ts';

const FILTERS = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'];
const SCOPE = 'local';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'List networks',
  count: [0, 0],
  flags: {
    filter: {
      kind: 'list',
      short: 'f',
      value: 'filter',
      help: `Show only what fits: ${FILTERS.join(', ')} (key=value)`,
    },
    format: { kind: 'string', help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'" },
    'no-trunc': { kind: 'bool', help: 'Show ids in full' },
    quiet: { kind: 'bool', short: 'q', help: 'Show ids only' },
  },
  async run(context, { filter, format, quiet, 'no-trunc': whole }) {
    const fit = networkFilter(parseFilters(filter, FILTERS));
    const engine = await context.engine();
    const { listNetworks } = await import('../engine/networks.ts');
    const found = listNetworks(engine, (_, error) => complain(`tsbox: ${error.message}\n`))
      .filter(fit)
      .sort((a, b) => compareNaturally(a.record.Name, b.record.Name));
    const rows = found.map(({ record }) => networkRow(record, whole));
    if (quiet && isPlainTable(format)) print(rows.map(({ ID }) => `${ID}\n`).join(''));
    else await printListing({ headers: HEADERS, columns: ['ID', 'Name', 'Driver', 'Scope'], rows }, format);
    return 0;
  },
});

const HEADERS = {
  CreatedAt: 'CREATED AT',
  Driver: 'DRIVER',
  ID: 'NETWORK ID',
  IPv4: 'IPV4',
  IPv6: 'IPV6',
  Internal: 'INTERNAL',
  Labels: 'LABELS',
  Name: 'NAME',
  Scope: 'SCOPE',
};

/** A row of the list, by Docker's field names. Pure. @param whole ids in full */
export function networkRow(record: NetworkSummary['record'], whole: boolean): Row {
  const { Labels, IPAM } = record;
  const row = {
    CreatedAt: utcTime(record.Created),
    Driver: record.Driver,
    ID: whole ? record.ID : record.ID.slice(0, 12),
    IPv4: String(IPAM.Config.some(({ Subnet }) => !isIPv6(Subnet))),
    IPv6: String(record.EnableIPv6),
    Internal: String(record.Internal),
    Labels: Object.entries(Labels)
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join(','),
    Name: record.Name,
    Scope: SCOPE,
  };
  return Object.defineProperty(row, 'Label', { value: (key: string) => Labels[key] ?? '', enumerable: false });
}

/** `2024-05-01 12:30:00.5 +0000 UTC`: as Go prints a time, in the zone in which it is kept. */
function utcTime(time: string): string {
  return goTime(time).replace('T', ' ').replace(/Z$/, ' +0000 UTC');
}

/** @throws UsageError in Docker's words for a value that a filter does not have */
function networkFilter(filters: ReadonlyMap<string, readonly string[]>): (summary: NetworkSummary) => boolean {
  const dangling = danglingOf(filters.get('dangling') ?? []);
  const types = filters.get('type') ?? [];
  const wrong = types.find((type) => type !== 'builtin' && type !== 'custom');
  if (wrong !== undefined) throw new UsageError(`invalid filter: 'type'='${wrong}'`, 1);
  const any = (key: string, test: (value: string) => boolean) => filters.get(key)?.some(test) ?? true;
  return ({ record, isCustom, isUsed }) =>
    (dangling === undefined || dangling === (isCustom && !isUsed)) &&
    any('driver', (driver) => driver === record.Driver) &&
    any('id', (pattern) => matches(pattern, record.ID)) &&
    any('name', (pattern) => matches(pattern, record.Name)) &&
    any('scope', (scope) => scope === SCOPE) &&
    any('type', (type) => type === (isCustom ? 'custom' : 'builtin')) &&
    (filters.get('label') ?? []).every((label) => hasLabel(record.Labels, label));
}

function danglingOf(values: readonly string[]): boolean | undefined {
  const wanted = new Set(values.map((value) => ({ true: true, 1: true, false: false, 0: false })[value]));
  if (!wanted.has(undefined) && wanted.size <= 1) return [...wanted][0];
  const message = `invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`;
  throw new UsageError(message, 1);
}
