/** `tsbox network connect` */
import { command } from './command.ts';
import { keyValues } from './container-flags.ts';

export const verb = command({
  usage: '[OPTIONS] NETWORK CONTAINER',
  summary: 'Put a container into a further network; one that runs is in it at once',
  count: [2, 2],
  flags: {
    alias: { kind: 'list', value: 'name', help: 'Name for others in the network' },
    'driver-opt': { kind: 'list', value: 'name=value', help: 'Option for the network driver' },
    ip: { kind: 'string', value: 'address', help: 'IPv4 address in the network' },
    ip6: { kind: 'string', value: 'address', help: 'IPv6 address in the network' },
    link: { kind: 'list', value: 'container[:alias]', help: 'Name by which the container finds another' },
  },
  unsupported: 'gw-priority link-local-ip',
  async run(context, flags, [network, container]) {
    const engine = await context.engine();
    const { connectContainer } = await import('../engine/network-connect.ts');
    const { alias, ip, ip6, link } = flags;
    await connectContainer(engine, {
      network: network!,
      container: container!,
      aliases: alias,
      links: link,
      driverOptions: keyValues(flags['driver-opt']),
      ...(ip !== undefined && { ip }),
      ...(ip6 !== undefined && { ip6 }),
    });
    return 0;
  },
});
