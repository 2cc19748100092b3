/** `tsbox volume ls` */
import type { VolumeUsage } from '../engine/volumes.ts';
import { hasLabel } from '../spec/labels.ts';
import { LOCAL_DRIVER } from '../spec/volume.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { isPlainTable, matches, parseFilters, printListing, type Row } from './listing.ts';
import { complain, print } from './output.ts';

const FILTERS = ['dangling', 'driver', 'label', 'name'];

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'List volumes',
  count: [0, 0],
  flags: {
    filter: {
      kind: 'list',
      short: 'f',
      value: 'filter',
      help: `Show only what fits: ${FILTERS.join(', ')} (key=value)`,
    },
    format: { kind: 'string', help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'" },
    quiet: { kind: 'bool', short: 'q', help: 'Show names only' },
  },
  unsupported: 'cluster',
  async run(context, { filter, format, quiet }) {
    const filters = parseFilters(filter, FILTERS);
    const dangling = danglingOf(filters.get('dangling') ?? []);
    const engine = await context.engine();
    const { listVolumes } = await import('../engine/volumes.ts');
    const named = (error: Error) => complain(`tsbox: ${error.message}\n`);
    const unknown = dangling === undefined ? undefined : ({ error }: { error: Error }) => named(error);
    const found = listVolumes(engine, (_, error) => named(error), unknown).filter(
      (usage) => (dangling === undefined || dangling === (usage.users.length === 0)) && fits(usage, filters),
    );
    if (quiet && isPlainTable(format)) print(found.map(({ volume }) => `${volume.name}\n`).join(''));
    else {
      const rows = found.map(({ volume }) => volumeRow(volume));
      await printListing({ headers: VOLUME_HEADERS, columns: ['Driver', 'Name'], rows }, format);
    }
    return 0;
  },
});

export const VOLUME_HEADERS = {
  Driver: 'DRIVER',
  Labels: 'LABELS',
  Links: 'LINKS',
  Mountpoint: 'MOUNTPOINT',
  Name: 'VOLUME NAME',
  Scope: 'SCOPE',
  Size: 'SIZE',
};

/** A row of the list, by Docker's field names. Pure. @param use absent when nobody counted */
export function volumeRow(volume: VolumeUsage['volume'], use?: { links: string; size: string }): Row {
  const labels = volume.labels ?? {};
  const row = {
    Availability: 'N/A',
    Driver: LOCAL_DRIVER,
    Group: 'N/A',
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join(','),
    Links: use?.links ?? 'N/A',
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Scope: 'local',
    Size: use?.size ?? 'N/A',
    Status: 'N/A',
  };
  return Object.defineProperty(row, 'Label', { value: (key: string) => labels[key] ?? '', enumerable: false });
}

/** @throws UsageError in Docker's words for what is neither true nor false, and for both */
function danglingOf(values: readonly string[]): boolean | undefined {
  const wanted = new Set(values.map((value) => ({ true: true, 1: true, false: false, 0: false })[value]));
  if (wanted.has(undefined) || wanted.size > 1) {
    throw new UsageError(`Invalid filter 'dangling=[${values.join(' ')}]'`, 1);
  }
  return [...wanted][0];
}

function fits({ volume }: VolumeUsage, filters: ReadonlyMap<string, readonly string[]>): boolean {
  const any = (key: string, test: (value: string) => boolean) => filters.get(key)?.some(test) ?? true;
  return (
    any('driver', (driver) => driver === LOCAL_DRIVER) &&
    any('name', (pattern) => matches(pattern, volume.name)) &&
    (filters.get('label') ?? []).every((label) => hasLabel(volume.labels ?? {}, label))
  );
}
