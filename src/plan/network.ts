/** The network of a container as steps: bridge, veth pairs, addresses, routes, rules. Pure. @see docs/network.md */
import type { Endpoint, ForwardedPort, PublishedPort } from '../spec/network.ts';
import { networkElements, portElement, portText, type TableNetwork, tableText } from './nft-table.ts';
import type { Step } from './step.ts';
import { hole, text } from './text.ts';

/** A network of the container, and what of it is on the host already. */
export interface BridgeInput extends TableNetwork {
  /** With their prefix: `172.17.0.1/16`. */
  gateways: readonly string[];
  mtu: number;
  /** Which of this has to be made: an absent bridge has no addresses either. */
  isThere: boolean;
  isUp: boolean;
  /** Those of `gateways` that it has. */
  addresses: readonly string[];
  /** Is in the table. */
  isKnown: boolean;
}

export interface NetworkInput {
  /** Of the table. */
  table: string;
  tableIsThere: boolean;
  /** Networks that lose what the table knew of them when it has to be made. */
  others: { networks: readonly TableNetwork[]; ports: readonly ForwardedPort[] };
  bridges: readonly BridgeInput[];
  endpoints: readonly Endpoint[];
  ports: readonly ForwardedPort[];
  /** Kernel parameters that have to be `1`, as paths below /proc/sys, and are not. */
  parameters: readonly string[];
}

const THERE = { EEXIST: 'skip' } as const;
const GONE = { ENOENT: 'skip' } as const;

/** On the host, before there is a process. */
export function networkSetup(input: NetworkInput): Step[] {
  return [...input.bridges.flatMap(bridgeSteps), ...input.parameters.map(parameterStep), ...tableSteps(input)];
}

function bridgeSteps({ bridge, gateways, addresses, mtu, isThere, isUp }: BridgeInput): Step[] {
  const missing = gateways.filter((gateway) => !addresses.includes(gateway));
  return [
    ...(isThere
      ? []
      : ([
          {
            op: 'link_add',
            name: bridge,
            type: 'bridge',
            peer: '',
            netns: '',
            mac: '',
            mtu,
            why: 'the network: a switch that the containers are plugged into',
            onError: THERE,
          },
        ] as const)),
    ...missing.map(
      (address): Step => ({
        op: 'address_add',
        link: bridge,
        address,
        why: "the host's own address in it: the containers' gateway",
        onError: THERE,
      }),
    ),
    ...(isThere && isUp ? [] : ([{ op: 'link_up', name: bridge, why: 'it is made switched off' }] as const)),
  ];
}

/** @param path below /proc/sys */
export function parameterStep(path: string): Step {
  const why = path.endsWith('route_localnet')
    ? 'so that a port published on 127.0.0.1 may lead to a container; a rule keeps containers from the 127.0.0.1 of the host'
    : 'the host hands on packets that are not for itself';
  return { op: 'write', path: `/proc/sys/${path}`, data: '1', flags: [], mode: 0, why, see: 'ip-sysctl.rst' };
}

function tableSteps({ table, tableIsThere, others, bridges, ports }: NetworkInput): Step[] {
  const known = (bridge: BridgeInput) => tableIsThere && bridge.isKnown;
  const missing = tableIsThere ? { networks: [], ports: [] } : others;
  const commands = [
    ...(tableIsThere ? [] : [tableText(table)]),
    ...[...missing.networks, ...bridges.filter((bridge) => !known(bridge))].map((one) => networkElements(table, one)),
    ...[...missing.ports, ...ports].map((port) => portText(table, port)),
  ].join('');
  if (commands === '') return [];
  const why = tableIsThere
    ? 'the rules have to know the network and the published ports'
    : 'what leaves gets an address of the host, what is published is led in, networks are kept apart';
  return [{ op: 'nft', commands, why }];
}

/** By the monitor, before there is a process. */
export function portSteps(ports: readonly PublishedPort[]): Step[] {
  return ports.map(({ protocol, hostAddress, hostPort }) => ({
    op: 'bind_port',
    protocol,
    address: hostAddress,
    port: hostPort,
    why: 'nobody else gets the port while the container runs, and one that is taken is told now',
  }));
}

/** By the new process in its own network namespace, when its loopback is to come up. The host's ends of its pairs are made from outside. */
export function insideSteps(
  endpoints: readonly Endpoint[],
  bridges: readonly Pick<BridgeInput, 'bridge' | 'mtu' | 'icc'>[],
  hairpin: boolean,
  resolver: readonly Step[],
): Step[] {
  if (endpoints.length === 0) return [];
  const pairs = endpoints.flatMap((endpoint, index) => pairSteps(endpoint, bridges[index]!, hairpin));
  return [
    {
      op: 'outside',
      list: [...pairs, ...resolver],
      why: 'cables from the networks on the host into this namespace',
    },
    ...endpoints.flatMap(interfaceSteps),
    ...routeSteps(endpoints),
  ];
}

/** From outside, for the process `pid`.
 *  @param hairpin for a container that publishes ports */
export function pairSteps(
  { interface: name, port, mac }: Endpoint,
  { bridge, mtu, icc }: Pick<BridgeInput, 'bridge' | 'mtu' | 'icc'>,
  hairpin = false,
): Step[] {
  return [
    {
      op: 'link_add',
      name: port,
      type: 'veth',
      peer: name,
      netns: text`/proc/${hole('pid')}/ns/net`,
      mac,
      mtu,
      why: 'a cable with two ends: what goes in at one comes out at the other',
      see: 'veth(4)',
    },
    { op: 'link_set', name: port, master: bridge, why: 'this end is plugged into the bridge' },
    ...(hairpin || !icc ? [portStep(port, hairpin, icc)] : []),
    { op: 'link_up', name: port, why: 'and switched on' },
  ];
}

function portStep(name: string, hairpin: boolean, icc: boolean): Step {
  const led = 'who calls his own published port is led out by the port that he came in by';
  const alone = 'containers of this network do not reach each other';
  const why = [...(hairpin ? [led] : []), ...(icc ? [] : [alone])].join('; ');
  return { op: 'port_set', name, hairpin: Number(hairpin), isolated: Number(!icc), why };
}

/** In the container's network namespace. */
export function interfaceSteps({ interface: name, address, address6 }: Endpoint): Step[] {
  const add = (one: string | undefined): Step[] =>
    one === undefined ? [] : [{ op: 'address_add', link: name, address: one, why: 'its address in the network' }];
  return [
    ...(address6 === undefined ? [withoutIPv6(name)] : []),
    ...add(address),
    ...add(address6),
    { op: 'link_up', name, why: "the container's end of the cable" },
  ];
}

/** Else the kernel gives it an address of its own choice (fe80::) as soon as it is up. */
function withoutIPv6(name: string): Step {
  return {
    op: 'write_proc',
    path: `sys/net/ipv6/conf/${name}/disable_ipv6`,
    data: '1',
    why: 'in a network without IPv6 it has no address of that version, not even for the link',
    see: 'ip-sysctl.rst, disable_ipv6',
    // A kernel without IPv6.
    onError: GONE,
  };
}

/** What is in none of the networks goes to the gateway of the first that leads out. */
export function routeSteps(endpoints: readonly Endpoint[]): Step[] {
  const out = [
    endpoints.find(({ gateway }) => gateway !== undefined),
    endpoints.find(({ gateway6 }) => gateway6 !== undefined),
  ] as const;
  const route = (via: string | undefined, link: string | undefined): Step[] =>
    via === undefined || link === undefined
      ? []
      : [{ op: 'route_add', to: 'default', via, link, why: 'everything else is reached through the host' }];
  return [...route(out[0]?.gateway, out[0]?.interface), ...route(out[1]?.gateway6, out[1]?.interface)];
}

/** By the monitor, when the first process has ended. */
export function portCleanup(table: string, ports: readonly PublishedPort[]): Step[] {
  return ports.map((port) => {
    const { set, bytes } = portElement(port);
    const why = `port ${port.hostPort} leads nowhere any more`;
    return { op: 'nft_delete', table, set, key: bytes, why, onError: GONE };
  });
}

/** The very end of the cleanup list, when the run directory is gone.
 *  @param leases `<run-root>/leases` */
export function lastSteps(table: string, lock: string, leases: string): Step[] {
  const why = 'no container is in a network any more: the rules go';
  return [
    {
      op: 'last',
      lock,
      directory: leases,
      list: [{ op: 'nft_delete', table, set: '', key: new Uint8Array(), why, onError: GONE }],
      why: 'what was leased to a container whose run directory is gone is free again',
    },
  ];
}
