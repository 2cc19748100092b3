/** `tsbox restart` */
import { command } from './command.ts';
import { forEach } from './each.ts';
import { STOP_FLAGS, stopOptions } from './stop.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Stop one or more containers and start them again',
  count: [1, Number.POSITIVE_INFINITY],
  flags: STOP_FLAGS,
  async run(context, flags, names) {
    const options = stopOptions(flags);
    const engine = await context.engine();
    const { restartContainer } = await import('../engine/restart.ts');
    return forEach(names, async (name) => {
      await restartContainer(engine, name, options);
      return `${name}\n`;
    });
  },
});
