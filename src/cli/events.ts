/** `tsbox events` */
import { NEVER } from '../spec/container.ts';
import { type EngineEvent, nanosecondsOf } from '../spec/events.ts';
import { hasLabel } from '../spec/labels.ts';
import { parseTime } from '../spec/time.ts';
import { UsageError } from './args.ts';
import { command } from './command.ts';
import { goJson } from './go-json.ts';
import { localTimeWithNanoseconds } from './human.ts';
import { parseFilters } from './listing.ts';
import { print } from './output.ts';

/** What has events in a swarm, or with plugins: nothing here. */
const ELSEWHERE = ['config', 'node', 'plugin', 'secret', 'service'];
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
    const filters = parseFilters(flags.filter, [...FILTERS, ...ELSEWHERE]);
    const now = Date.now();
    const since = timeOf(flags.since, now);
    const until = timeOf(flags.until, now);
    if (since !== undefined && until !== undefined && since > until)
      throw new UsageError(`\`since\` time (${flags.since}) cannot be after \`until\` time (${flags.until})`, 1);
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
  const [{ compileOrEnd }, { GoStruct }, { compileTemplate }] = await Promise.all([
    import('./inspect.ts'),
    import('./go-types.ts'),
    import('./template.ts'),
  ]);
  const template = compileOrEnd((source) => {
    const compiled = compileTemplate(source);
    const asText = (event: EngineEvent) => compiled(new GoStruct('Event', dockerEvent(event)));
    asText(NO_EVENT); // as with Docker a field that there is not is told at once, not when something happens
    return asText;
  }, format);
  return (event) => `${template(event)}\n`;
}

const NO_EVENT: EngineEvent = { type: 'container', action: '', id: '', attributes: {}, time: NEVER };

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
    ...(type === 'container' || type === 'image' ? { status: action, ...(id !== '' && { id }) } : {}),
    ...(type === 'container' && attributes['image'] !== undefined ? { from: attributes['image'] } : {}),
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: sorted },
    scope: 'local',
    time: Number(nanoseconds / 1_000_000_000n),
    timeNano: nanoseconds,
  };
}

const withoutTag = (name: string) => name.replace(/@.*$/, '').replace(/:[^/:]*$/, '');

/** As Docker: values of one key are alternatives, but labels must all be there; keys are all to fit. @see moby daemon/events/filter.go */
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
  return [...filters].every(([key, values]) => {
    const test = tests[key] ?? (() => false);
    return key === 'label' ? values.every(test) : values.some(test);
  });
}
