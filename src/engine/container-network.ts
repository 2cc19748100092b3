/** The networks of a container that is started: what it leases, what has to be made, the steps. @see docs/network.md */
import { TsboxError } from '../errors.ts';
import { addressProblem, freeAddress, macOf, withPrefix } from '../network/addresses.ts';
import { insideSteps, lastSteps, type NetworkInput, networkSetup, portCleanup, portSteps } from '../plan/network.ts';
import type { Step } from '../plan/step.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { bareAddress, isIPv6 } from '../spec/ip.ts';
import type {
  Endpoint,
  EndpointConfig,
  ForwardedPort,
  IpamConfig,
  NetworkRecord,
  PublishedPort,
} from '../spec/network.ts';
import { bridgeOptions, isUserDefined } from '../spec/network-options.ts';
import { addressLease, leasesDirectory, portLease, takeLease } from '../store/network-leases.ts';
import { networkLockFile } from '../store/network-lock.ts';
import { type RunNetwork, runNetworkFile } from '../store/network-run.ts';
import { readNetwork, requireNetwork } from '../store/networks.ts';
import type { Store } from '../store/store.ts';
import { randomHex } from '../sys/random.ts';
import { ownedLeases } from './lease-release.ts';
import { bridgeFacts, missingParameters, tableFacts, tableName } from './network-facts.ts';
import { wantedNetworks } from './network-mode.ts';
import { chosenPorts } from './ports.ts';
import { resolverSteps } from './resolver.ts';

const FAILED = 125;

/** Steps by the place in the plan where they belong. */
export interface NetworkSteps {
  setup: Step[];
  /** Of the monitor, before there is a process. */
  before: Step[];
  /** Of the new process, when it has its network namespace. */
  inside: Step[];
  cleanup: Step[];
  /** When the run directory is gone. */
  last: Step[];
}

/** A container's networks at its start. */
export interface ContainerNetwork extends RunNetwork {
  steps: NetworkSteps;
  /** Those of `endpoints`, in their order. */
  networks: readonly NetworkRecord[];
}

/** What an endpoint is made of. */
export interface EndpointInput {
  network: NetworkRecord;
  config: EndpointConfig;
  names: readonly string[];
  /** Names of the leases that there are; what is leased is added. */
  taken: Set<string>;
  /** Counts the container's interfaces. */
  index: number;
  /** What a refusal ends the verb with. */
  exitCode?: number;
}

/** An address in one subnet of a network. */
function leaseAddress(
  taken: ReadonlySet<string>,
  { network, exitCode = FAILED }: EndpointInput,
  ipam: IpamConfig,
  asked: string | undefined,
): string {
  const refuse = (message: string, hint?: string) =>
    new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode, ...(hint !== undefined && { hint }) });
  if (asked === undefined || asked === '') {
    const free = freeAddress(ipam, taken);
    if (free !== undefined) return free;
    const hint = 'Remove containers of this network, or make another one: tsbox network create.';
    throw refuse(
      `no available IPv${isIPv6(ipam.Subnet) ? 6 : 4} addresses on this network's address pools: ${network.Name} (${network.ID})`,
      hint,
    );
  }
  const problem = addressProblem(ipam, asked) ?? (taken.has(asked) ? 'Address already in use' : undefined);
  if (problem !== undefined) throw refuse(problem);
  return asked;
}

/** What a container gets in one of its networks. @throws ERR_TSBOX_CONFLICT in Docker's words */
export function makeEndpoint(input: EndpointInput): Endpoint {
  const { network, config, names, taken, index } = input;
  const inNetwork = new Set(
    [...taken].filter((name) => name.startsWith(`${network.ID},`)).map((name) => name.slice(65)),
  );
  const [ipam4, ipam6] = [false, true].map((six) => network.IPAM.Config.find(({ Subnet }) => isIPv6(Subnet) === six));
  const address = ipam4 && leaseAddress(inNetwork, input, ipam4, config.IPAMConfig?.IPv4Address);
  const address6 = ipam6 && leaseAddress(inNetwork, input, ipam6, config.IPAMConfig?.IPv6Address);
  for (const one of [address, address6]) if (one !== undefined) taken.add(addressLease(network.ID, one));
  return {
    networkId: network.ID,
    network: network.Name,
    interface: `eth${index}`,
    port: `veth${randomHex(4).slice(0, 7)}`,
    mac: config.MacAddress || (address === undefined ? '' : macOf(address)),
    ...(ipam4 &&
      address && { address: withPrefix(address, ipam4), ...(!network.Internal && { gateway: ipam4.Gateway }) }),
    ...(ipam6 &&
      address6 && { address6: withPrefix(address6, ipam6), ...(!network.Internal && { gateway6: ipam6.Gateway }) }),
    names,
    ...((config.Links ?? []).length > 0 && { links: config.Links! }),
  };
}

/** By which others find it, as with Docker also by its host name. In the default network nobody has a name. */
export function endpointNames(record: ContainerRecord, network: NetworkRecord, config: EndpointConfig): string[] {
  if (!isUserDefined(network)) return [];
  const { Name, ID, Config } = record;
  return [Name.slice(1), ...new Set([ID.slice(0, 12), ...(config.Aliases ?? []), Config.Hostname])];
}

/** Ports, and where they lead: to the container's address of the same version of IP in the first network that has one. */
export function forwardedPorts(ports: readonly PublishedPort[], endpoints: readonly Endpoint[]): ForwardedPort[] {
  const v4 = endpoints.find((one) => one.gateway !== undefined)?.address;
  const v6 = endpoints.find((one) => one.gateway6 !== undefined)?.address6;
  return ports.flatMap((port) => {
    const address = isIPv6(port.hostAddress) ? v6 : v4;
    return address === undefined ? [] : [{ ...port, address: bareAddress(address) }];
  });
}

/** Leases what the container needs, unless it is only to be looked at, and says how it is made. For who holds the container's lock; its run
 *  directory is there. @throws ERR_TSBOX_CONFLICT, ERR_TSBOX_NOT_FOUND in Docker's words */
export function containerNetwork(
  store: Store,
  record: ContainerRecord,
  hostConfig: HostConfig,
  preview: boolean,
): ContainerNetwork | undefined {
  const wanted = wantedNetworks(record, hostConfig);
  if (wanted.length === 0) return undefined;
  const networks = wanted.map(([name]) => readNetwork(store, name, !preview));
  const { endpoints, published } = ownedLeases(store, record.ID, preview, (taken) => {
    const made = wanted.map(([, config], index) => {
      const network = networks[index]!;
      if (!preview) requireNetwork(store, network);
      return makeEndpoint({ network, config, names: endpointNames(record, network, config), taken, index });
    });
    const ports = forwardedPorts(
      chosenPorts(hostConfig, record.Config, made, taken, bridgeOptions(networks[0]!).hostBinding),
      made,
    );
    if (!preview)
      for (const name of [...made.flatMap(endpointLeases), ...ports.map(portLease)]) takeLease(store, name, record.ID);
    return { endpoints: made, published: ports };
  });
  const table = tableName(store);
  const bridges = networks.map((network) => bridgeFacts(network, table));
  const input: NetworkInput = {
    ...tableFacts(store, table, record.ID),
    table,
    bridges,
    endpoints,
    ports: published,
    parameters: missingParameters(bridges, published),
  };
  const run = { endpoints, ports: published };
  const resolver = resolverSteps(store, record.ID, hostConfig, endpoints, networks);
  return { networks, ...run, steps: stepsOf(store, record.ID, input, run, resolver) };
}

/** Names of what an endpoint has for itself alone. */
export function endpointLeases({ networkId, address, address6 }: Endpoint): string[] {
  const lease = (one: string | undefined) => (one === undefined ? [] : [addressLease(networkId, bareAddress(one))]);
  return [...lease(address), ...lease(address6)];
}

function stepsOf(
  store: Store,
  id: string,
  input: NetworkInput,
  run: RunNetwork,
  resolver: readonly Step[],
): NetworkSteps {
  const account: Step = {
    op: 'write',
    path: runNetworkFile(store, id),
    data: JSON.stringify(run),
    flags: ['O_CREAT', 'O_TRUNC'],
    mode: 0o644,
    why: 'what it has in its networks, for the resolvers of the others and for inspect',
  };
  return {
    setup: [account, ...networkSetup(input)],
    before: portSteps(run.ports),
    inside: insideSteps(run.endpoints, input.bridges, run.ports.length > 0, resolver),
    cleanup: portCleanup(input.table, run.ports),
    last: lastSteps(input.table, networkLockFile(store), leasesDirectory(store)),
  };
}
