/**
 * The table of rules that tsbox has in the kernel's firewall: its text for nft(8), and what is put into its sets. Pure.
 * The rules never change; what comes and goes are elements. They only ever refuse: what is accepted here still has to pass every other
 * table. @see nft(8), docs/network.md
 */
import { isIPv6 } from '../spec/ip.ts';
import type { ForwardedPort, PublishedPort } from '../spec/network.ts';
import { nftKey } from './nft-key.ts';

/** A network, as far as the table knows it. */
export interface TableNetwork {
  bridge: string;
  /** `172.17.0.0/16`, one for each version of IP. */
  subnets: readonly string[];
  internal: boolean;
  /** May its containers talk to each other? */
  icc: boolean;
  /** False when addresses of the subnet mean something outside too. */
  masquerade: boolean;
}

/** An element by its set and by its key: as nft(8) writes it, and as the kernel has it, each part filled up to four bytes. */
export interface Element {
  set: string;
  key: string;
  bytes: Uint8Array;
}

/** Makes the table. Run again it changes nothing: two containers that start at once may both find that there is none. What is in the sets
 *  stays; the rules are replaced, in one transaction. */
export function tableText(table: string): string {
  return `add table inet ${table}
flush table inet ${table}
table inet ${table} {
  set bridges { type ifname; }
  set inside { type ifname . ifname; }
  set internal { type ifname; }
  set sources4 { type ipv4_addr; flags interval; }
  set sources6 { type ipv6_addr; flags interval; }
  map ports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map ports4_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  map ports6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
  map ports6_at { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
  chain published {
    meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @ports4_at
    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports4
    meta nfproto ipv6 dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6_at
    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @ports6
  }
  chain from_outside {
    type nat hook prerouting priority dstnat; policy accept;
    meta l4proto { tcp, udp } fib daddr type local jump published
  }
  chain from_host {
    type nat hook output priority -100; policy accept;
    meta l4proto { tcp, udp } fib daddr type local jump published
  }
  chain leaving {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname @bridges ct status dnat ip saddr @sources4 masquerade
    oifname @bridges ct status dnat ip6 saddr @sources6 masquerade
    oifname != @bridges ip saddr @sources4 masquerade
    oifname != @bridges ip6 saddr @sources6 masquerade
  }
  chain loopback {
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }
  chain between {
    type filter hook forward priority filter; policy accept;
    iifname . oifname @inside accept
    oifname @bridges ct state established,related accept
    oifname @internal drop
    iifname @internal drop
    oifname @bridges ct status dnat accept
    oifname @bridges drop
  }
}
`;
}

/** What the table has to know of a network. */
export function networkElements(table: string, network: TableNetwork): string {
  const name = JSON.stringify(network.bridge);
  const { subnets } = network;
  return [
    add(table, 'bridges', name),
    ...(network.icc ? [add(table, 'inside', `${name} . ${name}`)] : []),
    ...(network.internal ? [add(table, 'internal', name)] : []),
    ...(network.masquerade
      ? subnets.map((subnet) => add(table, isIPv6(subnet) ? 'sources6' : 'sources4', subnet))
      : []),
  ].join('');
}

/** The key that tells whether the table knows a network. */
export function bridgeElement(bridge: string): Element {
  return { set: 'bridges', key: JSON.stringify(bridge), bytes: nftKey({ interface: bridge }) };
}

/** Everything of a network that can be taken out by its key; subnets are ranges and go otherwise. */
export function networkKeys(bridge: string): Element[] {
  const name = JSON.stringify(bridge);
  const one = { interface: bridge };
  return [
    bridgeElement(bridge),
    { set: 'inside', key: `${name} . ${name}`, bytes: nftKey(one, one) },
    { set: 'internal', key: name, bytes: nftKey(one) },
  ];
}

/** Takes a subnet out that is among those whose addresses mean nothing outside. */
export function subnetGone(table: string, subnet: string): string {
  return `delete element inet ${table} ${isIPv6(subnet) ? 'sources6' : 'sources4'} { ${subnet} }\n`;
}

/** Where a published port is found in the table. */
export function portElement({ protocol, hostAddress, hostPort }: Omit<PublishedPort, 'containerPort'>): Element {
  const any = hostAddress === '0.0.0.0' || hostAddress === '::';
  const set = `ports${isIPv6(hostAddress) ? '6' : '4'}${any ? '' : '_at'}`;
  const port = [{ protocol }, { port: hostPort }];
  return {
    set,
    key: `${any ? '' : `${hostAddress} . `}${protocol} . ${hostPort}`,
    bytes: any ? nftKey(...port) : nftKey({ address: hostAddress }, ...port),
  };
}

export function portText(table: string, port: ForwardedPort): string {
  const { set, key } = portElement(port);
  return add(table, set, `${key} : ${port.address} . ${port.containerPort}`);
}

function add(table: string, set: string, element: string): string {
  return `add element inet ${table} ${set} { ${element} }\n`;
}
