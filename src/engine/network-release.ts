/** What the kernel has of a network goes when nobody uses it any more. */
import { isErrno } from '../errors.ts';
import { bridgeElement, networkKeys, subnetGone } from '../plan/nft-table.ts';
import type { NetworkRecord } from '../spec/network.ts';
import { bridgeName } from '../spec/network-options.ts';
import type { Store } from '../store/store.ts';
import { deleteLink, linkInfo } from '../sys/netlink.ts';
import { changeRules, deleteElement, elementExists } from '../sys/nftables.ts';
import { tableName } from './network-facts.ts';
import type { Engine } from './open.ts';

/** Takes away the bridge of a network without containers, unless it was there before the network. The caller holds the lock of
 *  store/network-lock.ts. @throws SyscallError */
export function releaseNetwork(
  { store }: Engine,
  record: Pick<NetworkRecord, 'ID' | 'Options' | 'Driver' | 'KeepsInterface'> & Partial<Pick<NetworkRecord, 'IPAM'>>,
): void {
  if (record.Driver !== 'bridge' || record.KeepsInterface === true) return;
  const name = bridgeName(record);
  forget(store, record);
  if (linkInfo(name)?.kind !== 'bridge') return;
  try {
    deleteLink(name);
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error;
  }
}

/** What the table of rules knows of it, where there is a table. */
function forget(store: Store, record: Parameters<typeof releaseNetwork>[1]): void {
  const table = tableName(store);
  const bridge = bridgeElement(bridgeName(record));
  if (!elementExists(table, bridge.set, bridge.bytes)) return;
  const subnets = (record.IPAM?.Config ?? []).map(({ Subnet }) => Subnet);
  for (const { set, bytes } of networkKeys(bridgeName(record))) takeOut(() => deleteElement(table, set, bytes));
  for (const subnet of subnets) takeOut(() => changeRules(subnetGone(table, subnet)));
}

/** It may never have been there. */
function takeOut(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
