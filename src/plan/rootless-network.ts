/** The network of an ordinary user's container: a program that makes the container's connections as the user's own. Pure.
 *  @see pasta(1), slirp4netns(1), docs/network.md */
import type { PublishedPort } from '../spec/network.ts';
import type { Step } from './step.ts';
import { hole, type Text, text } from './text.ts';

export type Carrier = 'pasta' | 'slirp4netns';

export interface CarrierInput {
  carrier: Carrier;
  /** tsbox-keeper */
  keeper: string;
  /** Held while the program runs. */
  lock: string;
  /** Where slirp4netns is asked for ports; at most 107 bytes. */
  socket: string;
  /** In the container. */
  interface: string;
  ports: readonly PublishedPort[];
  /** pasta passes on to the host's DNS server what is sent there. */
  dnsForward?: string;
}

/** The container's address, fixed by slirp4netns. */
export const SLIRP_ADDRESS = '10.0.2.100';

const WILDCARDS = ['0.0.0.0', '::'];

/** By the new process, when the loopback of its network namespace is up. */
export function carrierSteps(input: CarrierInput): Step[] {
  const { carrier, keeper, lock } = input;
  const program = carrier === 'pasta' ? pastaArguments(input) : slirpArguments(input);
  const asks = carrier === 'pasta' ? [] : slirpAsks(input);
  const run: Step = {
    op: 'run',
    args: [keeper, text`${hole('pid')}`, lock, ...asks, '--', ...program],
    why: `${carrier} makes the container's connections as the user's own; it is ended with the container`,
    see: `${carrier}(1)`,
  };
  return [{ op: 'outside', list: [run], why: 'it works from the network of the host, in which the monitor still is' }];
}

/** Ports are free again when the program is gone. */
export function carrierCleanup({ carrier, keeper, lock }: CarrierInput): Step[] {
  const why = `${carrier} has ended, and its ports of the host are free`;
  return [{ op: 'run', args: [keeper, '--wait', lock], why, see: 'flock(2)' }];
}

/** Nothing is forwarded that was not asked for, and the host's own loopback is not reached. */
function pastaArguments({ interface: name, ports, dnsForward }: CarrierInput): Text[] {
  return [
    'pasta',
    '--foreground',
    '--quiet',
    '--config-net',
    '--ns-ifname',
    name,
    '--no-map-gw',
    ...(dnsForward === undefined ? [] : ['--dns-forward', dnsForward]),
    ...['--tcp-ns', 'none', '--udp-ns', 'none'],
    ...pastaPorts('--tcp-ports', ports, 'tcp'),
    ...pastaPorts('--udp-ports', ports, 'udp'),
    // It says there that it is ready.
    ...['--pid', '/proc/self/fd/0'],
    '--userns',
    text`/proc/${hole('pid')}/ns/user`,
    '--netns',
    text`/proc/${hole('pid')}/ns/net`,
  ];
}

/** `8080:80` for every address of both versions, `127.0.0.1/8080:80` for one. */
export function pastaPorts(flag: string, ports: readonly PublishedPort[], protocol: string): string[] {
  const of = ports.filter((port) => port.protocol === protocol);
  const isDouble = (one: PublishedPort) =>
    WILDCARDS.every((address) =>
      of.some(
        ({ hostAddress, hostPort, containerPort }) =>
          hostAddress === address && hostPort === one.hostPort && containerPort === one.containerPort,
      ),
    );
  const specs = of.map((port) => {
    const { hostAddress, hostPort, containerPort } = port;
    const isAnywhere = WILDCARDS.includes(hostAddress) && isDouble(port);
    return `${isAnywhere ? '' : `${hostAddress}/`}${hostPort}:${containerPort}`;
  });
  const all = [...new Set(specs)];
  return all.length === 0 ? [flag, 'none'] : all.flatMap((spec) => [flag, spec]);
}

function slirpArguments({ socket, interface: name, ports }: CarrierInput): Text[] {
  return [
    'slirp4netns',
    '--configure',
    '--mtu=65520',
    '--disable-host-loopback',
    '--enable-seccomp',
    '--ready-fd=3',
    '--exit-fd=4',
    ...(ports.length === 0 ? [] : [`--api-socket=${socket}`]),
    text`--userns-path=/proc/${hole('pid')}/ns/user`,
    '--netns-type=path',
    text`/proc/${hole('pid')}/ns/net`,
    name,
  ];
}

function slirpAsks({ socket, ports }: CarrierInput): string[] {
  return ports.flatMap(({ protocol, hostAddress, hostPort, containerPort }) => {
    const place = { host_addr: hostAddress, host_port: hostPort, guest_addr: SLIRP_ADDRESS, guest_port: containerPort };
    return ['--ask', socket, JSON.stringify({ execute: 'add_hostfwd', arguments: { proto: protocol, ...place } })];
  });
}
