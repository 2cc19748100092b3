/** `tsbox network create` */
import { command } from './command.ts';
import { keyValues, labels } from './container-flags.ts';
import { complain, print } from './output.ts';

/** As Go's flags of several texts: more than once, or with commas. */
const texts = (given: readonly string[]) => given.flatMap((text) => text.split(','));

export const verb = command({
  usage: '[OPTIONS] NETWORK',
  summary: 'Create a network: a bridge, on which containers find each other by name',
  count: [1, 1],
  flags: {
    driver: { kind: 'string', short: 'd', default: 'bridge', help: "'bridge' is the only one" },
    gateway: { kind: 'list', help: "Address of the host in the network; the subnet's first otherwise" },
    internal: { kind: 'bool', help: 'Let nothing out of the network' },
    'ip-range': { kind: 'list', value: 'subnet', help: 'Give containers addresses from this part of the subnet' },
    ipv6: { kind: 'bool', help: 'IPv6, too: with a unique local subnet unless one is given' },
    label: { kind: 'list', help: 'Set a label (key=value)' },
    opt: {
      kind: 'list',
      short: 'o',
      help: 'Set an option of the driver: com.docker.network.bridge.name, .enable_icc, .enable_ip_masquerade, .host_binding_ipv4, com.docker.network.driver.mtu',
    },
    subnet: { kind: 'list', help: 'Addresses of the network: 172.28.0.0/16; one that is free otherwise' },
  },
  // of a swarm, of plugins, and addresses that the network's driver has for itself
  unsupported: 'attachable aux-address config-from config-only ingress ipam-driver ipam-opt ipv4 scope',
  async run(context, flags, [name = '']) {
    const engine = await context.engine();
    const { createNetwork } = await import('../engine/networks.ts');
    const { id, warnings } = createNetwork(engine, {
      name,
      driver: flags.driver,
      subnets: texts(flags.subnet),
      gateways: texts(flags.gateway),
      ipRanges: texts(flags['ip-range']),
      internal: flags.internal,
      ipv6: flags.ipv6,
      labels: labels(flags.label),
      options: keyValues(flags.opt),
    });
    for (const warning of warnings) complain(`WARNING: ${warning}\n`);
    print(`${id}\n`);
    return 0;
  },
});
