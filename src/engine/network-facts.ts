/** What of the networks is on the host already: links, addresses, kernel parameters, the table of rules. */
import { readFileSync } from 'node:fs';
import type { BridgeInput, NetworkInput } from '../plan/network.ts';
import { bridgeElement, type TableNetwork } from '../plan/nft-table.ts';
import { isIPv6, prefixText } from '../spec/ip.ts';
import type { NetworkRecord, PublishedPort } from '../spec/network.ts';
import { bridgeOptions } from '../spec/network-options.ts';
import { leases } from '../store/network-leases.ts';
import { readRunNetwork } from '../store/network-run.ts';
import { instanceDigits, networks } from '../store/networks.ts';
import type { Store } from '../store/store.ts';
import { addressesOf, linkInfo, wayOut } from '../sys/netlink.ts';
import { elementExists, tableExists } from '../sys/nftables.ts';

const ETHERNET_MTU = 1500;

/** Of the table that this tsbox has in the kernel: `tsbox`, or with the digits of its run root. */
export function tableName(store: Store): string {
  const digits = instanceDigits(store);
  return digits === '' ? 'tsbox' : `tsbox-${digits}`;
}

/** A network as the table of rules knows it. */
export function tableNetwork(network: NetworkRecord): TableNetwork {
  const { name, masquerade, icc } = bridgeOptions(network);
  return {
    bridge: name,
    subnets: network.IPAM.Config.map(({ Subnet }) => Subnet),
    internal: network.Internal,
    icc,
    masquerade: masquerade && !network.Internal,
  };
}

/** The largest packet that goes out: what the network was made with, that of a bridge of somebody else, or what the host's way out takes.
 *  An own bridge doesn't tell: its MTU is the least of its ports', and without any the kernel's default. */
function mtuOf(network: NetworkRecord, link: { mtu: number } | undefined): number {
  const { mtu } = bridgeOptions(network);
  if (mtu > 0) return mtu;
  if (network.KeepsInterface === true && link !== undefined) return link.mtu;
  const device = wayOut();
  return (device === undefined ? undefined : linkInfo(device)?.mtu) ?? ETHERNET_MTU;
}

/** A network's bridge, as it is now and as it has to be. */
export function bridgeFacts(network: NetworkRecord, table: string): BridgeInput {
  const known = tableNetwork(network);
  const link = linkInfo(known.bridge);
  const element = bridgeElement(known.bridge);
  const gateways = network.IPAM.Config.map(({ Subnet, Gateway }) => `${Gateway}${prefixText(Subnet)}`);
  return {
    ...known,
    gateways,
    mtu: mtuOf(network, link),
    isThere: link !== undefined,
    isUp: link?.up === true,
    addresses: link === undefined ? [] : addressesOf(link),
    isKnown: elementExists(table, element.set, element.bytes),
  };
}

/** Kernel parameters that have to be on and are off, below /proc/sys. */
export function missingParameters(bridges: readonly BridgeInput[], ports: readonly PublishedPort[]): string[] {
  const leadsOut = bridges.filter(({ internal }) => !internal);
  const wanted = [
    ...(leadsOut.length > 0 ? ['net/ipv4/ip_forward'] : []),
    ...(leadsOut.some(({ subnets }) => subnets.some(isIPv6)) ? ['net/ipv6/conf/all/forwarding'] : []),
    ...(ports.some(leadsFromLoopback) ? leadsOut.map(({ bridge }) => `net/ipv4/conf/${bridge}/route_localnet`) : []),
  ];
  return wanted.filter((path) => !isOn(path));
}

const leadsFromLoopback = ({ hostAddress }: PublishedPort) =>
  hostAddress === '0.0.0.0' || hostAddress.startsWith('127.');

function isOn(path: string): boolean {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim() === '1';
  } catch {
    return false; // the bridge is not there yet
  }
}

/** Is the table there, and if not, what it has to be told besides the networks of the container `id`. */
export function tableFacts(store: Store, table: string, id: string): Pick<NetworkInput, 'tableIsThere' | 'others'> {
  if (tableExists(table)) return { tableIsThere: true, others: { networks: [], ports: [] } };
  const runs = [...new Set(leases(store).map((lease) => lease.id))]
    .filter((other) => other !== id)
    .map((other) => readRunNetwork(store, other));
  const used = new Set(runs.flatMap(({ endpoints }) => endpoints.map(({ networkId }) => networkId)));
  const others = networks(store, undefined, false).filter(({ ID }) => used.has(ID));
  return {
    tableIsThere: false,
    others: { networks: others.map(tableNetwork), ports: runs.flatMap(({ ports }) => ports) },
  };
}
