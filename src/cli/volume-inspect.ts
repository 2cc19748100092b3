/** `tsbox volume inspect` */
import { command } from './command.ts';
import { inspectAll } from './inspect.ts';

export const verb = command({
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  summary: 'Show all that is known of volumes',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { format: { kind: 'string', short: 'f', help: "'json', or a Go template for each volume" } },
  async run(context, { format }, names) {
    const engine = await context.engine();
    const { inspectVolume } = await import('../engine/volumes.ts');
    return inspectAll(names, format, (name) => ({ type: 'volume', object: inspectVolume(engine, name) }));
  },
});
