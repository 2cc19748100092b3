/** Whether a container gets a DNS server, and whom that asks. */
import { readFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { upstreams, usesResolver } from '../network/resolv-conf.ts';
import { resolverStep } from '../plan/resolver.ts';
import type { Step } from '../plan/step.ts';
import type { HostConfig } from '../spec/container.ts';
import type { Endpoint, NetworkRecord } from '../spec/network.ts';
import type { Store } from '../store/store.ts';
import { builtFile } from '../sys/built-file.ts';

function hostServers(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}

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
  const program = builtFile('tsbox-resolver');
  if (program === undefined) {
    const hint = 'Build it with `make build`.';
    throw new TsboxError('ERR_TSBOX_EXECUTOR', 'find native-bindings/build/tsbox-resolver', { hint });
  }
  const isInternal = networks.every(({ Internal }) => Internal);
  return [resolverStep({ program, runRoot, id, upstreams: isInternal ? [] : upstreams(Dns, hostServers()) })];
}
