/** What running containers have in networks: `<run-root>/<id>/network.json`, as the engine writes it when one starts. */
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import type { Endpoint, PublishedPort } from '../spec/network.ts';
import { sha256Hex } from '../sys/sha256.ts';
import { isObject, readObject } from './io.ts';
import { monitorLives, runIds } from './state.ts';
import { isHexId, runDirectory, type Store } from './store.ts';

export interface NetworkState {
  endpoints: readonly Endpoint[];
  ports: readonly PublishedPort[];
}

const isText = (value: unknown) => typeof value === 'string';

function isEndpoint(value: unknown): value is Endpoint {
  if (!isObject(value)) return false;
  const needed = ['networkId', 'network', 'interface', 'port', 'mac'].every((field) => isText(value[field]));
  const optional = ['address', 'gateway', 'address6', 'gateway6'].every((field) => isText(value[field] ?? ''));
  return needed && optional && Array.isArray(value['names']) && value['names'].every(isText);
}

function isPort(value: unknown): value is PublishedPort {
  if (!isObject(value)) return false;
  const { protocol, hostAddress, hostPort, containerPort } = value;
  return isText(protocol) && isText(hostAddress) && Number.isInteger(hostPort) && Number.isInteger(containerPort);
}

/** What a container's own account says; undefined where there is none or it is damaged. */
export function readNetworkState(store: Store, id: string): NetworkState | undefined {
  const value = readObject(`${runDirectory(store, id)}/network.json`);
  if (value === undefined) return undefined;
  const { endpoints, ports } = value;
  if (!Array.isArray(endpoints) || !endpoints.every(isEndpoint)) return undefined;
  if (!Array.isArray(ports) || !ports.every(isPort)) return undefined;
  return { endpoints, ports };
}

/** Docker's id of what a container has in a network: 64 digits, the same for as long as both are there. */
export function endpointId(containerId: string, networkId: string): string {
  return sha256Hex(Buffer.from(`${containerId} ${networkId}`));
}

/** The endpoints of all containers that run, by network id. */
export function endpointsByNetwork(store: Store): Map<string, { container: string; endpoint: Endpoint }[]> {
  const found = new Map<string, { container: string; endpoint: Endpoint }[]>();
  for (const container of runIds(store)) {
    const endpoints = readNetworkState(store, container)?.endpoints ?? [];
    if (endpoints.length === 0 || !monitorLives(store, container)) continue;
    for (const endpoint of endpoints) {
      const { networkId } = endpoint;
      found.set(networkId, [...(found.get(networkId) ?? []), { container, endpoint }]);
    }
  }
  return found;
}

/** The container to which a lease belongs; undefined when that is gone, and so the lease is free. @see docs/network.md, Leases */
function leaseHolder(store: Store, lease: string): string | undefined {
  const path = `${store.runRoot}/leases/${lease}`;
  try {
    return existsSync(path) ? readlinkSync(path).split('/').at(-1) : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function leases(store: Store): string[] {
  const directory = `${store.runRoot}/leases`;
  return existsSync(directory) ? readdirSync(directory) : [];
}

/** By network id, of whichever data root, the containers that have an address there, those that are about to start too. To be asked
 *  under the lock of network-lock.ts. */
export function networkUsers(store: Store): Map<string, string[]> {
  const users = new Map<string, Set<string>>();
  const add = (network: string, container: string) =>
    users.set(network, (users.get(network) ?? new Set()).add(container));
  for (const lease of leases(store)) {
    const [network = ''] = lease.split(',');
    const holder = isHexId(network) ? leaseHolder(store, lease) : undefined;
    if (holder !== undefined) add(network, holder);
  }
  for (const [network, found] of endpointsByNetwork(store)) for (const { container } of found) add(network, container);
  return new Map([...users].map(([network, containers]) => [network, [...containers].sort()]));
}
