/** How the values of names and DNS servers are read, as Docker's client reads them. */
import type { ContainerRequest } from '../engine/api.ts';
import { formatAddress, parseAddress } from '../spec/ip.ts';
import { parseLink } from '../spec/links.ts';
import { FLAG_ERROR, UsageError } from './args.ts';
import type { NetworkValues } from './network-flags.ts';

type Asked = Pick<
  ContainerRequest,
  'extraHosts' | 'dns' | 'dnsOptions' | 'dnsSearch' | 'domainname' | 'links' | 'networkAliases'
>;

/** What the flags ask for. @param network that of `--network` @throws UsageError in Docker's words */
export function networkRequest(flags: NetworkValues, network: string): Asked {
  if ((flags['network-alias'] ?? []).length > 0 && !isUserDefined(network)) {
    throw new UsageError('network-scoped aliases are only supported for user-defined networks', FLAG_ERROR);
  }
  const list = (name: keyof NetworkValues, read: (text: string) => string = (text) => text) => {
    const given = flags[name] as string[] | undefined;
    return given === undefined || given.length === 0 ? undefined : given.map((text) => readValue(name, text, read));
  };
  const asked = {
    extraHosts: list('add-host', extraHost),
    dns: list('dns', server),
    dnsOptions: list('dns-option'),
    dnsSearch: list('dns-search', domain),
    domainname: flags.domainname as string | undefined,
    links: list('link', link),
    networkAliases: list('network-alias'),
  };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}

const isUserDefined = (network: string) =>
  !['default', 'bridge', 'host', 'none'].includes(network) && !network.startsWith('container:');

function readValue(name: string, text: string, read: (text: string) => string): string {
  try {
    return read(text);
  } catch (error) {
    const why = (error as Error).message;
    throw new UsageError(`invalid argument ${JSON.stringify(text)} for "--${name}" flag: ${why}`, FLAG_ERROR);
  }
}

/** `NAME:ADDRESS` or `NAME=ADDRESS`; an address of IPv6 may stand in brackets. It stays as it was written. */
function extraHost(text: string): string {
  const [, name = '', given = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? /^([^:]*):(.*)$/s.exec(text) ?? [];
  if (name === '' || name.includes(':')) throw new Error(`bad format for add-host: ${JSON.stringify(text)}`);
  const address = /^\[(.+)\]$/s.exec(given)?.[1] ?? given;
  if (given === 'host-gateway' || parseAddress(address.trim()) !== undefined) return `${name}:${address}`;
  throw new Error(`invalid IP address in add-host: ${JSON.stringify(address)}`);
}

function server(text: string): string {
  const address = parseAddress(text.trim());
  if (address === undefined) throw new Error(`IP address is not correctly formatted: ${text}`);
  return formatAddress(address.version, address.value);
}

/** Letters, digits, hyphens within and dots between; at least one letter. A dot at the end does not count. */
const LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const DOMAIN = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)\\.?\\s*$`, 'i');
const DOMAIN_LIMIT = 254;

function domain(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '.') return trimmed;
  const name = DOMAIN.exec(trimmed)?.[1];
  if (name !== undefined && name.length <= DOMAIN_LIMIT && /[a-z]/i.test(name)) return name;
  throw new Error(`${trimmed} is not a valid domain`);
}

function link(text: string): string {
  parseLink(text);
  return text;
}
