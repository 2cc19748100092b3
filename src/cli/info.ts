/** `tsbox info` */
import { command } from './command.ts';
import { printFacts } from './facts.ts';

export const verb = command({
  usage: '[OPTIONS]',
  summary: 'Show what this host and this store are',
  count: [0, 0],
  flags: { format: { kind: 'string', short: 'f', help: "'json', or a Go template" } },
  async run(context, { format }) {
    const engine = await context.engine();
    const { engineInfo } = await import('../engine/info.ts');
    await printFacts(engineInfo(engine), format);
    return 0;
  },
});
