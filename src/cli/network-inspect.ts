/** `tsbox network inspect` */
import { command } from './command.ts';
import { inspectAll } from './inspect.ts';

export const verb = command({
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  summary: 'Show all that is known of networks',
  count: [1, Number.POSITIVE_INFINITY],
  flags: {
    format: { kind: 'string', short: 'f', help: "'json', or a Go template for each network" },
    verbose: { kind: 'bool', short: 'v', help: 'Services of a swarm, too: there are none' },
  },
  async run(context, { format }, names) {
    const engine = await context.engine();
    const { inspectNetwork } = await import('../engine/networks.ts');
    return inspectAll(names, format, (name) => ({ type: 'network', object: inspectNetwork(engine, name) }));
  },
});
