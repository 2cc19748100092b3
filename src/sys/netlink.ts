/**
 * Links, addresses and routes of the network namespace that this thread is in: what ip(8) does, by rtnetlink(7). Each change is one message.
 * Every function: @throws SyscallError, with the kernel's own words where it has some.
 */
import { closeSync, openSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { addressBytes, bareAddress, formatAddress, isIPv6, lastOf, parseAddress, parseSubnet } from '../spec/ip.ts';
import { bind, check, cstring, refuse } from './ffi.ts';
import {
  ask,
  attribute,
  attributesOf,
  message,
  NETLINK_ROUTE,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
} from './netlink-message.ts';

const [RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK] = [16, 17, 18, 19];
const [RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE] = [20, 22, 24, 26];
const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, MASTER: 10, LINKINFO: 18, NET_NS_FD: 28, EXT_MASK: 29 } as const;
const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const [IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED] = [4, 33];
const VETH_INFO_PEER = 1;
/** What was counted, a kilobyte for each link, is not asked for. */
const RTEXT_FILTER_SKIP_STATS = 8;
const IFA = { ADDRESS: 1, LOCAL: 2, BROADCAST: 4, FLAGS: 8 } as const;
const IFA_F_NODAD = 2;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, TABLE: 15 } as const;
const RT = { TABLE_MAIN: 254, PROTOCOL_BOOT: 3, SCOPE_UNIVERSE: 0, SCOPE_LINK: 253, UNICAST: 1 } as const;
const FAMILY = { 4: 2, 6: 10 } as const;
const IFF_UP = 1;
const MAKE = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
const NAME_MOST = 15;

export interface Link {
  index: number;
  name: string;
  up: boolean;
  mtu: number;
  /** `02:42:ac:11:00:02`; empty for a link without one */
  mac: string;
  /** Index of the bridge that it is a port of. */
  master: number | undefined;
  /** `bridge`, `veth`, ...; undefined for hardware and lo */
  kind: string | undefined;
}

export interface LinkWish {
  name: string;
  type: string;
  /** The other end of a veth; '' where there is none. */
  peer: string;
  /** File of the network namespace that the peer is made in; '' is the own one. */
  netns: string;
  /** Of the peer where there is one, else of the link; '' is the kernel's choice. */
  mac: string;
  /** 0 is the kernel's choice. */
  mtu: number;
}

/** struct ifinfomsg */
function linkBody(index = 0): Buffer {
  const body = Buffer.alloc(16);
  body.writeInt32LE(index, 4);
  return body;
}

function macBytes(mac: string, what: () => string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) throw refuse('link_add', what(), 'EINVAL');
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function wishes(name: string, mac: Buffer | undefined, mtu: number): Buffer[] {
  const attributes = [attribute(IFLA.IFNAME, name)];
  if (mac !== undefined) attributes.push(attribute(IFLA.ADDRESS, mac));
  if (mtu !== 0) attributes.push(attribute(IFLA.MTU, mtu));
  return attributes;
}

/** A new link. */
export function addLink({ name, type, peer, netns, mac, mtu }: LinkWish): void {
  const what = () => `add the link ${name}`;
  const address = mac === '' ? undefined : macBytes(mac, what);
  const pair = peer !== '';
  if (!pair && netns !== '') throw refuse('link_add', what(), 'EINVAL');
  const fd = netns === '' ? undefined : openSync(netns, 'r');
  try {
    const info = [attribute(INFO.KIND, type)];
    if (pair) {
      const end = [linkBody(), ...wishes(peer, address, mtu)];
      if (fd !== undefined) end.push(attribute(IFLA.NET_NS_FD, fd));
      info.push(attribute(INFO.DATA, [attribute(VETH_INFO_PEER, end)]));
    }
    const attributes = [...wishes(name, pair ? undefined : address, mtu), attribute(IFLA.LINKINFO, info)];
    ask(NETLINK_ROUTE, message(RTM_NEWLINK, MAKE, linkBody(), attributes), 'link_add', what);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The link becomes a port of this bridge; of none with ''. */
export function setMaster(name: string, master: string): void {
  const what = () => (master === '' ? `take ${name} from its bridge` : `make ${name} a port of ${master}`);
  const [port, bridge] = [indexOf(name, what), master === '' ? 0 : indexOf(master, what)];
  const attributes = [attribute(IFLA.MASTER, bridge)];
  ask(NETLINK_ROUTE, message(RTM_SETLINK, NLM_F_ACK, linkBody(port), attributes), 'link_set', what);
}

/** Of a port of a bridge: may what came in by it go out by it again? Does it reach no other isolated port? @see ip-link(8), bridge_slave */
export function setPort(name: string, hairpin: boolean, isolated: boolean): void {
  const what = () => `set the bridge port ${name}`;
  const flag = (type: number, on: boolean) => attribute(type, Buffer.of(on ? 1 : 0));
  const data = attribute(INFO.SLAVE_DATA, [flag(IFLA_BRPORT_MODE, hairpin), flag(IFLA_BRPORT_ISOLATED, isolated)]);
  const info = attribute(IFLA.LINKINFO, [attribute(INFO.SLAVE_KIND, 'bridge'), data]);
  ask(NETLINK_ROUTE, message(RTM_NEWLINK, NLM_F_ACK, linkBody(indexOf(name, what)), [info]), 'port_set', what);
}

export function deleteLink(name: string): void {
  const what = () => `delete the link ${name}`;
  ask(NETLINK_ROUTE, message(RTM_DELLINK, NLM_F_ACK, linkBody(indexOf(name, what))), 'link_delete', what);
}

/** As ip-address(8) does it: IPv4 with its broadcast address, IPv6 usable at once, without asking around whether somebody has it.
 *  @param address `172.17.0.2/16`
 *  @throws SyscallError EEXIST when the link has it, EINVAL for what is no address */
export function addAddress(link: string, address: string): void {
  const what = () => `add ${address} to ${link}`;
  const { version, bytes, prefix, last } = place(address, 'address_add', what);
  const body = Buffer.alloc(8);
  body[0] = FAMILY[version];
  body[1] = prefix;
  body.writeUInt32LE(indexOf(link, what), 4);
  const attributes = [attribute(IFA.LOCAL, bytes), attribute(IFA.ADDRESS, bytes)];
  if (version === 6) attributes.push(attribute(IFA.FLAGS, IFA_F_NODAD));
  // RFC 3021: a subnet of two addresses has none to tell all.
  else if (prefix <= 30) attributes.push(attribute(IFA.BROADCAST, addressBytes(formatAddress(4, last))));
  ask(NETLINK_ROUTE, message(RTM_NEWADDR, MAKE, body, attributes), 'address_add', what);
}

/** An address with the length of its subnet's prefix; without one, of all its bits. */
function place(text: string, syscall: string, what: () => string) {
  const address = bareAddress(text);
  const version = parseAddress(address)?.version;
  const whole = text.includes('/') ? text : `${text}/${version === 4 ? 32 : 128}`;
  const subnet = parseSubnet(whole);
  if (version === undefined || subnet === undefined) throw refuse(syscall, what(), 'EINVAL');
  return { version, bytes: addressBytes(address), prefix: subnet.prefix, last: lastOf(subnet) };
}

/** @param to `default`, which is of the gateway's version and of IPv4 without one, or a subnet
 *  @param via the gateway; '' for what is on the link itself
 *  @throws SyscallError EEXIST when there is one, ENETUNREACH when the gateway is on no link */
export function addRoute(to: string, via: string, link: string): void {
  const what = () => `add the route to ${to} on ${link}`;
  const target = place(to !== 'default' ? to : isIPv6(via) ? '::/0' : '0.0.0.0/0', 'route_add', what);
  const gateway = via === '' ? undefined : parseAddress(via);
  if (via !== '' && gateway?.version !== target.version) throw refuse('route_add', what(), 'EINVAL');
  const body = Buffer.alloc(12);
  body[0] = FAMILY[target.version];
  body[1] = target.prefix;
  body[4] = RT.TABLE_MAIN;
  body[5] = RT.PROTOCOL_BOOT;
  body[6] = via === '' && target.version === 4 ? RT.SCOPE_LINK : RT.SCOPE_UNIVERSE;
  body[7] = RT.UNICAST;
  const attributes = target.prefix === 0 ? [] : [attribute(RTA.DST, target.bytes)];
  if (via !== '') attributes.push(attribute(RTA.GATEWAY, addressBytes(via)));
  attributes.push(attribute(RTA.OIF, indexOf(link, what)));
  ask(NETLINK_ROUTE, message(RTM_NEWROUTE, MAKE, body, attributes), 'route_add', what);
}

const nameToIndex = bind('unsigned int', 'if_nametoindex', ['const void *']);
const indexToName = bind('int64_t', 'if_indextoname', ['unsigned int', 'void *']);

function indexOf(name: string, what: () => string): number {
  if (Buffer.byteLength(name) > NAME_MOST) throw refuse('if_nametoindex', what(), 'ENAMETOOLONG');
  const index = nameToIndex(cstring(name));
  if (index === 0) check(-1, 'if_nametoindex', what);
  return index;
}

/** @returns undefined where there is no such link any more */
function nameOf(index: number | undefined): string | undefined {
  const name = Buffer.alloc(NAME_MOST + 1);
  return index !== undefined && indexToName(index, name) !== 0 ? textOf(name) : undefined;
}

/** @returns undefined where there is no link of this name */
export function linkInfo(name: string): Link | undefined {
  if (name === '' || Buffer.byteLength(name) > NAME_MOST) return undefined;
  try {
    const attributes = [attribute(IFLA.IFNAME, name), attribute(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS)];
    const sent = message(RTM_GETLINK, 0, linkBody(), attributes);
    const [answer] = ask(NETLINK_ROUTE, sent, 'link', () => `look for the link ${name}`);
    return answer === undefined ? undefined : linkOf(answer);
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return undefined;
    throw error;
  }
}

function linkOf(answer: Buffer): Link {
  const attributes = attributesOf(answer.subarray(16));
  const info = attributesOf(attributes.get(IFLA.LINKINFO) ?? Buffer.alloc(0));
  const mac = attributes.get(IFLA.ADDRESS)?.toString('hex') ?? '';
  return {
    index: answer.readInt32LE(4),
    name: textOf(attributes.get(IFLA.IFNAME)) ?? '',
    up: (answer.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: attributes.get(IFLA.MTU)?.readUInt32LE() ?? 0,
    mac: mac.replace(/..(?=.)/g, '$&:'),
    master: attributes.get(IFLA.MASTER)?.readUInt32LE(),
    kind: textOf(info.get(INFO.KIND)),
  };
}

function textOf(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('utf8').replace(/\0.*$/s, '');
}

/** `172.17.0.1/16` and the like, as they were added; those of IPv6 that the kernel gives each link are among them. */
export function addressesOf({ index, name }: Link): string[] {
  const sent = message(RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(8));
  return ask(NETLINK_ROUTE, sent, 'addr', () => `list the addresses of ${name}`)
    .filter((answer) => answer.readUInt32LE(4) === index)
    .flatMap((answer) => {
      const attributes = attributesOf(answer.subarray(8));
      const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
      return bytes === undefined ? [] : [`${addressText(bytes)}/${answer[1]}`];
    });
}

function addressText(bytes: Buffer): string {
  return formatAddress(bytes.length === 4 ? 4 : 6, BigInt(`0x${bytes.toString('hex')}`));
}

export interface Route {
  version: 4 | 6;
  /** `172.17.0.0/16`; `0.0.0.0/0` and `::/0` are the default routes. */
  to: string;
  /** Absent for what is on the link itself. */
  via: string | undefined;
  /** Name of the link; absent for a route over several. */
  device: string | undefined;
  /** The lower goes first. */
  priority: number;
}

/** The routes of the main table, of both versions of IP, that lead somewhere. */
export function routes(): Route[] {
  return ([4, 6] as const).flatMap((version) => routeAnswers(version).flatMap((answer) => routeOf(version, answer)));
}

/** Those of them that lead to everywhere, `0.0.0.0/0` or `::/0`. */
export function defaultRoutes(version: 4 | 6): Route[] {
  const all = routeAnswers(version).filter((answer) => answer[1] === 0);
  return all.flatMap((answer) => routeOf(version, answer));
}

/** The link that a default route leads to, of IPv4 first. Without IPv6 to the outside the kernel has one to lo, which leads nowhere. */
export function wayOut(): string | undefined {
  const of = (version: 4 | 6) => defaultRoutes(version).find(({ device }) => device !== 'lo')?.device;
  return of(4) ?? of(6);
}

function routeAnswers(version: 4 | 6): Buffer[] {
  const body = Buffer.alloc(12);
  body[0] = FAMILY[version];
  return ask(NETLINK_ROUTE, message(RTM_GETROUTE, NLM_F_DUMP, body), 'route', () => 'list the routes');
}

function routeOf(version: 4 | 6, answer: Buffer): Route[] {
  const attributes = attributesOf(answer.subarray(12));
  const table = attributes.get(RTA.TABLE)?.readUInt32LE() ?? answer[4];
  if (table !== RT.TABLE_MAIN || answer[7] !== RT.UNICAST) return [];
  const destination = attributes.get(RTA.DST) ?? Buffer.alloc(version === 4 ? 4 : 16);
  const via = attributes.get(RTA.GATEWAY);
  return [
    {
      version,
      to: `${addressText(destination)}/${answer[1]}`,
      via: via === undefined ? undefined : addressText(via),
      device: nameOf(attributes.get(RTA.OIF)?.readUInt32LE()),
      priority: attributes.get(RTA.PRIORITY)?.readUInt32LE() ?? 0,
    },
  ];
}
