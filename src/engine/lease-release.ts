/** Leases given and taken back, together with what the table of rules knows of them. */
import { portElement } from '../plan/nft-table.ts';
import type { Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import { dropLease, type Lease, leasedPort, noneLeased, sweepLeases } from '../store/network-leases.ts';
import { withNetworkLock } from '../store/network-lock.ts';
import type { Store } from '../store/store.ts';
import { tableName } from './network-facts.ts';

const GONE = { ENOENT: 'skip' } as const;

/** Runs `take` while nobody else takes a lease. It is told the names of those that there are; the container's own from before are none of them.
 *  @param preview nothing is taken away */
export function ownedLeases<T>(store: Store, id: string, preview: boolean, take: (taken: Set<string>) => T): T {
  if (preview) return take(new Set());
  return withNetworkLock(store, () => {
    const { freed, left } = sweepLeases(store);
    const own = left.filter((lease) => lease.id === id);
    for (const { name } of own) dropLease(store, name);
    takeOut(store, [...freed, ...own]);
    return take(new Set(left.filter((lease) => lease.id !== id).map(({ name }) => name)));
  });
}

/** Takes back what containers had that are gone. When nobody has anything left the table goes too. */
export function releaseNetworks(store: Store): void {
  withNetworkLock(store, () => {
    const { freed } = sweepLeases(store);
    if (noneLeased(store)) takeTable(store);
    else takeOut(store, freed);
  });
}

/** Ports that lead to a container that is gone. */
function takeOut(store: Store, freed: readonly Lease[]): void {
  const table = tableName(store);
  const steps = freed.flatMap(({ name }): Step[] => {
    const port = leasedPort(name);
    if (port === undefined) return [];
    const { set, bytes } = portElement(port);
    const why = 'the port of a container that is gone';
    return [{ op: 'nft_delete', table, set, key: bytes, why, onError: GONE }];
  });
  interpret(steps, { keepGoing: true });
}

function takeTable(store: Store): void {
  const why = 'no container is in a network any more: the rules go';
  interpret([{ op: 'nft_delete', table: tableName(store), set: '', key: new Uint8Array(), why, onError: GONE }]);
}
