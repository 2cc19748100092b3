/** A container's /etc/resolv.conf. Pure. @see resolv.conf(5) */
import { parseAddress } from '../spec/ip.ts';
import type { Endpoint } from '../spec/network.ts';

/** Where tsbox-resolver answers, in networks that a user has made. */
export const RESOLVER_ADDRESS = '127.0.0.11';

/** Docker's choice for a host that has no server that its containers could ask. */
const PUBLIC = { ipv4: ['8.8.8.8', '8.8.4.4'], ipv6: ['2001:4860:4860::8888', '2001:4860:4860::8844'] };

export interface ResolvConfInput {
  /** Docker's `NetworkMode`. */
  mode: string;
  endpoints: readonly Endpoint[];
  /** What was asked for, each instead of the host's; a search of `.` alone is none. */
  dns?: readonly string[];
  dnsSearch?: readonly string[];
  dnsOptions?: readonly string[];
}

/** Are names answered by tsbox-resolver? In every network but the default one containers have names. */
export function usesResolver(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some(({ names }) => names.length > 0);
}

/** With `host` it is the host's own; else without the servers that only the host itself reaches, and without those of IPv6 when the
 *  container has no such address. @param own the host's file; where systemd-resolved is its only server, the file that has its servers */
export function resolvConfFile(input: ResolvConfInput, own: string): string {
  const { mode, endpoints, dns = [], dnsSearch = [], dnsOptions = [] } = input;
  const ipv6 = endpoints.some(({ address6 }) => address6 !== undefined);
  const base = mode === 'host' ? own : reachable(own, ipv6);
  const resolver = usesResolver(endpoints);
  if (!resolver && dns.length + dnsSearch.length + dnsOptions.length === 0) return base;
  const options = dnsOptions.length > 0 ? [...dnsOptions] : lastWords(base, 'options');
  // Names of containers have no dot: they are to be asked for as they are, without a search first.
  if (resolver && !options.some((option) => option.startsWith('ndots:'))) options.push('ndots:0');
  const search = (dnsSearch.length > 0 ? dnsSearch : lastWords(base, 'search', 'domain')).join(' ').trim();
  const servers = resolver ? [RESOLVER_ADDRESS] : dns.length > 0 ? dns : nameservers(base);
  const option = options.join(' ').trim();
  return [
    ...(search === '' || search === '.' ? [] : [`search ${search}\n`]),
    ...servers.map((server) => `nameserver ${server}\n`),
    ...(option === '' ? [] : [`options ${option}\n`]),
  ].join('');
}

/** Whom tsbox-resolver asks for all other names. It does so from the host's network, so those that only the host reaches will do.
 *  @param own the host's file */
export function upstreams(dns: readonly string[], own: string): string[] {
  if (dns.length > 0) return [...dns];
  const servers = nameservers(own);
  return servers.length > 0 ? servers : PUBLIC.ipv4;
}

/** In their order; with its zone where one has it: `fe80::1%eth0`. */
export function nameservers(content: string): string[] {
  return content.split('\n').flatMap((line) => serverOf(line) ?? []);
}

const serverOf = (line: string) => /^\s*nameserver\s+([^\s#;]+)/.exec(line)?.[1];

/** The words of the last line that begins with one of these: that is the one that counts. */
function lastWords(content: string, ...keywords: string[]): string[] {
  const all = content.split('\n').map((line) => line.trim().split(/\s+/));
  return all.findLast(([first = '']) => keywords.includes(first))?.slice(1) ?? [];
}

function reachable(content: string, ipv6: boolean): string {
  const kept = content
    .split('\n')
    .filter((line) => {
      const server = serverOf(line);
      return server === undefined || isReachable(server, ipv6);
    })
    .join('\n');
  if (nameservers(kept).length > 0) return kept;
  const servers = [...PUBLIC.ipv4, ...(ipv6 ? PUBLIC.ipv6 : [])].map((server) => `nameserver ${server}\n`);
  return `${kept === '' || kept.endsWith('\n') ? kept : `${kept}\n`}${servers.join('')}`;
}

/** A zone is an interface of the host's, which the container has not. */
function isReachable(server: string, ipv6: boolean): boolean {
  const address = parseAddress(server);
  if (address === undefined) return !server.includes('%');
  if (address.version === 4) return address.value >> 24n !== 127n;
  return ipv6 && address.value !== 1n;
}
