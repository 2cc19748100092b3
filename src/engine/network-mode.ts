/** What a network mode means: `default`, `bridge`, `host`, `none`, `container:NAME`, or a network that a user has made. */
import { existsSync } from 'node:fs';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import type { EndpointConfig } from '../spec/network.ts';
import { leasesDirectory } from '../store/network-leases.ts';
import type { Store } from '../store/store.ts';
import { otherContainer } from './namespaces.ts';

/** What was asked for, network by network; the first is that of `--network`. Empty for a container without networks of its own. */
export function wantedNetworks(
  { NetworkSettings }: Pick<ContainerRecord, 'NetworkSettings'>,
  { NetworkMode }: Pick<HostConfig, 'NetworkMode'>,
): [string, EndpointConfig][] {
  const isElsewhere = ['host', 'none'].includes(NetworkMode) || otherContainer(NetworkMode) !== undefined;
  return isElsewhere ? [] : Object.entries(NetworkSettings?.Networks ?? {});
}

/** Takes back what containers had in networks whose run directory is gone. Loads what it needs only where somebody has something. */
export async function releaseLeases(store: Store): Promise<void> {
  if (existsSync(leasesDirectory(store))) (await import('./lease-release.ts')).releaseNetworks(store);
}
