/** `tsbox ps` */
import type { ContainerSummary, ImageSummary } from '../engine/api.ts';
import { NEVER } from '../spec/container.ts';
import { portsColumn } from '../spec/published.ts';
import { LOCAL_DRIVER } from '../spec/volume.ts';
import { type Context, command } from './command.ts';
import { betweenFilters, containerFilters, FILTERS, type Filters, fits } from './container-filters.ts';
import { ellipsis, humanAge, humanDuration, humanSize, localTime, shortId } from './human.ts';
import { isPlainTable, printListing, type Row } from './listing.ts';
import { complain, print } from './output.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'List containers',
  count: [0, 0],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show stopped containers too' },
    filter: {
      kind: 'list',
      short: 'f',
      value: 'filter',
      help: `Show only what fits: ${FILTERS.join(', ')} (key=value)`,
    },
    format: { kind: 'string', help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'" },
    last: { kind: 'int', short: 'n', default: -1, help: 'Show the n containers made last, in any state' },
    latest: { kind: 'bool', short: 'l', help: 'Show the container made last, in any state' },
    'no-trunc': { kind: 'bool', help: 'Show ids and commands in full' },
    quiet: { kind: 'bool', short: 'q', help: 'Show ids only' },
    size: { kind: 'bool', short: 's', help: 'Show how much each has written, and how much it is with its image' },
  },
  // Sizes are those of files that may be closed to all but their owner.
  ownsFiles: wantsSizes,
  async run(context, flags) {
    const engine = await context.engine();
    const { listContainers } = await import('../engine/list.ts');
    const filters = containerFilters(flags.filter);
    const last = flags.latest && flags.last === -1 ? 1 : flags.last;
    // A filter on the state asks for containers in that state, running or not.
    const all = flags.all || last > 0 || filters.has('status');
    const ancestors = filters.has('ancestor') ? await loadImages(context) : [];
    const inNetworks = filters.has('network') ? await networkNames(context, filters.get('network')!) : [];
    const networks = filters.has('network') || /Networks|json/.test(flags.format ?? '');
    const ports =
      filters.has('publish') ||
      filters.has('expose') ||
      (isPlainTable(flags.format) ? !flags.quiet : /Ports|json/.test(flags.format));
    const listed = listContainers(engine, { all, networks, ports }, (_, error) =>
      complain(`tsbox: ${error.message}\n`),
    );
    const found = (await between(context, listed, filters))
      .filter((summary) => fits(summary, filters, ancestors))
      .filter((summary) => !filters.has('network') || networksOf(summary).some((one) => inNetworks.includes(one)))
      .slice(0, last > 0 ? last : undefined);
    const now = Date.now();
    if (flags.quiet && (isPlainTable(flags.format) || flags.format === 'json')) {
      print(found.map(({ record }) => `${flags['no-trunc'] ? record.ID : shortId(record.ID)}\n`).join(''));
      return 0;
    }
    const sizeOf = await sizes(context, wantsSizes(flags));
    const columns = flags.size ? [...COLUMNS, 'Size'] : COLUMNS;
    const shown = isPlainTable(flags.format) ? columns : undefined;
    const rows = found.map((summary) =>
      containerRow(summary, { now, whole: flags['no-trunc'], size: sizeOf(summary) }, shown),
    );
    await printListing({ headers: CONTAINER_HEADERS, columns, rows }, flags.format);
    return 0;
  },
});

const COLUMNS = ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Ports', 'Names'];
export const CONTAINER_HEADERS = {
  ID: 'CONTAINER ID',
  Image: 'IMAGE',
  Command: 'COMMAND',
  CreatedAt: 'CREATED AT',
  RunningFor: 'CREATED',
  Status: 'STATUS',
  State: 'STATE',
  Ports: 'PORTS',
  Names: 'NAMES',
  Labels: 'LABELS',
  Mounts: 'MOUNTS',
  Networks: 'NETWORKS',
  Size: 'SIZE',
  LocalVolumes: 'LOCAL VOLUMES',
};

/** Bytes that a container has written, and with its image; absent when nobody asked. */
interface Size {
  written: number;
  withImage?: number;
}

function wantsSizes({ size, format }: { size: boolean; format: string | undefined }): boolean {
  // The whole row as JSON asks for all of it, as with Docker; the format `json` does not.
  return size || /\.Size|\bjson\s+\.\s*-?\}\}|\{\s*\.\s*\|\s*json\b/.test(format ?? '');
}

/** How to find the size of a container; measuring takes a look at every file that it has written. */
async function sizes(context: Context, wanted: boolean): Promise<(summary: ContainerSummary) => Size | undefined> {
  if (!wanted) return () => undefined;
  const engine = await context.engine();
  const { containerSize } = await import('../engine/disk-usage.ts');
  return ({ record }) => containerSize(engine, record);
}

export interface RowOptions {
  /** Milliseconds since 1970. */
  now: number;
  /** Ids and commands in full. */
  whole: boolean;
  size?: Size | undefined;
}

/** What a row shows, by Docker's field names. */
const FIELDS: Readonly<Record<string, (summary: ContainerSummary, options: RowOptions) => string>> = {
  Command({ record }, { whole }) {
    const words = [record.Path, ...record.Args.map((word) => (word.includes(' ') ? `'${word}'` : word))].join(' ');
    return JSON.stringify(whole ? words : ellipsis(words, 20));
  },
  CreatedAt: ({ record }) => localTime(record.Created),
  ID: ({ record }, { whole }) => (whole ? record.ID : shortId(record.ID)),
  Image: ({ image }, { whole }) => imageText(image, whole),
  Labels({ record }) {
    const pairs = Object.entries(labelsOf(record)).map(([key, value]) => `${key}=${value}`);
    return pairs.sort().join(',');
  },
  LocalVolumes: ({ record }) => String(pointsOf(record).filter(({ Driver }) => Driver === LOCAL_DRIVER).length),
  Mounts({ record }, { whole }) {
    const mounts = pointsOf(record).map(({ Name, Source }) => Name || Source);
    return mounts.map((mount) => (whole ? mount : ellipsis(mount, 15))).join(',');
  },
  Names: ({ record }) => record.Name.replace(/^\//, ''),
  Networks: (summary) => networksOf(summary).join(','),
  Ports: ({ ports }) => (ports === undefined ? '' : portsColumn(ports.published, ports.exposed)),
  RunningFor: ({ record }, { now }) => humanAge(record.Created, now),
  Size: (_, { size }) => sizeText(size),
  State: ({ state }) => state.Status,
  Status: ({ state, health }, { now }) => statusText(state, now, health),
};

/** A row of the list. Pure.
 *  @param names the fields that are shown, if not all of them: of a thousand rows the others need not be put together */
export function containerRow(summary: ContainerSummary, options: RowOptions, names?: readonly string[]): Row {
  const row: Record<string, unknown> = {};
  for (const name of names ?? Object.keys(FIELDS)) row[name] = FIELDS[name]!(summary, options);
  if (names !== undefined) return row;
  const label = (key: string) => labelsOf(summary.record)[key] ?? '';
  return Object.defineProperty(row, 'Label', { value: label, enumerable: false });
}

const labelsOf = ({ Config }: ContainerSummary['record']) => Config.Labels ?? {};
const pointsOf = ({ MountPoints }: ContainerSummary['record']) => Object.values(MountPoints ?? {});

/** `12B (virtual 1.99MB)` */
function sizeText({ written, withImage }: Size = { written: 0 }): string {
  return humanSize(written, 3) + (withImage === undefined ? '' : ` (virtual ${humanSize(withImage, 3)})`);
}

function imageText(image: string, whole: boolean): string {
  return /^sha256:[0-9a-f]{64}$/.test(image) && !whole ? shortId(image) : image;
}

/** `Up 5 minutes`, `Exited (0) 3 hours ago`, `Restarting (1) 2 seconds ago`, `Created`. */
export function statusText(state: ContainerSummary['state'], now: number, health?: ContainerSummary['health']): string {
  if (state.Restarting) return `Restarting (${state.ExitCode}) ${humanAge(state.FinishedAt, now)}`;
  if (state.Running) {
    const up = `Up ${humanDuration((now - Date.parse(state.StartedAt)) / 1000)}`;
    if (state.Paused) return `${up} (Paused)`;
    return health === undefined ? up : `${up} (${health.Status === 'starting' ? 'health: starting' : health.Status})`;
  }
  if (state.Dead) return 'Dead';
  if (state.StartedAt === NEVER || state.Status === 'created') return 'Created';
  return state.FinishedAt === NEVER ? '' : `Exited (${state.ExitCode}) ${humanAge(state.FinishedAt, now)}`;
}

/** Their names; `host` or `none` of a container without networks of its own, and nothing of one that shares another's. */
function networksOf({ record, network = '' }: ContainerSummary): string[] {
  const mode = network.startsWith('container:') ? {} : { [network]: {} };
  return Object.keys(record.NetworkSettings?.Networks ?? mode);
}

/** Of networks by name or id; what is none of these stands for itself, as `container:NAME` does. */
async function networkNames(context: Parameters<typeof verb.run>[0], wanted: readonly string[]): Promise<string[]> {
  const { listNetworks } = await import('../engine/networks.ts');
  const all = listNetworks(await context.engine());
  return wanted.map(
    (one) => all.find(({ record: { ID, Name } }) => Name === one || ID.startsWith(one))?.record.Name ?? one,
  );
}

async function between(context: Context, listed: ContainerSummary[], filters: Filters): Promise<ContainerSummary[]> {
  if (!filters.has('before') && !filters.has('since')) return listed;
  const engine = await context.engine();
  const { whenCreated } = await import('../engine/list.ts');
  return betweenFilters(listed, filters, (name) => whenCreated(engine, name));
}

async function loadImages(context: Parameters<typeof verb.run>[0]): Promise<ImageSummary[]> {
  const { listImages } = await import('../engine/images.ts');
  return listImages(await context.engine(), { all: true, parents: true });
}
