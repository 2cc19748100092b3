/** Which subnet a network gets that nobody gave one. Pure. @see RFC 1918, RFC 4193 */
import { TsboxError } from '../errors.ts';
import { formatSubnet, overlap, type Subnet } from './ip.ts';

/** What is in use: of which network or route, for the words of a refusal. */
export interface TakenSubnet {
  subnet: Subnet;
  by: string;
}

const pools = (base: bigint, prefix: number, count: number): Subnet[] =>
  Array.from({ length: count }, (_, index) => ({
    version: 4,
    base: base + (BigInt(index) << BigInt(32 - prefix)),
    prefix,
  }));

/** Docker's, in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20. */
const POOLS: readonly Subnet[] = [...pools(0xac110000n, 16, 15), ...pools(0xc0a80000n, 20, 16)];

/** The first of Docker's pools that has no address in common with what is in use; undefined when all have. */
export function freeSubnet(taken: readonly Subnet[]): Subnet | undefined {
  return POOLS.find((pool) => !taken.some((subnet) => overlap(pool, subnet)));
}

/** `fdXX:XXXX:XXXX::/64`: a unique local subnet with a global id of its own.
 *  @param globalId five random bytes @see RFC 4193, 3.1 */
export function uniqueLocalSubnet(globalId: Uint8Array): Subnet {
  const id = globalId.slice(0, 5).reduce((sum, byte) => (sum << 8n) + BigInt(byte), 0n);
  return { version: 6, base: (0xfdn << 120n) + (id << 80n), prefix: 64 };
}

/** The first that has an address in common with `subnet`. */
export function takenBy(subnet: Subnet, taken: readonly TakenSubnet[]): TakenSubnet | undefined {
  return taken.find((other) => overlap(subnet, other.subnet));
}

/** `172.17.0.0/16 (bridge)` */
export function takenText({ subnet, by }: TakenSubnet): string {
  return `${formatSubnet(subnet)} (${by})`;
}

/** @returns Docker's refusal where nothing is left to be chosen from */
export function noFreeSubnet(): TsboxError {
  const message =
    'could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network';
  return new TsboxError('ERR_TSBOX_CONFLICT', message, {
    hint: '`tsbox network prune` removes networks that nobody uses; --subnet gives one of your choice.',
  });
}
