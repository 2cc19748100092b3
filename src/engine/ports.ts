/** Which ports of the host a container gets. */
import { readFileSync } from 'node:fs';
import type { ContainerConfig, HostConfig } from '../spec/container.ts';
import type { Endpoint, PublishedPort } from '../spec/network.ts';
import { meet, pickPorts } from '../spec/published.ts';
import { leasedPort } from '../store/network-leases.ts';
import { canBind } from '../sys/socket.ts';

/** What Linux has unless it was changed. */
const DEFAULT_RANGE = [32768, 60999] as const;

/** Ports for those who do not care which. @see ip(7), ip_local_port_range */
export function localPortRange(): readonly [number, number] {
  try {
    const [first = 0, last = 0] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
      .split(/\s+/)
      .map(Number);
    return first > 0 && last >= first ? [first, last] : DEFAULT_RANGE;
  } catch {
    return DEFAULT_RANGE;
  }
}

/** None for a container that no network leads out of: as with Docker, what it asks for then means nothing.
 *  @param taken names of the leases that there are
 *  @param anywhere the address that a port gets which asks for none
 *  @throws as pickPorts does */
export function chosenPorts(
  { PortBindings, PublishAllPorts }: HostConfig,
  { ExposedPorts }: ContainerConfig,
  endpoints: readonly Endpoint[],
  taken: ReadonlySet<string>,
  anywhere: string,
): PublishedPort[] {
  const has4 = endpoints.some(({ address, gateway }) => address !== undefined && gateway !== undefined);
  const has6 = endpoints.some(({ address6, gateway6 }) => address6 !== undefined && gateway6 !== undefined);
  if (!has4 && !has6) return [];
  const leased = [...taken].flatMap((name) => leasedPort(name) ?? []);
  return pickPorts(
    { PortBindings, PublishAllPorts, ExposedPorts },
    {
      addresses: [...(has4 ? [anywhere] : []), ...(has6 ? ['::'] : [])],
      range: localPortRange(),
      from: Math.random(),
      isFree: (protocol, address, port) =>
        !leased.some((one) => one.protocol === protocol && one.hostPort === port && meet(one.hostAddress, address)) &&
        canBind(protocol, address, port),
    },
  );
}
