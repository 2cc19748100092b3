/** `tsbox port` */
import { command } from './command.ts';
import { print } from './output.ts';

export const verb = command({
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  summary: 'Show which ports of the host lead to a container',
  count: [1, 2],
  flags: {},
  async run(context, _, [name, wanted]) {
    const engine = await context.engine();
    const { publishedPorts } = await import('../engine/port.ts');
    for (const line of publishedPorts(engine, name!, wanted)) print(`${line}\n`);
    return 0;
  },
});
