/** `tsbox images` */
import type { ImageSummary } from '../engine/api.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import { command } from './command.ts';
import { humanAge, humanSize, localTime, shortId } from './human.ts';
import { hasLabel, parseFilters, printListing, type Row } from './listing.ts';
import { print } from './output.ts';

const FILTERS = ['dangling', 'label', 'reference', 'before', 'since'];
const NONE = '<none>';

export const verb = command({
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  summary: 'List images',
  count: [0, 1],
  flags: {
    all: { kind: 'bool', short: 'a', help: 'Show intermediate images too' },
    digests: { kind: 'bool', help: 'Show digests' },
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
  unsupported: 'tree',
  async run(context, flags, [pattern]) {
    const engine = await context.engine();
    const { listImages } = await import('../engine/images.ts');
    const filters = parseFilters(flags.filter, FILTERS, (message) => new UsageError(message, FLAG_ERROR));
    const images = listImages(engine, { all: flags.all }).sort((a, b) => (a.created < b.created ? 1 : -1));
    const patterns = [...(filters.get('reference') ?? []), ...(pattern === undefined ? [] : [pattern])];
    const now = Date.now();
    const shown = images.filter((image) => fits(image, filters, images));
    const rows = shown.flatMap((image) =>
      imageRows(image, { now, whole: flags['no-trunc'], digests: flags.digests, patterns }),
    );
    if (flags.quiet && flags.format === undefined) print(rows.map((row) => `${row['ID']}\n`).join(''));
    else {
      const columns = ['Repository', 'Tag', ...(flags.digests ? ['Digest'] : []), 'ID', 'CreatedSince', 'Size'];
      await printListing({ headers: HEADERS, columns, rows }, flags.format);
    }
    return 0;
  },
});

const HEADERS = {
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  Digest: 'DIGEST',
  ID: 'IMAGE ID',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  Size: 'SIZE',
};

/** A row for each tag (with `digests`: for each tag and digest) that a pattern fits; one row for an image without. Pure. */
export function imageRows(
  image: ImageSummary,
  options: { now: number; whole: boolean; digests: boolean; patterns: readonly string[] },
): Row[] {
  const row = (repository: string, tag: string, digest: string): Row => ({
    Containers: 'N/A',
    CreatedAt: localTime(image.created),
    CreatedSince: humanAge(image.created, options.now),
    Digest: digest,
    ID: options.whole ? image.id : shortId(image.id),
    Repository: repository,
    SharedSize: 'N/A',
    Size: humanSize(image.size, 3),
    Tag: tag,
    UniqueSize: 'N/A',
    VirtualSize: humanSize(image.size, 3),
  });
  const fit = (name: string) =>
    options.patterns.length === 0 || options.patterns.some((pattern) => referenceFits(pattern, name));
  const digests = image.digests.map((each) => splitAt(each, each.indexOf('@')));
  const rows: Row[] = [];
  const seen = new Set<string>();
  for (const name of image.tags) {
    const [repository, tag] = splitAt(name, name.lastIndexOf(':'));
    seen.add(repository);
    if (!fit(name)) continue;
    const own = options.digests ? digests.filter(([of]) => of === repository) : [];
    if (own.length === 0) rows.push(row(repository, tag, NONE));
    for (const [, digest] of own) rows.push(row(repository, tag, digest));
  }
  for (const [repository, digest] of digests) {
    if (!seen.has(repository) && fit(repository)) rows.push(row(repository, NONE, digest));
  }
  if (image.tags.length === 0 && digests.length === 0 && options.patterns.length === 0)
    rows.push(row(NONE, NONE, NONE));
  return rows;
}

const splitAt = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at + 1)];

/** Docker's patterns: `*`, `?` and `[...]` stay within one part of the name; without a tag every tag fits. */
export function referenceFits(pattern: string, name: string): boolean {
  const familiar = pattern.replace(/^docker\.io\/(library\/)?/, '');
  const expression = familiar.replace(/\[[^\]]*\]|[*?]|[.+^${}()|\\]/g, (part) => {
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    return part.startsWith('[') ? part : `\\${part}`;
  });
  const whole = new RegExp(`^${expression}$`);
  const colon = name.lastIndexOf(':');
  const repository = colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
  return whole.test(name) || whole.test(repository);
}

function fits(
  image: ImageSummary,
  filters: ReadonlyMap<string, readonly string[]>,
  all: readonly ImageSummary[],
): boolean {
  const dangling = filters.get('dangling');
  const isDangling = image.tags.length === 0 && image.digests.length === 0;
  if (dangling !== undefined && !dangling.some((value) => /^(1|true)$/i.test(value) === isDangling)) return false;
  const labels = image.config.config?.Labels ?? {};
  if (!(filters.get('label') ?? []).every((label) => hasLabel(labels, label))) return false;
  const created = (name: string) => named(name, all).created;
  return (
    (filters.get('before') ?? []).every((name) => image.created < created(name)) &&
    (filters.get('since') ?? []).every((name) => image.created > created(name))
  );
}

function named(name: string, images: readonly ImageSummary[]): ImageSummary {
  const tagged = name.includes(':') ? name : `${name}:latest`;
  const found = images.find(
    ({ id, tags }) => tags.includes(name) || tags.includes(tagged) || id.replace(/^sha256:/, '').startsWith(name),
  );
  if (found === undefined) throw new UsageError(`no such image: ${name}`, 1);
  return found;
}
