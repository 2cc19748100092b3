/** `tsbox stop` */
import { parseSignal } from '../spec/signals.ts';
import type { FlagTable, FlagValues } from './args.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';

export const STOP_FLAGS = {
  signal: { kind: 'string', short: 's', help: "Signal that asks it to end, instead of the container's own" },
  timeout: {
    kind: 'int',
    short: 't',
    help: 'Seconds to wait before the container is killed; -1 for ever',
    aliases: ['time'],
  },
} as const satisfies FlagTable;

/** @throws ERR_TSBOX_USAGE for a signal that there is not */
export function stopOptions({ signal, timeout }: FlagValues<typeof STOP_FLAGS>) {
  return { seconds: timeout, signal: signal ? parseSignal(signal) : undefined };
}

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Stop one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: STOP_FLAGS,
  async run(context, flags, names) {
    const options = stopOptions(flags);
    const engine = await context.engine();
    const { stopContainer } = await import('../engine/stop.ts');
    return forEach(names, async (name) => {
      await stopContainer(engine, name, options);
      return `${name}\n`;
    });
  },
});
