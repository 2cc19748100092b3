/** Whether a container gets a DNS server, and whom that asks. */
import { upstreams, usesResolver } from '../network/resolv-conf.ts';
import { resolverStep } from '../plan/resolver.ts';
import type { Step } from '../plan/step.ts';
import type { HostConfig } from '../spec/container.ts';
import type { Endpoint, NetworkRecord } from '../spec/network.ts';
import type { Store } from '../store/store.ts';
import { requireBuiltFile } from '../sys/built-file.ts';
import { hostFile } from './network-files.ts';

/** For a list `outside` of the new process; none where containers have no names. In networks that are all internal nobody of outside is
 *  asked. @throws ERR_TSBOX_EXECUTOR when the program was not built */
export function resolverSteps(
  { runRoot }: Pick<Store, 'runRoot'>,
  id: string,
  { Dns = [] }: Pick<HostConfig, 'Dns'>,
  endpoints: readonly Endpoint[],
  networks: readonly Pick<NetworkRecord, 'Internal'>[],
): Step[] {
  if (!usesResolver(endpoints)) return [];
  const program = requireBuiltFile('tsbox-resolver');
  const isInternal = networks.every(({ Internal }) => Internal);
  return [
    resolverStep({ program, runRoot, id, upstreams: isInternal ? [] : upstreams(Dns, hostFile('/etc/resolv.conf')) }),
  ];
}
