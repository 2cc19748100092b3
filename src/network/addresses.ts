/** Which address a container gets. Pure. */
import { contains, formatAddress, lastOf, parseAddress, parseSubnet, prefixText, type Subnet } from '../spec/ip.ts';
import type { IpamConfig } from '../spec/network.ts';

/** The lowest free address of a network, as Docker hands them out: never the network's own, its gateway, or the broadcast address.
 *  @param taken by others, as {@link formatAddress} writes them
 *  @returns undefined when there is none left */
export function freeAddress(
  { Subnet: whole, IPRange, Gateway }: IpamConfig,
  taken: ReadonlySet<string>,
): string | undefined {
  const subnet = parseSubnet(whole);
  const range = parseSubnet(IPRange ?? whole);
  if (subnet === undefined || range === undefined) return undefined;
  const last = lastOf(range);
  for (let value = range.base; value <= last; value++) {
    const address = formatAddress(subnet.version, value);
    if (!isReserved(subnet, value) && address !== Gateway && !taken.has(address)) return address;
  }
  return undefined;
}

/** The first address names the network itself; the last of IPv4 is the broadcast address. */
function isReserved(subnet: Subnet, value: bigint): boolean {
  return value === subnet.base || (subnet.version === 4 && value === lastOf(subnet));
}

/** Why an address that was asked for cannot be had in this network; undefined when it can. In Docker's words. */
export function addressProblem({ Subnet: whole, Gateway }: IpamConfig, asked: string): string | undefined {
  const [subnet, address] = [parseSubnet(whole), parseAddress(asked)];
  if (subnet === undefined || address === undefined || !contains(subnet, address)) {
    return `Invalid address ${asked}: It does not belong to any of this network's subnets`;
  }
  return asked === Gateway || isReserved(subnet, address.value) ? 'Address already in use' : undefined;
}

/** `172.17.0.2/16` */
export function withPrefix(address: string, { Subnet: whole }: IpamConfig): string {
  return `${address}${prefixText(whole)}`;
}

/** Docker's: made from the IPv4 address, so that a neighbour who remembers the address has the right one. */
export function macOf(address: string): string {
  const parts = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return `02:42:${parts.join(':')}`;
}
