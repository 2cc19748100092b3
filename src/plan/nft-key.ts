/** Keys of elements in sets and maps of nftables as the kernel has them: each part in the order of the network, padded to four bytes. Pure. */
import { addressBytes, formatAddress } from '../spec/ip.ts';

export type KeyPart = { protocol: 'tcp' | 'udp' } | { port: number } | { address: string } | { interface: string };

const PROTOCOLS = { tcp: 6, udp: 17 } as const;
const NAME_SIZE = 16;

function partBytes(part: KeyPart): Uint8Array {
  if ('protocol' in part) return Uint8Array.of(PROTOCOLS[part.protocol], 0, 0, 0);
  if ('port' in part) return Uint8Array.of(part.port >> 8, part.port & 255, 0, 0);
  if ('address' in part) return addressBytes(part.address);
  const bytes = new Uint8Array(NAME_SIZE);
  bytes.set(new TextEncoder().encode(part.interface).subarray(0, NAME_SIZE - 1));
  return bytes;
}

/** `nftKey({ protocol: 'tcp' }, { port: 8080 })` is the element `tcp . 8080`.
 *  @throws RangeError for what is no address */
export function nftKey(...parts: readonly KeyPart[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...partBytes(part)]));
}

const nameOf = (bytes: Uint8Array): string | undefined =>
  /^([\x21-\x7e]{1,15})\0+$/.exec(String.fromCharCode(...bytes))?.[1];

function names(key: Uint8Array): string[] | undefined {
  const parts = Array.from({ length: key.length / NAME_SIZE }, (_, at) =>
    nameOf(key.subarray(at * NAME_SIZE, (at + 1) * NAME_SIZE)),
  );
  const all = parts.filter((name) => name !== undefined);
  return all.length === 0 || all.length < parts.length ? undefined : all.map((name) => `"${name}"`);
}

/** An address or none, then protocol and port. */
function port(key: Uint8Array): string[] | undefined {
  const [front, back] = [key.subarray(0, -8), key.subarray(-8)];
  const protocol = Object.entries(PROTOCOLS).find(([, number]) => number === back[0])?.[0];
  const padded = [1, 2, 3, 6, 7].every((at) => back[at] === 0);
  if (protocol === undefined || !padded || ![0, 4, 16].includes(front.length)) return undefined;
  const parts = [protocol, String(((back[4] ?? 0) << 8) | (back[5] ?? 0))];
  if (front.length === 0) return parts;
  const value = front.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return [formatAddress(front.length === 4 ? 4 : 6, value), ...parts];
}

/** The element as nft(8) writes it: `tcp . 8080`. A key says nothing about its types: what is neither names of links nor ports is a number. */
export function keyText(key: Uint8Array): string {
  const parts = (key.length % NAME_SIZE === 0 ? names(key) : undefined) ?? port(key);
  return parts?.join(' . ') ?? `0x${[...key].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
