/** Where the host's packets go, as procfs has it for the caller's network namespace. @see proc(5), net/ipv6/route.c */
import { readFileSync } from 'node:fs';
import type { Subnet } from '../spec/ip.ts';

export interface Route {
  destination: Subnet;
  /** `eth0` */
  device: string;
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    // A kernel without IPv6 has no file for it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** A word of /proc/net/route: the address as a number of the processor's own byte order, which is little-endian on all that tsbox knows. */
function littleEndian(word: string): bigint {
  return BigInt(Buffer.from(word, 'hex').readUInt32LE());
}

function ones(mask: bigint): number {
  return [...mask.toString(2)].filter((bit) => bit === '1').length;
}

/** A line of /proc/net/route. @returns undefined for the title */
export function route4(line: string): Route | undefined {
  const words = line.split('\t');
  const [device = '', destination = ''] = words;
  const mask = words[7] ?? '';
  if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask)) return undefined;
  const subnet: Subnet = { version: 4, base: littleEndian(destination), prefix: ones(littleEndian(mask)) };
  return { destination: subnet, device: device.trim() };
}

/** A line of /proc/net/ipv6_route. */
export function route6(line: string): Route | undefined {
  const words = line.trim().split(/\s+/);
  const [destination = '', length = ''] = words;
  const device = words[9];
  if (device === undefined || !/^[0-9a-f]{32}$/.test(destination)) return undefined;
  const subnet: Subnet = { version: 6, base: BigInt(`0x${destination}`), prefix: Number.parseInt(length, 16) };
  return { destination: subnet, device };
}

/** The routes of both versions of IP, those of the main table. A default route has the prefix 0. */
export function routes(): Route[] {
  return [
    ...linesOf('/proc/self/net/route').flatMap((line) => route4(line) ?? []),
    ...linesOf('/proc/self/net/ipv6_route').flatMap((line) => route6(line) ?? []),
  ];
}
