/** Ports of a container as `--publish` and `--expose` name them, by Docker's grammar and in its words. Pure. */
import { TsboxError } from '../errors.ts';
import type { GoSet, PortBinding } from './container.ts';
import { parseAddress } from './ip.ts';

export interface PortsAsked {
  /** `80/tcp`, `53/udp` */
  exposed: string[];
  /** By `80/tcp`, in the order in which Go writes them. */
  bindings: Record<string, PortBinding[]>;
}

const HIGHEST = 65535;
const PROTOCOLS = ['tcp', 'udp', 'sctp'];

function usage(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: 125 });
}

/** Go's words for what is no port. */
function portNumber(text: string): number {
  const bad = (why: string) => usage(`strconv.ParseUint: parsing ${JSON.stringify(text)}: ${why}`);
  if (!/^\d+$/.test(text)) throw bad('invalid syntax');
  if (Number(text) > HIGHEST) throw bad('value out of range');
  return Number(text);
}

/** `80`, `80-82`; as with Docker, a third part does not count. */
function portRange(text: string): [first: number, last: number] {
  if (text === '') throw usage('empty string specified for ports');
  const [start = '', end = start] = text.split('-');
  const [first, last] = [portNumber(start), portNumber(end)];
  if (last < first) throw usage(`invalid range specified for port: ${text}`);
  return [first, last];
}

function checkedRange(text: string, name: string): [first: number, last: number] {
  try {
    return portRange(text);
  } catch {
    throw usage(`invalid ${name}: ${text}`);
  }
}

/** `80/udp` in its two parts; the protocol is tcp where there is none. Without a port both are empty. */
function splitProtocol(text: string): { ports: string; protocol: string } {
  const [ports = '', protocol = ''] = text.split('/');
  return ports === '' ? { ports, protocol: '' } : { ports, protocol: protocol || 'tcp' };
}

/** All of `80`, `80/udp`, `80-82/tcp`, as `80/tcp` each. @throws ERR_TSBOX_USAGE on what is no port */
export function portsOfRange(text: string): string[] {
  const { ports, protocol } = splitProtocol(text);
  const [first, last] = portRange(ports);
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

/** The address without its brackets; empty for none. */
function hostAddress(text: string): string {
  const bracketed = text.startsWith('[');
  if (bracketed && !text.includes(']')) {
    throw usage(`invalid IP address ${text}: address ${text}:: missing ']' in address`);
  }
  const bare = bracketed && text.endsWith(']') ? text.slice(1, -1) : text;
  if (bare !== '' && parseAddress(bare) === undefined) throw usage(`invalid IP address: ${bare}`);
  return bare;
}

/** `published=8080,target=80,protocol=udp` in the usual form. */
function withoutNames(text: string): string {
  if (!text.includes('=')) return text;
  const given = new Map([['protocol', 'tcp']]);
  for (const pair of text.split(',')) {
    const [name = '', value] = pair.split('=');
    if (value === undefined) {
      throw usage(`invalid publish opts format (should be name=value but got '${pair}')`);
    }
    given.set(name, value);
  }
  const part = (name: string) => given.get(name) ?? '';
  return `${part('published')}:${part('target')}/${part('protocol')}`;
}

/** One `--publish`: `[[IP:][HOSTPORT[-END]]:]PORT[-END][/tcp|udp|sctp]`. Ranges are of the same length, or the host's is one to choose from
 *  for a single port. */
function publish(given: string): [port: string, binding: PortBinding][] {
  const text = withoutNames(given);
  const parts = text.split(':');
  const { ports, protocol } = splitProtocol(parts.at(-1) ?? '');
  const host = parts.at(-2) ?? '';
  const HostIp = hostAddress(parts.slice(0, -2).join(':'));
  if (ports === '') throw usage(`no port specified: ${text}<empty>`);
  const [first, last] = checkedRange(ports, 'containerPort');
  if (first === 0) throw usage(`invalid containerPort: ${ports}`);
  const [hostFirst, hostLast] = host === '' ? [0, 0] : checkedRange(host, 'hostPort');
  if (host !== '' && last - first !== hostLast - hostFirst && last !== first) {
    throw usage(`invalid ranges specified for container and host Ports: ${ports} and ${host}`);
  }
  if (!PROTOCOLS.includes(protocol.toLowerCase())) throw usage(`invalid proto: ${protocol}`);
  const hostPort = (index: number) => {
    if (host === '') return '';
    return first === last && hostFirst !== hostLast ? `${hostFirst}-${hostLast}` : String(hostFirst + index);
  };
  return Array.from({ length: last - first + 1 }, (_, index) => [
    `${first + index}/${protocol.toLowerCase()}`,
    { HostIp, HostPort: hostPort(index) },
  ]);
}

/** One `--expose`: `PORT[-END][/protocol]`. */
function expose(text: string): string[] {
  if (text.includes(':')) throw usage(`invalid port format for --expose: ${text}`);
  const { ports, protocol } = splitProtocol(text);
  try {
    const [first, last] = portRange(ports);
    return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
  } catch (error) {
    throw usage(`invalid range format for --expose: ${text}, error: ${(error as Error).message}`);
  }
}

/** What the flags ask for: a published port is exposed too. @throws ERR_TSBOX_USAGE in Docker's words; its 0 for the container's port is
 *  refused here */
export function portsAsked(publishes: readonly string[], exposes: readonly string[]): PortsAsked {
  const bindings: Record<string, PortBinding[]> = {};
  for (const [port, binding] of publishes.flatMap(publish)) {
    bindings[port] ??= [];
    bindings[port].push(binding);
  }
  const sorted = Object.entries(bindings).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    exposed: [...new Set([...Object.keys(bindings), ...exposes.flatMap(expose)])],
    bindings: Object.fromEntries(sorted),
  };
}

/** A set with its members in the order in which Go writes them. */
export function portSet(ports: Iterable<string>): GoSet {
  return Object.fromEntries([...new Set(ports)].sort().map((port) => [port, {}]));
}
