/** `tsbox logs` */
import type { StreamName } from '../engine/api.ts';
import type { LogEntry } from '../engine/log-lines.ts';
import { TsboxError } from '../errors.ts';
import { parseExactTime } from '../spec/time.ts';
import { command } from './command.ts';

const NEWLINE = 0x0a;

export const verb = command({
  usage: '[OPTIONS] CONTAINER',
  summary: 'Show what a container has written',
  count: [1, 1],
  flags: {
    details: { kind: 'bool', help: 'Show what --log-opt labels, env and tag say' },
    follow: { kind: 'bool', short: 'f', help: 'Go on until the container has ended' },
    since: { kind: 'string', value: 'time', help: 'Lines since a time (2024-05-01T10:00:00Z) or for so long (42m)' },
    tail: { kind: 'string', short: 'n', default: 'all', help: 'Number of lines from the end' },
    timestamps: { kind: 'bool', short: 't', help: 'Show when each line was written' },
    until: { kind: 'string', value: 'time', help: 'Lines before a time, or until so long ago' },
  },
  async run(context, flags, [name]) {
    const now = Date.now();
    const times = { ...timeOf('since', flags.since, now), ...timeOf('until', flags.until, now) };
    const engine = await context.engine();
    const { readLogs } = await import('../engine/logs.ts');
    const { writeAll } = await import('./streams.ts');
    // As Docker: what is no number, or less than nothing, means all.
    const tail = /^\+?\d+$/.test(flags.tail) ? { tail: Number(flags.tail) } : {};
    const output = writeAll();
    const show = shower(flags);
    const bytes = !flags.timestamps && !flags.details;
    const options = { follow: flags.follow, bytes, ...tail, ...times };
    for await (const entries of readLogs(engine, name!, options)) {
      for (const [stream, bytes] of joined(entries, show)) await output.write(stream, bytes);
    }
    await output.end();
    return 0;
  },
});

function timeOf<T extends string>(flag: T, text: string | undefined, now: number): { [key in T]?: bigint } {
  if (text === undefined || text === '') return {};
  const time = parseExactTime(text, now);
  if (time === 0n) return {}; // as Docker: no limit
  if (time !== undefined) return { [flag]: time } as { [key in T]?: bigint };
  const what = `failed to parse value as time or duration: ${JSON.stringify(text)}`;
  throw new TsboxError('ERR_TSBOX_USAGE', `invalid value for "${flag}": ${what}`);
}

type Show = (entry: LogEntry) => readonly Buffer[];

/** What is printed for an entry. A line that was split when it was logged is one again: what stands in front of it stands there once. */
function shower({ timestamps, details }: { timestamps: boolean; details: boolean }): Show {
  if (!timestamps && !details) return ({ log }) => [log];
  const within = { stdout: false, stderr: false };
  return ({ stream, time, log, attrs }) => {
    const begins = !within[stream];
    within[stream] = log.at(-1) !== NEWLINE;
    if (!begins) return [log];
    return [Buffer.from((timestamps ? `${time} ` : '') + (details ? `${attributes(attrs ?? {})} ` : '')), log];
  };
}

/** As Docker shows them: in order, escaped as in a query. */
function attributes(attrs: Readonly<Record<string, string>>): string {
  const escaped = (text: string) =>
    new URLSearchParams({ '': text }).toString().slice(1).replaceAll('*', '%2A').replaceAll('%7E', '~');
  return Object.keys(attrs)
    .sort()
    .map((name) => `${escaped(name)}=${escaped(attrs[name]!)}`)
    .join(',');
}

/** What follows each other on one stream, in one piece. */
function* joined(entries: readonly LogEntry[], show: Show): Generator<[StreamName, Buffer]> {
  for (let at = 0; at < entries.length; ) {
    const { stream } = entries[at]!;
    const parts: Buffer[] = [];
    for (; at < entries.length && entries[at]!.stream === stream; at++) parts.push(...show(entries[at]!));
    yield [stream, Buffer.concat(parts)];
  }
}
