/** Which containers `ps --filter` shows. */
import type { ContainerSummary, ImageSummary } from '../engine/api.ts';
import { TsboxError } from '../errors.ts';
import { NEVER } from '../spec/container.ts';
import { hasLabel } from '../spec/labels.ts';
import { portsOfRange } from '../spec/ports.ts';
import { UsageError } from './args.ts';
import { matches, parseFilters } from './listing.ts';

export const FILTERS = [
  'status',
  'name',
  'id',
  'label',
  'ancestor',
  'before',
  'since',
  'exited',
  'volume',
  'health',
  'network',
  'publish',
  'expose',
  'is-task',
  'isolation',
];
const HEALTH = ['none', 'starting', 'healthy', 'unhealthy'];
const STATUSES = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'];

export type Filters = ReadonlyMap<string, readonly string[]>;

/** @throws UsageError on a filter or a value that there is not */
export function containerFilters(asked: readonly string[]): Filters {
  const filters = parseFilters(asked, FILTERS);
  checkStatuses(filters.get('status') ?? []);
  checkHealth(filters.get('health') ?? []);
  for (const code of filters.get('exited') ?? []) {
    if (!/^[-+]?\d+$/.test(code))
      throw new UsageError(`strconv.Atoi: parsing ${JSON.stringify(code)}: invalid syntax`, 1);
  }
  for (const isTask of filters.get('is-task') ?? []) {
    if (isTask !== 'true' && isTask !== 'false') throw new UsageError(`invalid filter 'is-task=[${isTask}]'`, 1);
  }
  portsAsked(filters);
  return filters;
}

/** `80/tcp` of the host and of containers; undefined when no filter asks for ports.
 *  @throws ERR_TSBOX_USAGE on what is no port */
function portsAsked(filters: Filters): Record<'publish' | 'expose', Set<string>> | undefined {
  if (!filters.has('publish') && !filters.has('expose')) return undefined;
  const all = (key: 'publish' | 'expose') =>
    new Set(
      (filters.get(key) ?? []).flatMap((value) => {
        if (value.includes(':')) throw new UsageError(`filter for '${key}' should not contain ':': ${value}`, 1);
        try {
          return portsOfRange(value);
        } catch (error) {
          throw new UsageError(`error while looking up for ${key} ${value}: ${(error as Error).message}`, 1);
        }
      }),
    );
  return { publish: all('publish'), expose: all('expose') };
}

function checkHealth(asked: readonly string[]): void {
  for (const one of asked) {
    if (!HEALTH.includes(one)) throw new UsageError(`Unrecognised filter value for health: ${one}`, 1);
  }
}

function checkStatuses(statuses: readonly string[]): void {
  for (const status of statuses) {
    if (!STATUSES.includes(status)) {
      throw new UsageError(`invalid filter 'status=${status}'`, 1, `A status is one of: ${STATUSES.join(', ')}.`);
    }
  }
}

/** Every key must fit; of a key's values one is enough, but of labels all must be there. */
export function fits(summary: ContainerSummary, filters: Filters, images: readonly ImageSummary[]): boolean {
  if (filters.size === 0) return true;
  const { record, state, health } = summary;
  const any = (key: string, test: (value: string) => boolean) => filters.get(key)?.some(test) ?? true;
  const name = record.Name.replace(/^\//, '');
  return (
    // Tasks are a swarm's. All containers have the one isolation that Linux has.
    any('is-task', (text) => text === 'false') &&
    hasPort(summary, filters) &&
    any('health', (one) => (health?.Status ?? 'none') === one) &&
    any('status', (status) => state.Status === status) &&
    any('name', (pattern) => matches(pattern, name) || matches(pattern, `/${name}`)) &&
    any('id', (id) => record.ID.startsWith(id)) &&
    any('volume', (volume) => hasMount(record, volume)) &&
    any('exited', (code) => !state.Running && state.StartedAt !== NEVER && state.ExitCode === Number(code)) &&
    any('ancestor', (image) => record.Config.Image === image || descends(record.Image, image, images)) &&
    (filters.get('label') ?? []).every((label) => hasLabel(record.Config.Labels ?? {}, label))
  );
}

/** As with Docker: one of those that are asked for, of either kind, and only while it runs. */
function hasPort({ ports }: ContainerSummary, filters: Filters): boolean {
  const asked = portsAsked(filters);
  if (asked === undefined) return true;
  const published = ports?.published ?? [];
  const exposed = [
    ...Object.keys(ports?.exposed ?? {}),
    ...published.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`),
  ];
  return (
    published.some(({ hostPort, protocol }) => asked.publish.has(`${hostPort}/${protocol}`)) ||
    exposed.some((port) => asked.expose.has(port))
  );
}

/** Those made before one and after another. As with Docker, of several of a kind the last counts.
 *  @param list the youngest first @param createdOf of a container, by name or id
 *  @throws ERR_TSBOX_NOT_FOUND when there is none by such a name */
export function betweenFilters(
  list: readonly ContainerSummary[],
  filters: Filters,
  createdOf: (name: string) => Created | undefined,
): ContainerSummary[] {
  const [before, since] = (['before', 'since'] as const).map((key) => {
    const found = (filters.get(key) ?? []).map((name) => {
      const created = createdOf(name);
      if (created === undefined)
        throw new TsboxError('ERR_TSBOX_NOT_FOUND', `no such container ${name}`, { exitCode: 1 });
      return created;
    });
    return found.at(-1);
  });
  return list.filter(
    ({ record }) =>
      (before === undefined || (record.ID !== before.ID && record.Created < before.Created)) &&
      (since === undefined || (record.ID !== since.ID && record.Created > since.Created)),
  );
}

type Created = Pick<ContainerSummary['record'], 'ID' | 'Created'>;

/** By the name of a volume, a directory of the host or a place in the container. */
function hasMount({ MountPoints }: ContainerSummary['record'], wanted: string): boolean {
  return Object.values(MountPoints).some(
    ({ Name, Source, Destination }) => wanted === (Name || Source) || wanted === Destination,
  );
}

/** Is `image`, or one that it was made from, the one that `wanted` names? */
function descends(image: string, wanted: string, images: readonly ImageSummary[]): boolean {
  const tagged = wanted.includes(':') ? wanted : `${wanted}:latest`;
  const isWanted = ({ id, tags }: ImageSummary) =>
    tags.includes(tagged) || (/^[0-9a-f]{4,}$/.test(wanted) && id.startsWith(`sha256:${wanted}`)) || id === wanted;
  for (let at = images.find(({ id }) => id === image); at !== undefined; ) {
    if (isWanted(at)) return true;
    const { parent } = at;
    at = images.find(({ id }) => id === parent);
  }
  return false;
}
