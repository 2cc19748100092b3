/** `tsbox network disconnect` */
import { command } from './command.ts';

export const verb = command({
  usage: '[OPTIONS] NETWORK CONTAINER',
  summary: 'Take a container out of a network; one that runs loses its interface at once',
  count: [2, 2],
  flags: { force: { kind: 'bool', short: 'f', help: 'A container that is not there is no error' } },
  async run(context, { force }, [network, container]) {
    const engine = await context.engine();
    const { disconnectContainer } = await import('../engine/network-connect.ts');
    await disconnectContainer(engine, { network: network!, container: container!, force });
    return 0;
  },
});
