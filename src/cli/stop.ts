/** `tsbox stop` */
import type { FlagTable } from './args.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';

export const TIMEOUT_FLAG = {
  timeout: {
    kind: 'int',
    short: 't',
    help: 'Seconds to wait before the container is killed; -1 for ever',
    aliases: ['time'],
  },
} as const satisfies FlagTable;

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Stop one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: TIMEOUT_FLAG,
  unsupported: 'signal/s',
  async run(context, { timeout }, names) {
    const engine = await context.engine();
    const { stopContainer } = await import('../engine/stop.ts');
    return forEach(names, async (name) => {
      await stopContainer(engine, name, timeout);
      return `${name}\n`;
    });
  },
});
