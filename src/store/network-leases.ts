/**
 * Who has which address and which port: `<run-root>/leases/NAME`, a symlink to the run directory of the container that has it. A lease whose
 * container is gone is free, whatever ended it. They are made and taken away under the lock of network-lock.ts. @see docs/network.md
 */
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import type { PublishedPort } from '../spec/network.ts';
import { isLocked } from '../sys/lock.ts';
import { monitorLives } from './state.ts';
import { containerDirectory, runDirectory, type Store } from './store.ts';

export interface Lease {
  name: string;
  /** Of the container. */
  id: string;
}

export const leasesDirectory = (store: Store) => `${store.runRoot}/leases`;

export const addressLease = (networkId: string, address: string) => `${networkId},${address}`;
export const portLease = ({ protocol, hostAddress, hostPort }: Omit<PublishedPort, 'containerPort'>) =>
  `${protocol},${hostAddress},${hostPort}`;

/** The port that a lease is for; undefined for one of an address. */
export function leasedPort(name: string): Omit<PublishedPort, 'containerPort'> | undefined {
  const [protocol, hostAddress = '', port] = name.split(',');
  return protocol === 'tcp' || protocol === 'udp' ? { protocol, hostAddress, hostPort: Number(port) } : undefined;
}

/** Every lease, also of who is gone. */
export function leases(store: Store): Lease[] {
  const directory = leasesDirectory(store);
  return namesIn(directory).flatMap((name) => {
    const target = linkOf(`${directory}/${name}`);
    return target === undefined ? [] : [{ name, id: target.slice(target.lastIndexOf('/') + 1) }];
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Is the container's run over? Neither has it a monitor, nor is somebody about to start or to remove it. */
function isOver(store: Store, id: string): boolean {
  if (!existsSync(runDirectory(store, id))) return true;
  return !monitorLives(store, id) && !isLocked(containerDirectory(store, id));
}

/** Within withNetworkLock: takes away the leases of containers whose run is over.
 *  @returns those that were taken away and those that are left */
export function sweepLeases(store: Store): { freed: Lease[]; left: Lease[] } {
  const over = new Map<string, boolean>();
  const freed: Lease[] = [];
  const left: Lease[] = [];
  for (const lease of leases(store)) {
    const known = over.get(lease.id) ?? isOver(store, lease.id);
    over.set(lease.id, known);
    (known ? freed : left).push(lease);
    if (known) dropLease(store, lease.name);
  }
  return { freed, left };
}

/** Within withNetworkLock. The container's run directory must be there. @throws EEXIST when somebody has it */
export function takeLease(store: Store, name: string, id: string): void {
  mkdirSync(leasesDirectory(store), { recursive: true, mode: 0o700 });
  symlinkSync(`../${id}`, `${leasesDirectory(store)}/${name}`);
}

export function dropLease(store: Store, name: string): void {
  try {
    unlinkSync(`${leasesDirectory(store)}/${name}`);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Within withNetworkLock: true when nobody has a lease; the directory is then gone. */
export function noneLeased(store: Store): boolean {
  try {
    rmdirSync(leasesDirectory(store));
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true;
    if (isErrno(error, 'ENOTEMPTY') || isErrno(error, 'EEXIST')) return false;
    throw error;
  }
}
