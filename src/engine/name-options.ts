/** What of names and DNS servers was asked for, in Docker's `HostConfig`. Pure. */
import { TsboxError } from '../errors.ts';
import type { HostConfig } from '../spec/container.ts';
import type { ContainerRequest } from './api.ts';
import { otherContainer } from './namespaces.ts';

/** What cannot be had together, in Docker's words. @throws ERR_TSBOX_USAGE */
export function checkNameOptions(request: ContainerRequest): void {
  const { network, links = [], dns = [], extraHosts = [] } = request;
  const shared = otherContainer(network) !== undefined;
  const kind = network === 'host' ? 'host type networking' : 'container type network';
  const refusals: [boolean, string][] = [
    [
      links.length > 0 && (network === 'host' || shared),
      `${kind} can't be used with links. This would result in undefined behavior`,
    ],
    [dns.length > 0 && shared, 'dns and the network mode'],
    [extraHosts.length > 0 && shared, 'custom host-to-IP mapping and the network mode'],
  ];
  const [, why] = refusals.find(([isRefused]) => isRefused) ?? [];
  if (why !== undefined) {
    throw new TsboxError('ERR_TSBOX_USAGE', `conflicting options: ${why}`, { exitCode: 125 });
  }
}

/** Servers that the container has no way to: in the host's network, and for tsbox-resolver, loopback is the host's. */
export function nameNotes({ network, dns = [] }: ContainerRequest): string[] {
  if (!['default', 'bridge', 'none'].includes(network)) return [];
  const local = dns.find((address) => address.startsWith('127.') || address === '::1');
  return local === undefined ? [] : [`Localhost DNS (${local}) may fail in containers.`];
}

/** @param links of the default network, as they are kept */
export function nameOptions(
  { dns = [], dnsOptions = [], dnsSearch = [], extraHosts = [] }: ContainerRequest,
  links: readonly string[],
): Pick<HostConfig, 'Dns' | 'DnsOptions' | 'DnsSearch' | 'ExtraHosts' | 'Links'> {
  const lists = { Dns: dns, DnsOptions: dnsOptions, DnsSearch: dnsSearch, ExtraHosts: extraHosts, Links: links };
  return Object.fromEntries(
    Object.entries(lists)
      .filter(([, list]) => list.length > 0)
      .map(([name, list]) => [name, [...list]]),
  );
}
