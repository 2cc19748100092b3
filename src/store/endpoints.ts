/** What running containers have in networks: `<run-root>/<id>/network.json`, as the engine writes it when one starts. */
import { existsSync } from 'node:fs';
import type { Endpoint } from '../spec/network.ts';
import { sha256Hex } from '../sys/sha256.ts';
import { leases } from './network-leases.ts';
import { readRunNetwork } from './network-run.ts';
import { monitorLives, runIds } from './state.ts';
import { isHexId, runDirectory, type Store } from './store.ts';

/** Docker's id of what a container has in a network: 64 digits, the same for as long as both are there. */
export function endpointId(containerId: string, networkId: string): string {
  return sha256Hex(Buffer.from(`${containerId} ${networkId}`));
}

/** The endpoints of all containers that run, by network id. */
export function endpointsByNetwork(store: Store): Map<string, { container: string; endpoint: Endpoint }[]> {
  const found = new Map<string, { container: string; endpoint: Endpoint }[]>();
  for (const container of runIds(store)) {
    const endpoints = readRunNetwork(store, container).endpoints;
    if (endpoints.length === 0 || !monitorLives(store, container)) continue;
    for (const endpoint of endpoints) {
      const { networkId } = endpoint;
      found.set(networkId, [...(found.get(networkId) ?? []), { container, endpoint }]);
    }
  }
  return found;
}

/** By network id, of whichever data root, the containers that have an address there, those that are about to start too. To be asked
 *  under the lock of network-lock.ts. */
export function networkUsers(store: Store): Map<string, string[]> {
  const users = new Map<string, Set<string>>();
  const add = (network: string, container: string) =>
    users.set(network, (users.get(network) ?? new Set()).add(container));
  for (const { name, id } of leases(store)) {
    const [network = ''] = name.split(',');
    if (isHexId(network) && existsSync(runDirectory(store, id))) add(network, id);
  }
  for (const [network, found] of endpointsByNetwork(store)) for (const { container } of found) add(network, container);
  return new Map([...users].map(([network, containers]) => [network, [...containers].sort()]));
}
