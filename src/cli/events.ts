/** `tsbox events` */
import { type EngineEvent, nanosecondsOf } from '../spec/events.ts';
import { hasLabel } from '../spec/labels.ts';
import { parseTime } from '../spec/time.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { goJson } from './go-json.ts';
import { localTimeWithNanoseconds } from './human.ts';
import { parseFilters } from './listing.ts';
import { print } from './output.ts';

const FILTERS = ['container', 'daemon', 'event', 'image', 'label', 'network', 'scope', 'type', 'volume'];

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Show what happens to containers, images, networks and volumes',
  count: [0, 0],
  flags: {
    filter: { kind: 'list', short: 'f', help: `Show only what fits: ${FILTERS.join(', ')} (key=value)` },
    format: { kind: 'string', help: "'json', or a Go template for each event" },
    since: { kind: 'string', help: 'Show what has happened since then too', value: 'time' },
    until: { kind: 'string', help: 'End with that moment', value: 'time' },
  },
  async run(context, flags) {
    const filters = parseFilters(flags.filter, FILTERS);
    const now = Date.now();
    const since = timeOf(flags.since, now);
    const until = timeOf(flags.until, now);
    const show = await shower(flags.format);
    const engine = await context.engine();
    const { readEvents } = await import('../engine/events.ts');
    const wanted = (event: EngineEvent) => fitsEvent(event, filters);
    const times = { ...(since !== undefined && { since }), ...(until !== undefined && { until }) };
    for await (const event of readEvents(engine, { ...times, wanted })) print(show(event));
    return 0;
  },
});

function timeOf(text: string | undefined, now: number): bigint | undefined {
  if (text === undefined || text === '') return undefined;
  const time = parseTime(text, now);
  if (time === undefined) throw new UsageError(`failed to parse value as time or duration: ${JSON.stringify(text)}`, 1);
  return BigInt(Math.round(time)) * 1_000_000n;
}

async function shower(format: string | undefined): Promise<(event: EngineEvent) => string> {
  if (format === undefined || format === '') return eventText;
  if (format === 'json') return (event) => `${goJson(dockerEvent(event))}\n`;
  const { compileTemplate } = await import('./template.ts');
  const template = compileTemplate(format);
  return (event) => `${template(templateEvent(event))}\n`;
}

/** `2024-05-01T10:00:00.123456789Z container start ID (image=busybox, name=one)` */
export function eventText({ type, action, id, attributes, time }: EngineEvent): string {
  const told = Object.keys(attributes)
    .sort()
    .map((key) => `${key}=${attributes[key]}`)
    .join(', ');
  return `${localTimeWithNanoseconds(time)} ${type} ${action} ${id}${told === '' ? '' : ` (${told})`}\n`;
}

/** The event as Docker's interface gives it, fields in the order of its JSON. */
export function dockerEvent({ type, action, id, attributes, time }: EngineEvent) {
  const nanoseconds = nanosecondsOf(time);
  const sorted = Object.fromEntries(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
  return {
    ...(type === 'container' || type === 'image' ? { status: action, id } : {}),
    ...(type === 'container' ? { from: attributes['image'] ?? '' } : {}),
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: sorted },
    scope: 'local',
    time: Number(nanoseconds / 1_000_000_000n),
    timeNano: nanoseconds,
  };
}

/** With the names that templates have for what JSON writes in small letters; JSON of the whole has them not. */
function templateEvent(event: EngineEvent): object {
  const told = dockerEvent(event);
  const { status = '', id = '', from = '', scope, time, timeNano } = told;
  const others = { Status: status, ID: id, From: from, Scope: scope, Time: time, TimeNano: timeNano };
  for (const [name, value] of Object.entries(others)) Object.defineProperty(told, name, { value });
  return told;
}

const withoutTag = (name: string) => name.replace(/@.*$/, '').replace(/:[^/:]*$/, '');

/** As Docker: values of one key are alternatives, keys are all to fit. @see moby daemon/events/filter.go */
export function fitsEvent(event: EngineEvent, filters: ReadonlyMap<string, readonly string[]>): boolean {
  const { type, action, id, attributes } = event;
  const { name = '' } = attributes;
  const image = (type === 'image' ? name : attributes['image']) ?? '';
  const begins = (value: string) => id.startsWith(value) || (name !== '' && name.startsWith(value));
  const tests: Record<string, (value: string) => boolean> = {
    container: (value) => type === 'container' && begins(value),
    volume: (value) => type === 'volume' && begins(value),
    network: (value) => type === 'network' && begins(value),
    daemon: () => false,
    event: (value) => action === value || action.split(':')[0] === value,
    image: (value) => [id, image, withoutTag(id), withoutTag(image)].includes(value),
    label: (value) => hasLabel(attributes, value),
    scope: (value) => value === 'local',
    type: (value) => type === value,
  };
  return [...filters].every(([key, values]) => values.some((value) => tests[key]!(value)));
}
