/** `--link` in the default network: the lines in /etc/hosts of the containers that are linked. */
import { TsboxError } from '../errors.ts';
import type { LinkedHost } from '../network/hosts.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { parseLink } from '../spec/links.ts';
import type { Endpoint } from '../spec/network.ts';
import { findContainer, requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import type { Store } from '../store/store.ts';

const FAILED = 125;

/** `CONTAINER[:ALIAS]` as it is kept: `ID:ALIAS`, so that it lasts when the other is renamed.
 *  @throws ERR_TSBOX_NOT_FOUND in Docker's words when there is no such container */
export function keptLinks(store: Store, links: readonly string[]): string[] {
  return links.map((text) => {
    const { container, alias } = parseLink(text);
    const found = findContainer(store, container);
    if (found !== undefined) return `${found.ID}:${alias}`;
    const message = `could not get container for ${container}: No such container: ${container}`;
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', message, { exitCode: FAILED });
  });
}

/** Where they are, each by its alias, its host name and its name.
 *  @param endpointsOf what a running container has in its networks
 *  @throws ERR_TSBOX_CONFLICT in Docker's words when one does not run */
export function linkedHosts(
  store: Store,
  record: Pick<ContainerRecord, 'Name'>,
  { Links = [] }: Pick<HostConfig, 'Links'>,
  endpointsOf: (id: string) => readonly Endpoint[],
): LinkedHost[] {
  return Links.map(parseLink).flatMap(({ container, alias }) => {
    const other = requireContainer(store, container);
    const { Running, Restarting } = containerState(store, other);
    if (!Running || Restarting) {
      const message = `Cannot link to a non running container: ${other.Name} AS ${record.Name}/${alias}`;
      throw new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: FAILED });
    }
    const endpoint = endpointsOf(other.ID).find(({ names, address }) => names.length === 0 && address !== undefined);
    if (endpoint?.address === undefined) return [];
    const [address = ''] = endpoint.address.split('/');
    return [{ address, names: [...new Set([alias, other.Config.Hostname, other.Name.slice(1)])] }];
  });
}

/** As Docker's `inspect` shows them: `/OTHER:/OWN/ALIAS`. One whose other is gone is left out. */
export function shownLinks(store: Store, name: string, links: readonly string[]): string[] {
  return links.map(parseLink).flatMap(({ container, alias }) => {
    const other = findContainer(store, container);
    return other === undefined ? [] : [`${other.Name}:${name}/${alias}`];
  });
}
