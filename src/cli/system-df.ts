/** `tsbox system df` */
import type { ContainerUsage, DiskUsage, ImageUsage } from '../engine/disk-usage.ts';
import { command } from './command.ts';
import { goJson } from './go-json.ts';
import { humanSize } from './human.ts';
import { IMAGE_HEADERS, imageRows } from './images.ts';
import { listingText, printListing, type Row } from './listing.ts';
import { complain, print } from './output.ts';
import { CONTAINER_HEADERS, containerRow } from './ps.ts';
import { VOLUME_HEADERS, volumeRow } from './volume-ls.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Show what takes space on the disk, and how much of it could go',
  count: [0, 0],
  flags: {
    format: {
      kind: 'string',
      help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'; with -v one for all",
    },
    verbose: { kind: 'bool', short: 'v', help: 'Show each image, container and volume' },
  },
  ownsFiles: true,
  async run(context, { format, verbose }) {
    const engine = await context.engine();
    const { diskUsage } = await import('../engine/disk-usage.ts');
    const usage = diskUsage(engine, (_, error) => complain(`tsbox: ${error.message}\n`));
    if (!verbose) await printListing({ headers: HEADERS, columns: COLUMNS, rows: summaryRows(usage) }, format);
    else if (format === undefined || format === 'table') print(await verboseText(verboseRows(usage, false)));
    else print(await formatted(verboseRows(usage, true), format));
    return 0;
  },
});

const COLUMNS = ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'];
const HEADERS = { Type: 'TYPE', TotalCount: 'TOTAL', Active: 'ACTIVE', Size: 'SIZE', Reclaimable: 'RECLAIMABLE' };

/** The rows of Docker. tsbox has no build cache: scripts find it empty. Pure. */
export function summaryRows({ images, containers, volumes, layers, reclaimable }: DiskUsage): Row[] {
  const written = (some: readonly ContainerUsage[]) => some.reduce((sum, each) => sum + each.written, 0);
  const stopped = containers.filter(({ container }) => !container.state.Running);
  const size = (some: DiskUsage['volumes']) => some.reduce((sum, each) => sum + each.size, 0);
  const unused = volumes.filter(({ users }) => users.length === 0);
  const used = images.filter((image) => image.containers > 0);
  return [
    row('Images', images.length, used.length, layers, reclaimable),
    row('Containers', containers.length, containers.length - stopped.length, written(containers), written(stopped)),
    row('Local Volumes', volumes.length, volumes.length - unused.length, size(volumes), size(unused)),
    row('Build Cache', 0, 0, 0, 0),
  ];
}

function row(Type: string, total: number, active: number, size: number, reclaimable: number): Row {
  const share = size === 0 ? '' : ` (${Math.floor((reclaimable * 100) / size)}%)`;
  return {
    Active: String(active),
    Reclaimable: humanSize(reclaimable) + share,
    Size: humanSize(size),
    TotalCount: String(total),
    Type,
  };
}

interface Verbose {
  Images: Row[];
  Containers: Row[];
  Volumes: Row[];
  BuildCache: Row[];
}

/** @param whole ids and commands in full */
function verboseRows({ images, containers, volumes }: DiskUsage, whole: boolean): Verbose {
  const now = Date.now();
  return {
    Images: images.map((usage) => imageRow(usage, now, whole)),
    Containers: containers.map(({ container, written }) => containerRow(container, { now, whole, size: { written } })),
    Volumes: volumes.map(({ volume, users, size }) =>
      volumeRow(volume, { links: String(users.length), size: humanSize(size) }),
    ),
    BuildCache: [],
  };
}

/** One row an image, with its first name. */
function imageRow(usage: ImageUsage, now: number, whole: boolean): Row {
  const { image } = usage;
  const options = { now, whole, digests: false, fits: () => true, usage: new Map([[image.id, usage]]) };
  return imageRows(image, options)[0]!;
}

const IMAGE_COLUMNS = ['Repository', 'Tag', 'ID', 'CreatedSince', 'Size', 'SharedSize', 'UniqueSize', 'Containers'];
const CONTAINER_COLUMNS = ['ID', 'Image', 'Command', 'LocalVolumes', 'Size', 'RunningFor', 'Status', 'Names'];

/** The tables of Docker; those of what tsbox does not have are empty. */
async function verboseText({ Images, Containers, Volumes }: Verbose): Promise<string> {
  const tables = [
    ['Images', IMAGE_HEADERS, IMAGE_COLUMNS, Images],
    ['Containers', CONTAINER_HEADERS, CONTAINER_COLUMNS, Containers],
    ['Local Volumes', VOLUME_HEADERS, ['Name', 'Links', 'Size'], Volumes],
  ] as const;
  const texts = tables.map(
    async ([title, headers, columns, rows]) =>
      `${title} space usage:\n\n${await listingText({ headers, columns, rows })}\n`,
  );
  return (await Promise.all(texts)).join('');
}

/** A template gets all rows at once: `{{range .Images}}{{.ID}}{{end}}`. */
async function formatted(rows: Verbose, format: string): Promise<string> {
  if (format === 'json') return `${goJson(rows)}\n`;
  const { compileTemplate } = await import('./template.ts');
  return compileTemplate(format.replaceAll('\\t', '\t').replaceAll('\\n', '\n'))(rows);
}
