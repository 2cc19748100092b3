/** The lock of whatever containers have in networks: flock(2) on `<run-root>/network.lock`. Whoever gives leases, takes them back or
 *  removes a network holds it, for milliseconds; whoever needs a lock of the data root too takes this one first. */
import { closeSync, openSync } from 'node:fs';
import { withLock } from '../sys/lock.ts';
import { attempt } from './io.ts';
import type { Store } from './store.ts';

export function networkLockFile(store: Store): string {
  return `${store.runRoot}/network.lock`;
}

/** Runs `work` while nobody else changes what is had in networks. Not to be nested. */
export function withNetworkLock<T>(store: Store, work: () => T): T {
  const path = networkLockFile(store);
  attempt(`open ${path}`, () => closeSync(openSync(path, 'a', 0o600)));
  return withLock(path, 'exclusive', work);
}
