/** `images --filter`, as Docker understands it. Pure. */
import type { ImageSummary } from '../engine/api.ts';
import { hasLabel } from '../spec/labels.ts';
import { UsageError } from './args.ts';
import { untilOf } from './listing.ts';
import { pathPattern } from './path-match.ts';

export const IMAGE_FILTERS = ['dangling', 'label', 'reference', 'before', 'since', 'until'];

export type Filters = ReadonlyMap<string, readonly string[]>;

/** Without `dangling` both; else only those that no tag leads to and that no other image was made from, or all others. */
export function danglingOf(filters: Filters): boolean | undefined {
  const values = filters.get('dangling');
  if (values === undefined) return undefined;
  if (values.every((value) => value === 'true' || value === '1')) return true;
  if (values.every((value) => value === 'false' || value === '0')) return false;
  throw new UsageError(`invalid filter 'dangling=[${[...values].sort().join(' ')}]'`, 1, 'It is true or false.');
}

/**
 * Leaves the images that fit all filters but `reference`, which is about names.
 * @param images where `dangling` is asked for, with their parents, and for `true` with those that only serve as parents
 * @param createdOf when the image was made that a name stands for; throws when there is none
 * @throws UsageError
 */
export function filterImages(
  images: readonly ImageSummary[],
  filters: Filters,
  createdOf: (name: string) => string,
  now: number,
): ImageSummary[] {
  if (filters.size === 0) return [...images];
  const dangling = danglingOf(filters);
  const parents = new Set(images.map(({ parent }) => parent));
  const until = untilOf(filters, now) ?? Number.POSITIVE_INFINITY;
  const before = (filters.get('before') ?? []).map(createdOf);
  const since = (filters.get('since') ?? []).map(createdOf);
  const labels = filters.get('label') ?? [];
  return images.filter(
    ({ id, tags, digests, created, labels: own }) =>
      (dangling !== true || (tags.length === 0 && !parents.has(id))) &&
      (dangling !== false || tags.length + digests.length > 0) &&
      Date.parse(created) <= until &&
      before.every((time) => isBefore(created, time)) &&
      since.every((time) => isBefore(time, created)) &&
      labels.every((label) => hasLabel(own, label)),
  );
}

/** Times of RFC 3339, which may differ by nanoseconds only. */
function isBefore(a: string, b: string): boolean {
  const [first, second] = [Date.parse(a), Date.parse(b)];
  return first === second ? fraction(a) < fraction(b) : first < second;
}

const fraction = (time: string) => (/\.(\d+)/.exec(time)?.[1] ?? '').padEnd(9, '0');

/** Tells which references (`name:tag`, `name@digest`) one of the patterns fits; without patterns all.
 *  A pattern fits the whole reference or its name alone. @throws UsageError on a pattern that is none */
export function referenceMatcher(patterns: readonly string[]): (reference: string) => boolean {
  if (patterns.length === 0) return () => true;
  const expressions = patterns.map((pattern) => {
    const expression = pathPattern(pattern.replace(/^docker\.io\/(library\/)?/, ''));
    if (expression === undefined) throw new UsageError(`syntax error in pattern ${JSON.stringify(pattern)}`, 1);
    return expression;
  });
  return (reference) => {
    const name = repositoryOf(reference);
    return expressions.some((expression) => expression.test(reference) || expression.test(name));
  };
}

/** `name` of `name:tag` or `name@digest`. */
export function repositoryOf(reference: string): string {
  const at = reference.indexOf('@');
  return at < 0 ? reference.slice(0, reference.lastIndexOf(':')) : reference.slice(0, at);
}
