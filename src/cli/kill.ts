/** `tsbox kill` */
import { parseSignal } from '../spec/signals.ts';
import { command } from './command.ts';
import { forEach } from './each.ts';

export const verb = command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Send a signal to one or more containers',
  count: [1, Number.POSITIVE_INFINITY],
  flags: { signal: { kind: 'string', short: 's', default: 'KILL', help: 'Name or number of the signal' } },
  async run(context, flags, names) {
    const signal = parseSignal(flags.signal || 'KILL');
    const engine = await context.engine();
    const { killContainer } = await import('../engine/stop.ts');
    return forEach(names, async (name) => {
      killContainer(engine, name, signal);
      return `${name}\n`;
    });
  },
});
