/** `tsbox wait` */
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: 'CONTAINER [CONTAINER...]',
  summary: 'Wait until containers have ended and print their exit codes',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {},
  async run(context, _flags, names) {
    const engine = await context.engine();
    const { waitContainer } = await import('../engine/wait.ts');
    return forEach(names, async (name) => `${await waitContainer(engine, name)}\n`);
  },
});
