/** What a running container has in its networks: `<run-root>/<id>/network.json`. */
import type { Endpoint, ForwardedPort } from '../spec/network.ts';
import { isObject, readObject } from './io.ts';
import { runDirectory, type Store } from './store.ts';

export interface RunNetwork {
  endpoints: Endpoint[];
  ports: ForwardedPort[];
}

export const runNetworkFile = (store: Store, id: string) => `${runDirectory(store, id)}/network.json`;

/** Nothing of a container that does not run, or that has no network of its own. */
export function readRunNetwork(store: Store, id: string): RunNetwork {
  const value = readObject(runNetworkFile(store, id));
  return { endpoints: objects<Endpoint>(value?.['endpoints']), ports: objects<ForwardedPort>(value?.['ports']) };
}

function objects<T>(value: unknown): T[] {
  return Array.isArray(value) ? (value.filter(isObject) as T[]) : [];
}
