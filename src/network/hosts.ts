/** A container's /etc/hosts. Pure. @see hosts(5) */
import { TsboxError } from '../errors.ts';
import { bareAddress } from '../spec/ip.ts';
import type { Endpoint } from '../spec/network.ts';

const LOCALHOST = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::0\tip6-localnet',
  'ff00::0\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** Instead of an address of `--add-host`: the host's own, as the container reaches it. */
export const HOST_GATEWAY = 'host-gateway';

/** A container that is linked in the default network: where it is, and its names, the alias first. */
export interface LinkedHost {
  address: string;
  names: readonly string[];
}

export interface HostsInput {
  /** Docker's `NetworkMode`. */
  mode: string;
  hostname: string;
  /** Empty: none. */
  domainname: string;
  endpoints: readonly Endpoint[];
  /** `NAME:ADDRESS` */
  extraHosts?: readonly string[];
  links?: readonly LinkedHost[];
  /** The host's address for `host-gateway`: without it the gateway of the first endpoint, or in the host's network 127.0.0.1. */
  hostGateway?: string;
}

/** With `host` and without additions it is the host's own. The order is Docker's: what was asked for stands before what is so anyway,
 *  and the first line with a name wins. @param own the host's file @throws ERR_TSBOX_USAGE for `host-gateway` where the host cannot be reached */
export function hostsFile(input: HostsInput, own: string): string {
  const { mode, extraHosts = [], links = [] } = input;
  if (mode === 'host' && extraHosts.length === 0) return own;
  const extra = extraHosts.map((entry) => extraLine(entry, input));
  const linked = links.map(({ address, names }) => `${address}\t${names.join(' ')}`);
  return lines([...LOCALHOST, ...extra, ...linked, ...ownLines(input)]);
}

/** The container's own addresses with its name: `172.17.0.2<TAB>web.example.org web`. */
export function ownLines({
  hostname,
  domainname,
  endpoints,
}: Pick<HostsInput, 'hostname' | 'domainname' | 'endpoints'>): string[] {
  const full = domainname === '' ? hostname : `${hostname}.${domainname}`;
  const [short] = full.split('.');
  const names = short === full ? full : `${full} ${short}`;
  const addresses = endpoints.flatMap(({ address, address6 }) => [address, address6]);
  return addresses.filter((one) => one !== undefined).map((one) => `${bareAddress(one)}\t${names}`);
}

const lines = (all: readonly string[]) => all.map((line) => `${line}\n`).join('');

function extraLine(entry: string, input: HostsInput): string {
  const colon = entry.indexOf(':');
  const [name, address] = [entry.slice(0, colon), entry.slice(colon + 1)];
  return `${address === HOST_GATEWAY ? gateway(input) : address}\t${name}`;
}

function gateway({ mode, endpoints, hostGateway }: HostsInput): string {
  const first = endpoints.find((endpoint) => endpoint.gateway !== undefined) ?? endpoints[0];
  const address = hostGateway ?? first?.gateway ?? first?.gateway6 ?? (mode === 'host' ? '127.0.0.1' : undefined);
  if (address !== undefined) return address;
  throw new TsboxError('ERR_TSBOX_USAGE', `unable to derive the IP value for ${HOST_GATEWAY}`, {
    exitCode: 125,
    hint: 'The container has no network in which it could reach the host.',
  });
}
