/** What the kernel has of a network goes when nobody uses it any more. */
import { isErrno } from '../errors.ts';
import type { NetworkRecord } from '../spec/network.ts';
import { bridgeName } from '../spec/network-options.ts';
import { deleteLink, linkInfo } from '../sys/netlink.ts';
import type { Engine } from './open.ts';

/** Takes away the bridge of a network without containers, unless it was there before the network. The caller holds the lock of
 *  store/network-lock.ts. @throws SyscallError */
export function releaseNetwork(
  _: Engine,
  record: Pick<NetworkRecord, 'ID' | 'Options' | 'Driver' | 'KeepsInterface'>,
): void {
  if (record.Driver !== 'bridge' || record.KeepsInterface === true) return;
  const name = bridgeName(record);
  if (linkInfo(name)?.kind !== 'bridge') return;
  try {
    deleteLink(name);
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error;
  }
}
