/** What `network create` may ask for: checks, in Docker's words, and the subnets that come of it. Pure. */
import { TsboxError } from '../errors.ts';
import {
  contains,
  formatAddress,
  formatSubnet,
  lastOf,
  overlap,
  parseAddress,
  parseSubnet,
  type Subnet,
} from '../spec/ip.ts';
import type { IpamConfig, NetworkRecord } from '../spec/network.ts';
import {
  BRIDGE_NAME,
  bridgeName,
  ENABLE_ICC,
  ENABLE_MASQUERADE,
  HOST_BINDING,
  MTU,
  PREDEFINED,
  parseBool,
} from '../spec/network-options.ts';
import { freeSubnet, noFreeSubnet, type TakenSubnet, takenBy, takenText, uniqueLocalSubnet } from '../spec/subnets.ts';

export interface NetworkRequest {
  name: string;
  /** `bridge`, or what is refused. */
  driver: string;
  /** `172.28.0.0/16`; one of each version of IP. */
  subnets: readonly string[];
  /** Each in one of the subnets. */
  gateways: readonly string[];
  ipRanges: readonly string[];
  internal: boolean;
  ipv6: boolean;
  labels: Readonly<Record<string, string>>;
  options: Readonly<Record<string, string>>;
}

function refused(message: string, hint?: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, hint === undefined ? {} : { hint });
}

/** What is wrong with name, driver or options. @throws ERR_TSBOX_USAGE, ERR_TSBOX_UNSUPPORTED, ERR_TSBOX_NOT_FOUND for a driver */
export function checkNetworkRequest({ name, driver, options }: NetworkRequest): void {
  if (name.trim() === '') throw refused(`invalid name: ${name}`);
  if (/[\u0000-\u001f\u007f]/.test(name)) throw refused(`invalid name: ${JSON.stringify(name)}`);
  if (PREDEFINED.includes(name) || name === 'default') {
    throw refused(`operation is not permitted on predefined ${name} network`);
  }
  checkDriver(driver);
  for (const [option, value] of Object.entries(options)) checkOption(option, value);
}

function checkDriver(driver: string): void {
  if (driver === 'bridge' || driver === '') return;
  if (driver === 'host' || driver === 'null') {
    throw new TsboxError('ERR_TSBOX_CONFLICT', `only one instance of "${driver}" network is allowed`);
  }
  const hint = "tsbox has the driver 'bridge' only.";
  if (['ipvlan', 'macvlan', 'overlay'].includes(driver)) {
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `driver ${driver}: not supported`, { hint });
  }
  throw new TsboxError('ERR_TSBOX_NOT_FOUND', `plugin ${JSON.stringify(driver)} not found`, { hint });
}

/** Bytes of an interface's name, without the NUL. @see linux/if.h, IFNAMSIZ */
const INTERFACE_NAME_MOST = 15;
/** Least of IPv4 (RFC 791) and the most that a bridge can have. */
const MTU_LIMITS = { least: 68, most: 65535 };

const OPTIONS: Readonly<Record<string, (option: string, value: string) => void>> = {
  [BRIDGE_NAME]: checkInterface,
  [ENABLE_ICC]: checkBool,
  [ENABLE_MASQUERADE]: checkBool,
  [HOST_BINDING]: (option, value) => {
    if (parseAddress(value)?.version !== 4) throw refused(`failed to parse ${option} value: ${value} (nil ip)`);
  },
  [MTU]: checkMtu,
};

function checkOption(option: string, value: string): void {
  const check = Object.hasOwn(OPTIONS, option) ? OPTIONS[option] : undefined;
  if (check === undefined) {
    const message = `option ${JSON.stringify(option)}: not supported`;
    const hint = `Options of the driver 'bridge': ${Object.keys(OPTIONS).join(', ')}.`;
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { hint });
  }
  check(option, value);
}

function checkInterface(_: string, value: string): void {
  const isName = !/[\s/:\u0000-\u001f\u007f]/.test(value) && value !== '.' && value !== '..' && value !== '';
  const bytes = new TextEncoder().encode(value).length;
  if (isName && bytes <= INTERFACE_NAME_MOST) return;
  const rule = `an interface has at most ${INTERFACE_NAME_MOST} bytes in its name, and no blank, slash or colon`;
  throw refused(`invalid interface name ${JSON.stringify(value)}: ${rule}`);
}

function checkBool(option: string, value: string): void {
  if (parseBool(value) !== undefined) return;
  const why = `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`;
  throw refused(`failed to parse ${option} value: ${value} (${why})`);
}

function checkMtu(option: string, value: string): void {
  if (!/^[+-]?\d+$/.test(value)) {
    const why = `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`;
    throw refused(`failed to parse ${option} value: ${value} (${why})`);
  }
  const mtu = Number(value);
  const isRight = mtu === 0 || (mtu >= MTU_LIMITS.least && mtu <= MTU_LIMITS.most);
  if (!isRight) throw refused(`invalid MTU number: ${value}`);
}

/** Two networks cannot have one interface. @throws ERR_TSBOX_CONFLICT in Docker's words */
export function checkBridgeName(record: NetworkRecord, others: readonly NetworkRecord[]): void {
  const name = bridgeName(record);
  const other = others.find((each) => each.Driver === 'bridge' && bridgeName(each) === name);
  if (other === undefined) return;
  const message =
    `cannot create network ${record.ID} (${name}): conflicts with network ${other.ID} (${name}): ` +
    'networks have same bridge name';
  throw new TsboxError('ERR_TSBOX_CONFLICT', message, { hint: `That is the network ${other.Name}.` });
}

interface Given {
  subnet: Subnet;
  gateway?: bigint;
  range?: Subnet;
}

/** Puts each range and gateway to its subnet. @throws ERR_TSBOX_USAGE in the words of Docker's command line, mostly */
function givenSubnets({ subnets, gateways, ipRanges, ipv6 }: NetworkRequest): Given[] {
  if (subnets.length < ipRanges.length || subnets.length < gateways.length) {
    throw refused('every ip-range or gateway must have a corresponding subnet');
  }
  const given = subnets.map((text): Given => {
    const subnet = parseSubnet(text);
    if (subnet === undefined) throw refused(`Invalid subnet ${text} : invalid CIDR address: ${text}`);
    return { subnet };
  });
  for (const [index, { subnet }] of given.entries()) {
    const others = given.slice(0, index);
    if (others.some((other) => overlap(other.subnet, subnet))) {
      throw refused('multiple overlapping subnet configuration is not supported');
    }
    if (others.some((other) => other.subnet.version === subnet.version)) {
      throw refused("bridge driver doesn't support multiple subnets", 'One of IPv4 and one of IPv6 are what it has.');
    }
    if (subnet.version === 6 && !ipv6) {
      throw refused(`subnet ${formatSubnet(subnet)} is one of IPv6`, 'Give --ipv6 too.');
    }
    checkRoom(subnet);
  }
  for (const text of ipRanges) placeRange(given, text);
  for (const text of gateways) placeGateway(given, text);
  return given;
}

/** A gateway and one container have to find room between the network's own address and the last one. */
function checkRoom(subnet: Subnet): void {
  const most = subnet.version === 4 ? 30 : 126;
  if (subnet.prefix > most) throw refused('failed to allocate gateway (): No available addresses on this pool');
}

function placeRange(given: Given[], text: string): void {
  const range = parseSubnet(text);
  if (range === undefined) throw refused(`invalid CIDR address: ${text}`);
  const owner = given.find(
    ({ subnet }) => contains(subnet, { version: range.version, value: range.base }) && range.prefix >= subnet.prefix,
  );
  if (owner === undefined) throw refused(`no matching subnet for range ${text}`);
  if (owner.range !== undefined) {
    const ranges = `${formatSubnet(owner.range)}, ${formatSubnet(range)}`;
    throw refused(`cannot configure multiple ranges (${ranges}) on the same subnet (${formatSubnet(owner.subnet)})`);
  }
  owner.range = range;
}

function placeGateway(given: Given[], text: string): void {
  const address = parseAddress(text);
  const owner = address === undefined ? undefined : given.find(({ subnet }) => contains(subnet, address));
  if (address === undefined || owner === undefined) throw refused(`no matching subnet for gateway ${text}`);
  const { subnet, gateway } = owner;
  if (gateway !== undefined) {
    const both = `${formatAddress(address.version, gateway)}, ${formatAddress(address.version, address.value)}`;
    throw refused(`cannot configure multiple gateways (${both}) for the same subnet (${formatSubnet(subnet)})`);
  }
  const isReserved = address.value === subnet.base || (subnet.version === 4 && address.value === lastOf(subnet));
  if (isReserved) {
    const hint = 'The first and the last address of a subnet belong to no host.';
    throw refused(`failed to allocate gateway (${text}): Address already in use`, hint);
  }
  owner.gateway = address.value;
}

function configOf({ subnet, gateway, range }: Given): IpamConfig {
  return {
    Subnet: formatSubnet(subnet),
    ...(range !== undefined && { IPRange: formatSubnet(range) }),
    Gateway: formatAddress(subnet.version, gateway ?? subnet.base + 1n),
  };
}

/** What is there when a network is made. */
export interface Surroundings {
  /** Subnets of the other networks: never given again. */
  networks: readonly TakenSubnet[];
  /** Routes and the like: not chosen, but given to who asks. */
  host: readonly TakenSubnet[];
  /** Five random bytes. @see RFC 4193 */
  globalId: () => Uint8Array;
}

export interface ChosenSubnets {
  /** IPv4 first. */
  config: IpamConfig[];
  /** What was asked for and may turn out badly. */
  warnings: string[];
}

/** The subnets that a network gets: those that were asked for, else the first of Docker's that is free and, for IPv6, a unique local one.
 *  @throws ERR_TSBOX_USAGE for what does not fit together; ERR_TSBOX_CONFLICT when another network has them, or none is free */
export function chooseSubnets(request: NetworkRequest, { networks, host, globalId }: Surroundings): ChosenSubnets {
  const given = givenSubnets(request);
  const warnings: string[] = [];
  for (const { subnet } of given) {
    const other = takenBy(subnet, networks);
    if (other !== undefined) throw overlaps(subnet, other);
    const route = takenBy(subnet, host);
    if (route !== undefined) warnings.push(`subnet ${formatSubnet(subnet)} hides ${takenText(route)}`);
  }
  const all = [...networks, ...host];
  const of = (version: 4 | 6) => given.find(({ subnet }) => subnet.version === version);
  const four = of(4) ?? { subnet: free4(all) };
  const six = of(6) ?? (request.ipv6 ? { subnet: free6(all, globalId) } : undefined);
  return { config: [four, ...(six === undefined ? [] : [six])].map(configOf), warnings };
}

function free4(taken: readonly TakenSubnet[]): Subnet {
  const free = freeSubnet(taken.map(({ subnet }) => subnet));
  if (free === undefined) throw noFreeSubnet();
  return free;
}

/** Forty random bits meet nobody, unless somebody has a route for all unique local addresses: then there is no better. */
function free6(taken: readonly TakenSubnet[], globalId: () => Uint8Array): Subnet {
  const TRIES = 8;
  let chosen = uniqueLocalSubnet(globalId());
  for (let tries = 1; tries < TRIES && takenBy(chosen, taken) !== undefined; tries++) {
    chosen = uniqueLocalSubnet(globalId());
  }
  return chosen;
}

function overlaps(subnet: Subnet, other: TakenSubnet): TsboxError {
  return new TsboxError('ERR_TSBOX_CONFLICT', 'Pool overlaps with other one on this address space', {
    hint: `${formatSubnet(subnet)} has addresses in common with ${takenText(other)}.`,
  });
}
