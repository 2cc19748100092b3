/** `tsbox version` */
import { command } from './command.ts';
import { printFacts } from './facts.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Show the versions of what takes part',
  count: [0, 0],
  flags: { format: { kind: 'string', short: 'f', help: "'json', or a Go template" } },
  async run(context, { format }) {
    const engine = await context.engine();
    const { engineVersion } = await import('../engine/info.ts');
    await printFacts(engineVersion(engine), format);
    return 0;
  },
});
