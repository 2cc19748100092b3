/** Published ports: which of the host's they get, and how they are shown. Pure. */
import { TsboxError } from '../errors.ts';
import type { GoSet, PortBinding } from './container.ts';
import { beforePort, formatAddress, isIPv6, parseAddress } from './ip.ts';
import type { PublishedPort } from './network.ts';

/** What was asked for: `HostConfig` and `Config` have it. */
export interface PortsWanted {
  PortBindings?: Record<string, PortBinding[] | null> | undefined;
  PublishAllPorts?: boolean | undefined;
  ExposedPorts?: GoSet | undefined;
}

/** What the host has to give. */
export interface HostPorts {
  /** Where a binding without an address is reached: `0.0.0.0`, and `::` where there is IPv6. */
  addresses: readonly string[];
  /** The first and the last port that may be given to those who do not care. @see ip(7), ip_local_port_range */
  range: readonly [first: number, last: number];
  /** Where in the range the search begins: from 0, up to 1. */
  from: number;
  /** Nobody has it, with any other address that means it too. */
  isFree(protocol: 'tcp' | 'udp', address: string, port: number): boolean;
}

interface Wish {
  containerPort: number;
  protocol: 'tcp' | 'udp';
  addresses: readonly string[];
  /** Of the host, one is enough: the first and the last. */
  range: readonly [number, number];
  /** One of many: taken after those that can have one only. */
  isOpen: boolean;
}

const FAILED = 125;
const WILDCARDS = ['0.0.0.0', '::'];

function refuse(code: 'ERR_TSBOX_CONFLICT' | 'ERR_TSBOX_UNSUPPORTED', message: string, hint: string): TsboxError {
  return new TsboxError(code, message, { exitCode: FAILED, hint });
}

/** `80/tcp` in its parts. @throws ERR_TSBOX_UNSUPPORTED for a protocol that is not published */
function parsePort(port: string): Pick<Wish, 'containerPort' | 'protocol'> {
  const [number = '', given = 'tcp'] = port.split('/');
  const protocol = given.toLowerCase();
  if (protocol === 'tcp' || protocol === 'udp') return { containerPort: Number(number), protocol };
  throw refuse(
    'ERR_TSBOX_UNSUPPORTED',
    `publish ${port}: ${given} is not supported`,
    'Only tcp and udp are published.',
  );
}

function normal(address: string): string {
  const parsed = parseAddress(address);
  return parsed === undefined ? address : formatAddress(parsed.version, parsed.value);
}

/** Where a port of this address would lead is nothing of the same version. */
function leadsNowhere(HostIp: string, HostPort: string): TsboxError {
  const version = isIPv6(HostIp) ? 6 : 4;
  const hint =
    version === 6
      ? 'Give it a network with IPv6 (tsbox network create --ipv6), or publish on an IPv4 address.'
      : 'Publish on an IPv6 address.';
  const message = `publish ${beforePort(HostIp)}:${HostPort}: the container has no IPv${version} address that leads out`;
  return refuse('ERR_TSBOX_UNSUPPORTED', message, hint);
}

function wish(port: string, { HostIp, HostPort }: PortBinding, host: HostPorts): Wish {
  const [first = 0, last = first] = HostPort.split('-').filter(Boolean).map(Number);
  if (HostIp !== '' && !host.addresses.some((one) => isIPv6(one) === isIPv6(HostIp)))
    throw leadsNowhere(HostIp, HostPort);
  return {
    ...parsePort(port),
    addresses: HostIp === '' ? host.addresses : [normal(HostIp)],
    range: first === 0 ? host.range : [first, last],
    isOpen: first === 0 || first !== last,
  };
}

/** Would a packet to one of them be one to the other too? */
export function meet(a: string, b: string): boolean {
  return a === b || (isIPv6(a) === isIPv6(b) && (WILDCARDS.includes(a) || WILDCARDS.includes(b)));
}

/** The first of the range that is free on all the addresses. */
function search({ protocol, addresses, range: [first, last], isOpen }: Wish, host: HostPorts, got: PublishedPort[]) {
  const isFree = (port: number) =>
    addresses.every(
      (address) =>
        !got.some((one) => one.protocol === protocol && one.hostPort === port && meet(one.hostAddress, address)) &&
        host.isFree(protocol, address, port),
    );
  const count = last - first + 1;
  // A range that was asked for is gone through from its beginning, as Docker does.
  const start = isOpen && first === host.range[0] && last === host.range[1] ? Math.floor(host.from * count) : 0;
  for (let index = 0; index < count; index++) {
    const port = first + ((start + index) % count);
    if (isFree(port)) return port;
  }
  return undefined;
}

/** A port of the host for each that is wanted. Those that can have only one get theirs first; then, as with Docker, the largest ports of the
 *  container. @throws ERR_TSBOX_CONFLICT in Docker's words when there is none, ERR_TSBOX_UNSUPPORTED for sctp, and for an address
 *  of a version of IP that {@link HostPorts.addresses} have none of */
export function pickPorts(wanted: PortsWanted, host: HostPorts): PublishedPort[] {
  const { PortBindings: bindings = {}, PublishAllPorts: all = false, ExposedPorts: exposed = {} } = wanted;
  const anywhere: PortBinding = { HostIp: '', HostPort: '' };
  const given = Object.entries(bindings).flatMap(([port, list]) => (list ?? []).map((one) => wish(port, one, host)));
  const unbound = all ? Object.keys(exposed).filter((port) => (bindings[port] ?? []).length === 0) : [];
  const wishes = [...given, ...unbound.map((port) => wish(port, anywhere, host))];
  const later = (one: Wish) => Number(one.isOpen);
  const rank = (a: Wish, b: Wish) =>
    later(a) - later(b) ||
    (later(a) === 0 ? 0 : b.containerPort - a.containerPort || (a.protocol < b.protocol ? -1 : 1));
  const got: PublishedPort[] = [];
  for (const one of wishes.sort(rank)) {
    const hostPort = search(one, host, got);
    if (hostPort === undefined) throw taken(one);
    const { protocol, containerPort } = one;
    got.push(...one.addresses.map((hostAddress) => ({ protocol, hostAddress, hostPort, containerPort })));
  }
  return got;
}

function taken({ addresses, range: [first, last], protocol }: Wish): TsboxError {
  const address = beforePort(addresses[0] ?? '0.0.0.0');
  const hint = `Another container or program of the host has ${first === last ? 'this port' : 'these ports'}: see "ss -l -n --${protocol} -p".`;
  if (first === last) {
    return refuse('ERR_TSBOX_CONFLICT', `Bind for ${address}:${first} failed: port is already allocated`, hint);
  }
  return refuse('ERR_TSBOX_CONFLICT', `Bind for ${address}:${first}-${last} failed: all ports are allocated`, hint);
}

const portText = ({ containerPort, protocol }: PublishedPort) => `${containerPort}/${protocol}`;

/** As `NetworkSettings.Ports` has them: null for one that is only exposed. */
export function portsShown(
  published: readonly PublishedPort[],
  exposed: GoSet | undefined,
): Record<string, PortBinding[] | null> {
  const names = new Set([...published.map(portText), ...Object.keys(exposed ?? {})]);
  return Object.fromEntries(
    [...names].sort().map((name) => {
      const of = published.filter((port) => portText(port) === name);
      const list = of.map(({ hostAddress, hostPort }) => ({ HostIp: hostAddress, HostPort: String(hostPort) }));
      return [name, list.length === 0 ? null : list];
    }),
  );
}

interface Shown {
  containerPort: number;
  protocol: string;
  /** Empty for one that is only exposed. */
  address: string;
  hostPort: number;
}

const compare = <T extends string | number>(a: T, b: T) => (a < b ? -1 : a > b ? 1 : 0);

/** As Docker's `ps`: neighbours that have the same numbers on the host stand together, and come before the others.
 *  `80-81/tcp, 0.0.0.0:8080->82/tcp, [::]:8080->82/tcp` */
export function portsColumn(published: readonly PublishedPort[], exposed: GoSet | undefined): string {
  const shown = Object.entries(portsShown(published, exposed)).flatMap(([name, list]): Shown[] => {
    const [number = '', protocol = ''] = name.split('/');
    const port = { containerPort: Number(number), protocol };
    if (list === null) return [{ ...port, address: '', hostPort: 0 }];
    return list.map(({ HostIp, HostPort }) => ({ ...port, address: HostIp, hostPort: Number(HostPort) }));
  });
  shown.sort(
    (a, b) =>
      compare(a.containerPort, b.containerPort) ||
      compare(a.address, b.address) ||
      compare(a.hostPort, b.hostPort) ||
      compare(a.protocol, b.protocol),
  );
  const groups = new Map<string, { first: number; last: number }>();
  const [ended, alone]: [string[], string[]] = [[], []];
  for (const { containerPort, protocol, address, hostPort } of shown) {
    if (address !== '' && hostPort !== containerPort) {
      alone.push(`${beforePort(address)}:${hostPort}->${containerPort}/${protocol}`);
      continue;
    }
    const key = `${address}/${protocol}`;
    const group = groups.get(key);
    if (group !== undefined && containerPort === group.last + 1) group.last = containerPort;
    else {
      if (group !== undefined) ended.push(groupText(key, group));
      // A key keeps the place that it got first.
      groups.set(key, { first: containerPort, last: containerPort });
    }
  }
  return [...ended, ...[...groups].map(([key, group]) => groupText(key, group)), ...alone].join(', ');
}

function groupText(key: string, { first, last }: { first: number; last: number }): string {
  const [address = '', protocol = ''] = key.split('/');
  const range = first === last ? `${first}` : `${first}-${last}`;
  return `${address === '' ? '' : `${beforePort(address)}:${range}->`}${range}/${protocol}`;
}

/** As Docker's `port` lists them: numbers count as numbers. @param wanted `80/udp`; without it all */
export function portLines(published: readonly PublishedPort[], wanted?: string): string[] {
  const lines = published
    .filter((port) => wanted === undefined || portText(port) === wanted)
    .map((port) => `${portText(port)} -> ${beforePort(port.hostAddress)}:${port.hostPort}`)
    .sort(naturally);
  return wanted === undefined ? lines : lines.map((line) => line.slice(line.indexOf(' -> ') + 4));
}

function naturally(a: string, b: string): number {
  const parts = (text: string) => text.match(/\d+|\D+/g) ?? [];
  const [left, right] = [parts(a), parts(b)];
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const [one, other] = [left[index]!, right[index]!];
    const numbers = /^\d/.test(one) && /^\d/.test(other);
    const order = numbers ? Number(one) - Number(other) : compare(one, other);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}
