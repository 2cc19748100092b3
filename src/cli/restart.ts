/** `tsbox restart` */
import { command } from './command.ts';
import { forEach } from './each.ts';
import { TIMEOUT_FLAG } from './stop.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Stop one or more containers and start them again',
  count: [1, Number.POSITIVE_INFINITY],
  flags: TIMEOUT_FLAG,
  unsupported: 'signal/s',
  async run(context, { timeout }, names) {
    const engine = await context.engine();
    const { restartContainer } = await import('../engine/restart.ts');
    return forEach(names, async (name) => {
      await restartContainer(engine, name, timeout);
      return `${name}\n`;
    });
  },
});
