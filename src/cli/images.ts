/** `tsbox images` */
import type { ImageSummary } from '../engine/api.ts';
import type { ImageUsage } from '../engine/disk-usage.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { type Context, command } from './command.ts';
import { humanAge, humanSize, localTime, shortId } from './human.ts';
import { danglingOf, filterImages, IMAGE_FILTERS, referenceMatcher, repositoryOf } from './image-filters.ts';
import { isPlainTable, parseFilters, printListing, type Row } from './listing.ts';
import { complain, print } from './output.ts';

const NONE = '<none>';

export const verb = command({
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  summary: 'List images',
  count: [0, 1],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show images too that have no name and only serve as parents of others' },
    digests: { kind: 'bool', help: 'Show digests' },
    filter: {
      kind: 'list',
      short: 'f',
      value: 'filter',
      help: `Show only what fits: ${IMAGE_FILTERS.join(', ')} (key=value)`,
    },
    format: { kind: 'string', help: "'table', 'json', a Go template for each row, or 'table TEMPLATE'" },
    'no-trunc': { kind: 'bool', help: 'Show ids in full' },
    quiet: { kind: 'bool', short: 'q', help: 'Show ids only' },
    tree: { kind: 'bool', help: 'Show the layers, and which images share them' },
  },
  async run(context, flags, [pattern]) {
    if (flags.tree) checkTree(flags);
    const filters = parseFilters(flags.filter, IMAGE_FILTERS);
    const patterns = [
      ...(filters.get('reference') ?? []),
      ...(pattern === undefined || pattern === '' ? [] : [pattern]),
    ];
    const fits = referenceMatcher(patterns);
    const all = flags.all || danglingOf(filters) === true;
    const images = await load(context, filters, all);
    const named = images.filter((image) => patterns.length === 0 || [...image.tags, ...image.digests].some(fits));
    if (flags.tree) {
      const [{ layerTree }, { treeText }] = await Promise.all([
        import('../engine/layer-tree.ts'),
        import('./image-tree.ts'),
      ]);
      print(treeText(layerTree(await context.engine(), named), flags['no-trunc']));
      return 0;
    }
    const { format } = flags;
    const usage = await usageFor(context, format);
    const digests = flags.digests || format?.includes('.Digest') === true;
    const plain = isPlainTable(format);
    const options = { now: Date.now(), whole: flags['no-trunc'], digests, fits, usage, plain };
    const rows = named.flatMap((image) => imageRows(image, options));
    if (flags.quiet && plain) print(rows.map((row) => `${row['ID']}\n`).join(''));
    else await printListing({ headers: IMAGE_HEADERS, columns: columns(flags.digests), rows }, format);
    return 0;
  },
});

export const IMAGE_HEADERS = {
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  Digest: 'DIGEST',
  ID: 'IMAGE ID',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  Size: 'SIZE',
  SharedSize: 'SHARED SIZE',
  UniqueSize: 'UNIQUE SIZE',
  Containers: 'CONTAINERS',
  VirtualSize: 'SIZE',
};

function columns(digests: boolean): string[] {
  return ['Repository', 'Tag', ...(digests ? ['Digest'] : []), 'ID', 'CreatedSince', 'Size'];
}

function checkTree(flags: { digests: boolean; quiet: boolean; format: string | undefined }): void {
  const other =
    (['digests', 'quiet'] as const).find((flag) => flags[flag]) ?? (flags.format === undefined ? undefined : 'format');
  if (other !== undefined) throw new UsageError(`--${other} does not go with --tree`, FLAG_ERROR);
}

async function load(
  context: Context,
  filters: ReadonlyMap<string, readonly string[]>,
  all: boolean,
): Promise<ImageSummary[]> {
  const engine = await context.engine();
  const { imageCreated, listImages } = await import('../engine/images.ts');
  const parents = filters.has('dangling');
  const images = listImages(engine, { all, parents }, (_, error) => complain(`tsbox: ${error.message}\n`));
  return filterImages(images, filters, (name) => imageCreated(engine, name), Date.now());
}

/** What Docker leaves out as `N/A`, where a template asks for it. */
async function usageFor(context: Context, format: string | undefined): Promise<Map<string, ImageUsage>> {
  if (format === undefined || !/Containers|SharedSize|UniqueSize|json/.test(format)) return new Map();
  const engine = await context.engine();
  const { imageUsage } = await import('../engine/disk-usage.ts');
  return new Map(imageUsage(engine).map((usage) => [usage.image.id, usage]));
}

export interface RowOptions {
  /** Milliseconds since 1970. */
  now: number;
  /** Ids in full. */
  whole: boolean;
  /** A row for each digest of a tag's repository. */
  digests: boolean;
  /** Which of the image's names have a row. */
  fits: (reference: string) => boolean;
  /** Only what the plain table shows. */
  plain?: boolean;
  /** By image id. */
  usage?: ReadonlyMap<string, ImageUsage>;
}

/** A row for each tag (with `digests`: for each tag and digest) that fits; one row for an image without a name. Pure. */
export function imageRows(image: ImageSummary, options: RowOptions): Row[] {
  const usage = options.usage?.get(image.id);
  const row = (repository: string, tag: string, digest: string): Row => {
    const shown = {
      CreatedSince: humanAge(image.created, options.now),
      Digest: digest,
      ID: options.whole ? image.id : shortId(image.id),
      Repository: repository,
      Size: humanSize(image.size, 3),
      Tag: tag,
    };
    if (options.plain) return shown;
    const more = {
      Containers: usage === undefined ? 'N/A' : String(usage.containers),
      CreatedAt: localTime(image.created),
      SharedSize: usage === undefined ? 'N/A' : humanSize(usage.shared),
      UniqueSize: usage === undefined ? 'N/A' : humanSize(usage.unique),
      VirtualSize: humanSize(image.size),
    };
    // JSON has them in Go's order.
    return Object.fromEntries(Object.entries({ ...shown, ...more }).sort(([a], [b]) => (a < b ? -1 : 1)));
  };
  if (image.tags.length + image.digests.length === 0) return [row(NONE, NONE, NONE)];
  const tags = image.tags
    .filter(options.fits)
    .map((name) => [repositoryOf(name), name.slice(name.lastIndexOf(':') + 1)] as const);
  const digests = image.digests
    .filter(options.fits)
    .map((name) => [repositoryOf(name), name.slice(name.indexOf('@') + 1)] as const);
  const rows = tags.flatMap(([repository, tag]) => {
    const own = options.digests ? digests.filter(([of]) => of === repository) : [];
    return own.length === 0 ? [row(repository, tag, NONE)] : own.map(([, digest]) => row(repository, tag, digest));
  });
  const untagged = digests.filter(([repository]) => tags.every(([other]) => other !== repository));
  const repositories = new Set(untagged.map(([repository]) => repository));
  if (!options.digests) return [...rows, ...[...repositories].map((repository) => row(repository, NONE, NONE))];
  return [...rows, ...untagged.map(([repository, digest]) => row(repository, NONE, digest))];
}
