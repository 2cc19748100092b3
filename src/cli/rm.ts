/** `tsbox rm` */
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Remove one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    force: { kind: 'bool', short: 'f', help: 'Kill a container that is running' },
    volumes: { kind: 'bool', short: 'v', help: "Remove the container's anonymous volumes too" },
  },
  unsupported: 'link/l',
  async run(context, options, names) {
    const engine = await context.engine();
    const { removeContainer } = await import('../engine/remove.ts');
    return forEach(names, async (name) => {
      try {
        await removeContainer(engine, name, options);
      } catch (error) {
        // As Docker: with -f it is enough that the container is not there.
        if (!options.force || !(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_NOT_FOUND') throw error;
        (await import('./report.ts')).report(error);
        return '';
      }
      return `${name}\n`;
    });
  },
});
