/** `tsbox volume rm` */
import { TsboxError } from '../errors.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  summary: 'Remove volumes with all that is in them; one that a container has is refused',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { force: { kind: 'bool', short: 'f', help: 'A volume that is not there is no error' } },
  async run(context, { force }, names) {
    const engine = await context.engine();
    const { removeVolume } = await import('../engine/volumes.ts');
    return forEach(names, async (name) => {
      try {
        removeVolume(engine, name);
      } catch (error) {
        if (!force || !(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_NOT_FOUND') throw error;
      }
      return `${name}\n`;
    });
  },
});
