/** Which network an ordinary user's container has. */
import type { Carrier } from '../plan/rootless-network.ts';
import { findProgram } from '../sys/find-program.ts';
import { wayOut } from '../sys/netlink.ts';

/** The best first. */
export const CARRIERS: readonly Carrier[] = ['pasta', 'slirp4netns'];

/** Where the executor looks for programs of the host. */
const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export const isInstalled = (program: string): boolean => findProgram(program, DIRECTORIES) !== undefined;

export function isCarrier(mode: string): mode is Carrier {
  return (CARRIERS as readonly string[]).includes(mode);
}

/** pasta has the container's address and routes from the host; slirp4netns makes them up. */
function isUsable(carrier: Carrier): boolean {
  if (!isInstalled(carrier)) return false;
  return carrier !== 'pasta' || wayOut() !== undefined;
}

/** For who has no rights over the host's network.
 *  @param bridge the engine's `--bridge`: with `none` a container has a network only if one is asked for
 *  @returns the mode that is kept: `default` is what is installed and of use on this host, or `none` */
export function rootlessMode(network: string, bridge: string | undefined): string {
  if (network === 'default') return bridge === 'none' ? 'none' : (CARRIERS.find(isUsable) ?? 'none');
  return network === 'bridge' ? (CARRIERS.find(isUsable) ?? CARRIERS.find(isInstalled) ?? network) : network;
}
