/** `tsbox stop` */
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Stop one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    timeout: {
      kind: 'int',
      short: 't',
      help: 'Seconds to wait before the container is killed; -1 for ever',
      aliases: ['time'],
    },
  },
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
