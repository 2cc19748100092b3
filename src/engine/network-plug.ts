/**
 * Cables of a container that runs: put into its network namespace and taken out, with leases, routes, ports, names and its account
 * (network.json). For who holds the container's lock. What was killed half-way is found by the account, which is written before anything
 * is made and after all is gone: {@link settleCables} takes it away.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { usesResolver } from '../network/resolv-conf.ts';
import { interfaceSteps, networkSetup, pairSteps, parameterStep, portCleanup, routeSteps } from '../plan/network.ts';
import { portText } from '../plan/nft-table.ts';
import type { Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { bareAddress } from '../spec/ip.ts';
import type { Endpoint, EndpointConfig, ForwardedPort, NetworkRecord } from '../spec/network.ts';
import { readHostConfig } from '../store/containers.ts';
import { dropLease, leasedPort, leases, takeLease } from '../store/network-leases.ts';
import { withNetworkLock } from '../store/network-lock.ts';
import { type RunNetwork, readRunNetwork, writeRunNetwork } from '../store/network-run.ts';
import { readNetwork, requireNetwork } from '../store/networks.ts';
import type { Store } from '../store/store.ts';
import { endpointLeases, endpointNames, forwardedPorts, makeEndpoint } from './container-network.ts';
import { bridgeFacts, missingParameters, tableFacts, tableName } from './network-facts.ts';
import { fileContents } from './network-files.ts';
import { resolverSteps } from './resolver.ts';

/** What `run` ends with 125 for, `network connect` ends with 1 for, as Docker's. */
const FAILED = 1;

/** A container that runs, and its first process. */
export interface Plugged {
  record: ContainerRecord;
  pid: number;
}

/** Runs steps in the network namespace of a process. Node's main thread goes there and back. */
function inNamespace(pid: number, steps: readonly Step[]): void {
  const own = openSync('/proc/self/ns/net', 'r');
  const go = (path: string): Step => ({ op: 'setns', path, type: ['CLONE_NEWNET'], why: 'to its network and back' });
  try {
    interpret([go(`/proc/${pid}/ns/net`), ...steps]);
  } finally {
    interpret([go(`/proc/self/fd/${own}`)]);
    closeSync(own);
  }
}

/** A container has one way out: the one that it has already stays. */
function otherRoutes(endpoints: readonly Endpoint[]): Step[] {
  return routeSteps(endpoints).map((step): Step => ({ ...step, onError: { EEXIST: 'skip' } }));
}

const samePort = (a: ForwardedPort, b: ForwardedPort) =>
  a.protocol === b.protocol && a.hostAddress === b.hostAddress && a.hostPort === b.hostPort;

/** Published ports lead to the address that it has in the network with the way out. Where none is left they lead nowhere, but are its own. */
function withEndpoints({ ports }: RunNetwork, endpoints: readonly Endpoint[]): RunNetwork {
  const now = forwardedPorts(ports, endpoints);
  return {
    endpoints: [...endpoints],
    ports: ports.map((port) => now.find((one) => samePort(one, port)) ?? { ...port, address: '' }),
  };
}

/** The rules follow. @param before where they lead now, as far as is known */
function leadPorts(store: Store, before: RunNetwork, { ports, endpoints }: RunNetwork): void {
  const moved = ports.filter((port) => !before.ports.some((one) => isDeepStrictEqual(one, port)));
  if (moved.length === 0) return;
  const table = tableName(store);
  const commands = moved.flatMap((port) => (port.address === '' ? [] : [portText(table, port)])).join('');
  const why = 'its published ports lead to where it is now';
  const led = new Set(moved.map(({ address }) => address));
  const bridges = endpoints
    .filter(({ address }) => address !== undefined && led.has(bareAddress(address)))
    .map(({ networkId }) => bridgeFacts(readNetwork(store, networkId), table));
  interpret([
    ...missingParameters(bridges, moved).map(parameterStep),
    ...portCleanup(table, moved),
    ...(commands === '' ? [] : [{ op: 'nft', commands, why } as const]),
  ]);
}

/** Writes its hosts and resolv.conf anew, in their places, since the container has these very files; and sees to it that somebody answers. */
function rewriteFiles(
  store: Store,
  { record, pid }: Plugged,
  before: readonly Endpoint[],
  now: readonly Endpoint[],
): void {
  const hostConfig = readHostConfig(store, record.ID);
  if (!usesResolver(before)) {
    const networks = now.map(({ networkId }) => readNetwork(store, networkId));
    interpret(resolverSteps(store, record.ID, hostConfig, now, networks), { values: { pid: String(pid) } });
  }
  const files = fileContents(store, record, hostConfig, now);
  writeFileSync(record.HostsPath, files.hosts);
  // Who answers stays until the container ends.
  if (!usesResolver(before)) writeFileSync(record.ResolvConfPath, files.resolvConf);
}

function unusedIndex(endpoints: readonly Endpoint[]): number {
  const used = new Set(endpoints.map((one) => one.interface));
  return [...Array(endpoints.length + 1).keys()].find((index) => !used.has(`eth${index}`)) ?? endpoints.length;
}

/** An endpoint in a further network, with its leases. */
function leased(
  store: Store,
  record: ContainerRecord,
  network: NetworkRecord,
  config: EndpointConfig,
  endpoints: readonly Endpoint[],
): Endpoint {
  return withNetworkLock(store, () => {
    requireNetwork(store, network);
    const taken = new Set(leases(store).map(({ name }) => name));
    const names = endpointNames(record, network, config);
    const endpoint = makeEndpoint({ network, config, names, taken, index: unusedIndex(endpoints), exitCode: FAILED });
    for (const name of endpointLeases(endpoint)) takeLease(store, name, record.ID);
    return endpoint;
  });
}

function giveBack(store: Store, endpoints: readonly Endpoint[]): void {
  if (endpoints.length === 0) return;
  withNetworkLock(store, () => {
    for (const name of endpoints.flatMap(endpointLeases)) dropLease(store, name);
  });
}

/** A cable from the network to the namespace of `pid`, with all that belongs to it. */
function addCable(store: Store, { record, pid }: Plugged, network: NetworkRecord, endpoint: Endpoint): void {
  const table = tableName(store);
  const bridge = bridgeFacts(network, table);
  const setup = networkSetup({
    ...tableFacts(store, table, record.ID),
    table,
    bridges: [bridge],
    endpoints: [endpoint],
    ports: [],
    parameters: missingParameters([bridge], []),
  });
  interpret([...setup, ...pairSteps(endpoint, bridge)], { values: { pid: String(pid) } });
  inNamespace(pid, [...interfaceSteps(endpoint), ...otherRoutes([endpoint])]);
}

/** @param left what stays: it may be the way out now */
function cutCables(pid: number, gone: readonly Endpoint[], left: readonly Endpoint[]): void {
  const why = 'the cable goes, with both of its ends';
  const cuts = gone.map((one): Step => ({ op: 'link_delete', name: one.interface, why, onError: { ENODEV: 'skip' } }));
  inNamespace(pid, [...cuts, ...otherRoutes(left)]);
}

/** A container that runs is in a further network. On an error nothing has changed.
 *  @throws ERR_TSBOX_CONFLICT in Docker's words, SyscallError */
export function plugIn(store: Store, container: Plugged, network: NetworkRecord, config: EndpointConfig): void {
  const { record } = container;
  const before = readRunNetwork(store, record.ID);
  const endpoint = leased(store, record, network, config, before.endpoints);
  const now = withEndpoints(before, [...before.endpoints, endpoint]);
  writeRunNetwork(store, record.ID, now);
  try {
    addCable(store, container, network, endpoint);
    leadPorts(store, before, now);
    rewriteFiles(store, container, before.endpoints, now.endpoints);
  } catch (error) {
    takeBack(store, container, now, before);
    throw error;
  }
}

/** After a failure, whose error is the one to tell. */
function takeBack(store: Store, container: Plugged, from: RunNetwork, to: RunNetwork): void {
  const gone = from.endpoints.filter((one) => !to.endpoints.includes(one));
  const steps = [
    () => cutCables(container.pid, gone, to.endpoints),
    () => leadPorts(store, from, to),
    () => writeRunNetwork(store, container.record.ID, to),
    () => giveBack(store, gone),
    () => rewriteFiles(store, container, to.endpoints, to.endpoints),
  ];
  for (const step of steps) {
    try {
      step();
    } catch {
      // The rest is taken back all the same.
    }
  }
}

/** A container that runs loses what it has in these networks. What is gone already is no error. */
export function pullOut(store: Store, container: Plugged, isGone: (endpoint: Endpoint) => boolean): void {
  const { record, pid } = container;
  const before = readRunNetwork(store, record.ID);
  const gone = before.endpoints.filter(isGone);
  if (gone.length === 0) return;
  const now = withEndpoints(
    before,
    before.endpoints.filter((one) => !gone.includes(one)),
  );
  cutCables(pid, gone, now.endpoints);
  leadPorts(store, before, now);
  writeRunNetwork(store, record.ID, now);
  giveBack(store, gone);
  rewriteFiles(store, container, before.endpoints, now.endpoints);
}

/** Takes away what a `connect` or `disconnect` that was killed has left: endpoints in networks that the container's record does not name,
 *  and addresses that are not in its account. */
export function settleCables(store: Store, container: Plugged): void {
  const { NetworkSettings, ID } = container.record;
  const { Networks = {} } = NetworkSettings ?? {};
  pullOut(store, container, ({ network }) => Networks[network] === undefined);
  const used = new Set(readRunNetwork(store, ID).endpoints.flatMap(endpointLeases));
  withNetworkLock(store, () => {
    for (const { name, id } of leases(store)) {
      if (id === ID && leasedPort(name) === undefined && !used.has(name)) dropLease(store, name);
    }
  });
}
