/** `tsbox logs` */
import { command } from './command.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER',
  summary: 'Show what a container has written',
  count: [1, 1],
  flags: {
    follow: { kind: 'bool', short: 'f', help: 'Go on until the container has ended' },
    tail: { kind: 'string', short: 'n', default: 'all', help: 'Number of lines from the end' },
    timestamps: { kind: 'bool', short: 't', help: 'Show when each line was written' },
  },
  unsupported: 'details since until',
  async run(context, flags, [name]) {
    const engine = await context.engine();
    const { readLogs } = await import('../engine/logs.ts');
    const { writeAll } = await import('./streams.ts');
    // As Docker: what is no number means all.
    const tail = /^\d+$/.test(flags.tail) ? { tail: Number(flags.tail) } : {};
    const { flushed } = await import('./pump.ts');
    const write = await writeAll();
    for await (const { stream, time, log } of readLogs(engine, name!, { follow: flags.follow, ...tail })) {
      await write(stream, flags.timestamps ? `${time} ${log}` : log);
    }
    await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
    return 0;
  },
});
