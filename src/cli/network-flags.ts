/** The flags of names that `run` and `create` share: what the container is called, and how it finds others. The parsing is loaded when
 *  one is given. */
import type { ContainerRequest } from '../engine/api.ts';
import type { FlagTable } from './args.ts';

export const NETWORK_FLAGS = {
  'add-host': {
    kind: 'list',
    value: 'host:ip',
    help: "Add a line to /etc/hosts; 'host-gateway' is the host's address",
  },
  dns: { kind: 'list', value: 'address', help: "Ask this DNS server, not the host's" },
  'dns-option': { kind: 'list', help: 'Option of resolv.conf(5)', aliases: ['dns-opt'] },
  'dns-search': { kind: 'list', value: 'domain', help: "Search names in this domain; '.' is none" },
  domainname: { kind: 'string', help: 'Domain name of the container' },
  link: { kind: 'list', value: 'container[:alias]', help: 'Add the address of another container by this name' },
  'network-alias': { kind: 'list', value: 'name', help: 'Name for others in the network', aliases: ['net-alias'] },
} as const satisfies FlagTable;

type Name = keyof typeof NETWORK_FLAGS;
export type NetworkValues = Partial<Record<Name, string | string[] | undefined>>;

/** The request with what the flags ask for. @throws UsageError on a value that is none */
export async function withNetwork(request: ContainerRequest, flags: NetworkValues): Promise<ContainerRequest> {
  const isGiven = (Object.keys(NETWORK_FLAGS) as Name[]).some((name) => {
    const value = flags[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined;
  });
  if (!isGiven) return request;
  const { networkRequest } = await import('./network-values.ts');
  return { ...request, ...networkRequest(flags, request.network) };
}
