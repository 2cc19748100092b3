/** Addresses and subnets of both versions of IP, as numbers. Pure. @see RFC 4632, RFC 4291, RFC 5952 */
export interface Subnet {
  version: 4 | 6;
  /** Of the network: no bit behind `prefix` is set. */
  base: bigint;
  prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;

const NUMBER = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const DOTTED = new RegExp(`^${NUMBER}(?:\\.${NUMBER}){3}$`);
const GROUP = /^[0-9a-f]{1,4}$/i;

/** @returns undefined for what is no address; one with a zone (`%eth0`) is none */
export function parseAddress(text: string): { version: 4 | 6; value: bigint } | undefined {
  if (DOTTED.test(text)) return { version: 4, value: dotted(text) };
  const value = parse6(text);
  return value === undefined ? undefined : { version: 6, value };
}

function dotted(text: string): bigint {
  return text.split('.').reduce((sum, part) => (sum << 8n) + BigInt(part), 0n);
}

function parse6(text: string): bigint | undefined {
  const halves = text.split('::');
  const [before, after] = halves.map((half) => (half === '' ? [] : half.split(':'))) as [string[], string[]?];
  if (halves.length > 2) return undefined;
  // The end may be a dotted IPv4 address, which is two groups.
  const parts = after ?? before;
  const end = parts.at(-1) ?? '';
  if (DOTTED.test(end)) {
    const value = dotted(end);
    parts.splice(-1, 1, (value >> 16n).toString(16), (value & 0xffffn).toString(16));
  }
  const zeros = 8 - before.length - (after?.length ?? 0);
  if (after === undefined ? zeros !== 0 : zeros < 1) return undefined;
  const all = [...before, ...Array<string>(zeros).fill('0'), ...(after ?? [])];
  if (!all.every((group) => GROUP.test(group))) return undefined;
  return all.reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

/** Of which version is it? For what is known to be an address or a subnet. */
export const isIPv6 = (text: string) => text.includes(':');

/** `172.17.0.2` of `172.17.0.2/16`: without the length of the prefix, if it has one. */
export const bareAddress = (text: string) => text.split('/', 1)[0]!;

/** `/16` of `172.17.0.0/16`. */
export const prefixText = (text: string) => text.slice(text.indexOf('/'));

/** As it stands before the colon of a port: `172.17.0.2`, `[::1]`. */
export const beforePort = (address: string) => (isIPv6(address) ? `[${address}]` : address);

/** `172.17.0.2`, or as RFC 5952 writes IPv6: the longest run of two zero groups or more is `::`. */
export function formatAddress(version: 4 | 6, value: bigint): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(16 * (7 - index))) & 0xffffn).toString(16));
  const runs = groups.map((_, start) => {
    const end = groups.findIndex((group, at) => at >= start && group !== '0');
    return (end < 0 ? 8 : end) - start;
  });
  const longest = Math.max(...runs);
  if (longest < 2) return groups.join(':');
  const at = runs.indexOf(longest);
  return `${groups.slice(0, at).join(':')}::${groups.slice(at + longest).join(':')}`;
}

/** The bytes as they go over the wire: four or sixteen. @throws RangeError for what is no address */
export function addressBytes(text: string): Buffer {
  const address = parseAddress(text);
  if (address === undefined) throw new RangeError(`no address: ${text}`);
  const digits = BITS[address.version] / 4;
  return Buffer.from(address.value.toString(16).padStart(digits, '0'), 'hex');
}

/** `172.17.0.0/16`; bits behind the prefix are taken away. @returns undefined for what is no subnet */
export function parseSubnet(text: string): Subnet | undefined {
  const [, head = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = parseAddress(head);
  const prefix = Number(length);
  if (address === undefined || prefix > BITS[address.version]) return undefined;
  const { version } = address;
  return { version, base: address.value & ~hostMask(version, prefix), prefix };
}

function hostMask(version: 4 | 6, prefix: number): bigint {
  return (1n << BigInt(BITS[version] - prefix)) - 1n;
}

export function formatSubnet({ version, base, prefix }: Subnet): string {
  return `${formatAddress(version, base)}/${prefix}`;
}

/** The last address in it: of IPv4, the broadcast address. */
export function lastOf({ version, base, prefix }: Subnet): bigint {
  return base | hostMask(version, prefix);
}

export function contains(subnet: Subnet, { version, value }: { version: 4 | 6; value: bigint }): boolean {
  return subnet.version === version && value >= subnet.base && value <= lastOf(subnet);
}

/** Have they an address in common? */
export function overlap(a: Subnet, b: Subnet): boolean {
  return a.version === b.version && a.base <= lastOf(b) && b.base <= lastOf(a);
}
