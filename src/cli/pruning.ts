/** What the prune verbs share: filters, the question, the words about what is gone. */
import type { Removed } from '../engine/api.ts';
import type { PruneFilter } from '../engine/prune.ts';
import { confirm } from './confirm.ts';
import { humanSize } from './human.ts';
import { parseFilters, untilOf } from './listing.ts';
import { report } from './report.ts';

const FILTERS = ['until', 'label', 'label!'];

/** Flags of every prune verb. */
export const PRUNE_FLAGS = {
  filter: {
    kind: 'list',
    value: 'filter',
    help: 'Remove only what fits: until=<time> (made at that time or earlier), label=<key>[=<value>], label!=<key>[=<value>]',
  },
  force: { kind: 'bool', short: 'f', help: 'Do not ask for confirmation' },
} as const;

/** Flags of the verbs that prune images. */
export const PRUNE_IMAGES_FLAGS = {
  all: { kind: 'bool', short: 'a', help: 'Remove every image without a container, not only those without a tag' },
  ...PRUNE_FLAGS,
} as const;

/** Which images go, for the question. */
export function whichImages(all: boolean): string {
  return all ? 'all images without at least one container associated to them' : 'all dangling images';
}

/** What the `--filter` flags ask for. @throws UsageError */
export function pruneFilter(flags: readonly string[]): PruneFilter {
  const filters = parseFilters(flags, FILTERS, '--filter');
  const until = untilOf(filters, Date.now());
  return {
    ...(until === undefined ? {} : { until }),
    labels: filters.get('label') ?? [],
    withoutLabels: filters.get('label!') ?? [],
  };
}

/** As {@link pruneFilter} for what has no time: labels only. @throws UsageError */
export function labelFilter(flags: readonly string[]): PruneFilter {
  const filters = parseFilters(flags, ['label', 'label!'], '--filter');
  return { labels: filters.get('label') ?? [], withoutLabels: filters.get('label!') ?? [] };
}

/** @returns whether to go on: the user says so, or has said so by `--force` */
export function isWanted(warning: string, force: boolean): boolean {
  return force || confirm(`WARNING! ${warning}\nAre you sure you want to continue?`);
}

/** `Deleted Containers:` and a line for each; nothing when there are none. */
export function deletedText(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `Deleted ${title}:\n${lines.join('\n')}\n\n`;
}

export function removedLines(removed: readonly Removed[]): string[] {
  return removed.flatMap(({ untagged, deleted }) => [
    ...untagged.map((name) => `untagged: ${name}`),
    ...deleted.map((id) => `deleted: ${id}`),
  ]);
}

export function reclaimedText(bytes: number): string {
  return `Total reclaimed space: ${humanSize(bytes)}\n`;
}

/** Reports what could not be removed. @returns the exit code */
export function reportErrors(errors: readonly Error[]): number {
  for (const error of errors) report(error);
  return errors.length > 0 ? 1 : 0;
}
