/** What a running container has in its networks: `<run-root>/<id>/network.json`, as the engine writes it at the start. */
import type { Endpoint, ForwardedPort } from '../spec/network.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { isObject, readObject } from './io.ts';
import { runDirectory, type Store } from './store.ts';

export interface RunNetwork {
  endpoints: Endpoint[];
  ports: ForwardedPort[];
}

export const runNetworkFile = (store: Store, id: string) => `${runDirectory(store, id)}/network.json`;

const isText = (value: unknown) => typeof value === 'string';

function isEndpoint(value: unknown): value is Endpoint {
  if (!isObject(value)) return false;
  const needed = ['networkId', 'network', 'interface', 'port', 'mac'].every((field) => isText(value[field]));
  const optional = ['address', 'gateway', 'address6', 'gateway6'].every((field) => isText(value[field] ?? ''));
  return needed && optional && Array.isArray(value['names']) && value['names'].every(isText);
}

function isPort(value: unknown): value is ForwardedPort {
  if (!isObject(value)) return false;
  const { protocol, hostAddress, hostPort, containerPort } = value;
  return isText(protocol) && isText(hostAddress) && Number.isInteger(hostPort) && Number.isInteger(containerPort);
}

/** A container that runs is found by another name from now on. Without networks that have names nothing is changed. For who holds its lock. */
export function renameInNetworks(store: Store, id: string, from: string, to: string): void {
  const run = readRunNetwork(store, id);
  if (!run.endpoints.some(({ names }) => names[0] === from)) return;
  // What is the same by chance, an alias or the host name, stays.
  const renamed = ([first, ...others]: readonly string[]) => [first === from ? to : first!, ...others];
  const endpoints = run.endpoints.map((one) => (one.names.length === 0 ? one : { ...one, names: renamed(one.names) }));
  writeRunNetwork(store, id, { ...run, endpoints });
}

/** Readers see all of it or what was there before. For who holds the container's lock. */
export function writeRunNetwork(store: Store, id: string, run: RunNetwork): void {
  writeFileAtomic(runNetworkFile(store, id), JSON.stringify(run), { mode: 0o644 });
}

/** Nothing of a container that does not run, of one that has no network of its own, and of what is damaged. */
export function readRunNetwork(store: Store, id: string): RunNetwork {
  const { endpoints, ports } = readObject(runNetworkFile(store, id)) ?? {};
  return {
    endpoints: Array.isArray(endpoints) ? endpoints.filter(isEndpoint) : [],
    ports: Array.isArray(ports) ? ports.filter(isPort) : [],
  };
}
