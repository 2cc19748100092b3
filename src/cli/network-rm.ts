/** `tsbox network rm` */
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  summary: 'Remove networks; one that a running container is in is refused',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { force: { kind: 'bool', short: 'f', help: 'A network that is not there is no error' } },
  async run(context, { force }, names) {
    const engine = await context.engine();
    const { removeNetwork } = await import('../engine/networks.ts');
    return forEach(names, async (name) => {
      try {
        removeNetwork(engine, name);
        return `${name}\n`;
      } catch (error) {
        if (!force || !(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_NOT_FOUND') throw error;
        return '';
      }
    });
  },
});
