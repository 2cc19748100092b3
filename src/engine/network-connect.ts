/** `network connect` and `disconnect`: while the container runs its namespace is changed, and what it gets at its next start in any case. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { TsboxError } from '../errors.ts';
import { usesResolver } from '../network/resolv-conf.ts';
import { interfaceSteps, networkSetup, pairSteps, portCleanup, routeSteps } from '../plan/network.ts';
import { portText } from '../plan/nft-table.ts';
import type { Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import type { Endpoint, ForwardedPort, NetworkRecord } from '../spec/network.ts';
import { saveContainer } from '../store/change-container.ts';
import { findContainer, readHostConfig, requireContainer } from '../store/containers.ts';
import { noteEvent } from '../store/events.ts';
import { dropLease, leases, takeLease } from '../store/network-leases.ts';
import { withNetworkLock } from '../store/network-lock.ts';
import { readRunNetwork, runNetworkFile } from '../store/network-run.ts';
import { readNetwork } from '../store/networks.ts';
import { containerState, foldHeld } from '../store/state.ts';
import { containerDirectory, type Store } from '../store/store.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { withLock } from '../sys/lock.ts';
import type { EndpointRequest } from './api.ts';
import { endpointLeases, endpointNames, forwardedPorts, makeEndpoint } from './container-network.ts';
import { otherContainer } from './namespaces.ts';
import { bridgeFacts, tableFacts, tableName } from './network-facts.ts';
import { fileContents } from './network-files.ts';
import { endpointConfig } from './network-request.ts';
import type { Engine } from './open.ts';
import { resolverSteps } from './resolver.ts';

function conflict(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: 1 });
}

/** Whose namespace is not his own has no networks of his own. */
function checkOwn({ NetworkMode }: HostConfig): void {
  if (NetworkMode === 'host' || otherContainer(NetworkMode) !== undefined) {
    throw conflict(
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  }
  if (NetworkMode === 'none') {
    throw conflict(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  }
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

function save(store: Store, id: string, endpoints: readonly Endpoint[]): void {
  const account = { ...readRunNetwork(store, id), endpoints };
  writeFileAtomic(runNetworkFile(store, id), JSON.stringify(account), { mode: 0o644 });
}

/** A cable from the network to the namespace of `pid`, with all that belongs to it. */
function plugIn(store: Store, id: string, pid: number, network: NetworkRecord, endpoint: Endpoint): void {
  const table = tableName(store);
  const bridge = bridgeFacts(network, table);
  const setup = networkSetup({
    ...tableFacts(store, table, id),
    table,
    bridges: [bridge],
    endpoints: [endpoint],
    ports: [],
    parameters: [],
  });
  interpret([...setup, ...pairSteps(endpoint, bridge)], { values: { pid: String(pid) } });
  inNamespace(pid, [...interfaceSteps(endpoint), ...otherRoutes([endpoint])]);
}

/** A container has one way out: the one that it has already stays. */
function otherRoutes(endpoints: readonly Endpoint[]): Step[] {
  return routeSteps(endpoints).map((step): Step => ({ ...step, onError: { EEXIST: 'skip' } }));
}

/** Published ports lead to the address that it has in the network with the way out. Where none is left they lead nowhere, but are its own. */
function leadElsewhere(store: Store, id: string, endpoints: readonly Endpoint[]): void {
  const { ports, ...run } = readRunNetwork(store, id);
  const table = tableName(store);
  const now = forwardedPorts(ports, endpoints);
  const elsewhere = ports.filter((port) => !now.some((one) => isDeepStrictEqual(one, port)));
  if (elsewhere.length === 0) return;
  const led = now.filter((port) => elsewhere.some((one) => samePort(one, port)));
  const why = 'its published ports lead to where it is now';
  interpret([
    ...portCleanup(table, elsewhere),
    ...(led.length === 0
      ? []
      : [{ op: 'nft', commands: led.map((port) => portText(table, port)).join(''), why } as const]),
  ]);
  const kept = ports.map((port) => now.find((one) => samePort(one, port)) ?? { ...port, address: '' });
  writeFileAtomic(runNetworkFile(store, id), JSON.stringify({ ...run, ports: kept }), { mode: 0o644 });
}

const samePort = (a: ForwardedPort, b: ForwardedPort) =>
  a.protocol === b.protocol && a.hostAddress === b.hostAddress && a.hostPort === b.hostPort;

function unusedIndex(endpoints: readonly Endpoint[]): number {
  const used = new Set(endpoints.map((one) => one.interface));
  return [...Array(endpoints.length + 1).keys()].find((index) => !used.has(`eth${index}`)) ?? endpoints.length;
}

function note(
  store: Store,
  action: 'connect' | 'disconnect',
  { ID, Name, Driver }: NetworkRecord,
  container: string,
): void {
  noteEvent(store, { type: 'network', action, id: ID, attributes: { container, name: Name, type: Driver } });
}

/** What `run` ends with 125 for, this verb ends with 1 for, as Docker's. */
function asUser<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof TsboxError ? Object.assign(error, { exitCode: 1 }) : error;
  }
}

/** Adds a network to a container; one that runs is in it at once.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT, ERR_TSBOX_USAGE in Docker's words */
export async function connectContainer(engine: Engine, asked: EndpointRequest & { container: string }): Promise<void> {
  const { store } = engine;
  const network = readNetwork(store, asked.network);
  // As Docker keeps it: what is not asked for is empty here, and null for what `run` says.
  const { IPAMConfig, DriverOpts, ...config } = asUser(() => endpointConfig(network, asked));
  const { ID } = requireContainer(store, asked.container);
  checkOwn(readHostConfig(store, ID));
  withLock(containerDirectory(store, ID), 'exclusive', () => {
    const record = foldHeld(store, ID);
    const { Networks = {} } = record.NetworkSettings ?? {};
    if (Networks[network.Name] !== undefined) {
      throw conflict(`endpoint with name ${record.Name.slice(1)} already exists in network ${network.Name}`);
    }
    const { Running, Pid } = containerState(store, record);
    const wanted: ContainerRecord = {
      ...record,
      NetworkSettings: {
        Networks: {
          ...Networks,
          [network.Name]: { ...config, IPAMConfig: IPAMConfig ?? {}, DriverOpts: DriverOpts ?? {} },
        },
      },
    };
    if (Running) {
      const { endpoints } = readRunNetwork(store, ID);
      const endpoint = asUser(() => leased(store, wanted, network, endpoints));
      save(store, ID, [...endpoints, endpoint]);
      try {
        plugIn(store, ID, Pid, network, endpoint);
        leadElsewhere(store, ID, [...endpoints, endpoint]);
        rewriteFiles(store, wanted, Pid, endpoints, [...endpoints, endpoint]);
      } catch (error) {
        save(store, ID, endpoints);
        giveBack(store, endpoint);
        throw error;
      }
    }
    saveContainer(store, wanted);
    note(store, 'connect', network, ID);
  });
}

/** Writes its hosts and resolv.conf anew, in their places, since the container has these very files; and sees to it that somebody answers. */
function rewriteFiles(
  store: Store,
  record: ContainerRecord,
  pid: number,
  before: readonly Endpoint[],
  now: readonly Endpoint[],
): void {
  const hostConfig = readHostConfig(store, record.ID);
  const networks = now.map(({ networkId }) => readNetwork(store, networkId));
  if (!usesResolver(before)) {
    interpret(resolverSteps(store, record.ID, hostConfig, now, networks), { values: { pid: String(pid) } });
  }
  const files = fileContents(store, record, hostConfig, now);
  writeFileSync(record.HostsPath, files.hosts);
  // Who answers stays until the container ends.
  if (!usesResolver(before)) writeFileSync(record.ResolvConfPath, files.resolvConf);
}

function leased(
  store: Store,
  record: ContainerRecord,
  network: NetworkRecord,
  endpoints: readonly Endpoint[],
): Endpoint {
  const config = record.NetworkSettings!.Networks[network.Name]!;
  return withNetworkLock(store, () => {
    const taken = new Set(leases(store).map(({ name }) => name));
    const names = endpointNames(record, network, config);
    const endpoint = makeEndpoint(network, config, names, taken, unusedIndex(endpoints));
    for (const name of endpointLeases(endpoint)) takeLease(store, name, record.ID);
    return endpoint;
  });
}

function giveBack(store: Store, endpoint: Endpoint): void {
  withNetworkLock(store, () => {
    for (const name of endpointLeases(endpoint)) dropLease(store, name);
  });
}

/** Takes a container out of a network; one that runs loses its interface at once.
 *  @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_CONFLICT in Docker's words */
export async function disconnectContainer(
  engine: Engine,
  asked: { network: string; container: string; force?: boolean },
): Promise<void> {
  const { store } = engine;
  const network = readNetwork(store, asked.network);
  const found = findContainer(store, asked.container);
  if (found === undefined && asked.force === true) return;
  const { ID } = found ?? requireContainer(store, asked.container);
  if (network.Driver === 'host') {
    throw conflict(
      'container cannot be disconnected from host network - ' +
        'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  }
  withLock(containerDirectory(store, ID), 'exclusive', () => {
    const record = foldHeld(store, ID);
    const { [network.Name]: config, ...Networks } = record.NetworkSettings?.Networks ?? {};
    if (config === undefined) throw conflict(`container ${ID} is not connected to network ${network.Name}`);
    const { Running, Pid } = containerState(store, record);
    const { endpoints } = readRunNetwork(store, ID);
    const endpoint = endpoints.find(({ networkId }) => networkId === network.ID);
    if (Running && endpoint !== undefined) {
      const left = endpoints.filter((one) => one !== endpoint);
      const why = 'the cable goes, with both of its ends';
      const cut: Step = { op: 'link_delete', name: endpoint.interface, why, onError: { ENODEV: 'skip' } };
      inNamespace(Pid, [cut, ...otherRoutes(left)]);
      leadElsewhere(store, ID, left);
      save(store, ID, left);
      giveBack(store, endpoint);
      rewriteFiles(store, record, Pid, endpoints, left);
    }
    saveContainer(store, { ...record, NetworkSettings: { Networks } });
    note(store, 'disconnect', network, ID);
  });
}
