/** `tsbox unpause` */
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: 'CONTAINER [CONTAINER...]',
  summary: 'Unpause all processes of one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {},
  async run(context, _, names) {
    const engine = await context.engine();
    const { unpauseContainer } = await import('../engine/pause.ts');
    return forEach(names, async (name) => {
      await unpauseContainer(engine, name);
      return `${name}\n`;
    });
  },
});
