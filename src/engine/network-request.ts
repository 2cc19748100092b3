/** What `run` and `create` say of networks: held against what there is, and put down for the container's starts. */
import { TsboxError } from '../errors.ts';
import { parseAddress } from '../spec/ip.ts';
import type { EndpointConfig, NetworkRecord } from '../spec/network.ts';
import { isUserDefined } from '../spec/network-options.ts';
import { hasDefaultNetwork, readNetwork } from '../store/networks.ts';
import type { Store } from '../store/store.ts';
import { hasLibnftables } from '../sys/nftables.ts';
import type { ContainerRequest, EndpointRequest } from './api.ts';
import { otherContainer } from './namespaces.ts';
import { rootlessMode } from './rootless-mode.ts';

const FAILED = 125;

function usage(message: string, exitCode = FAILED): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, { exitCode });
}

/** The mode that a container gets which asks for none: `default` where there is a default network and its rules can be made, else `none`;
 *  without root what is installed. Who publishes ports is told at the start what is missing. */
export function resolvedMode(
  store: Store,
  { network, portBindings, publishAllPorts }: Pick<ContainerRequest, 'network' | 'portBindings' | 'publishAllPorts'>,
): string {
  if (process.geteuid?.() !== 0) return rootlessMode(network, store.bridge);
  if (network !== 'default') return network;
  const publishes = portBindings !== undefined || publishAllPorts === true;
  return hasDefaultNetwork(store) && (publishes || hasLibnftables()) ? network : 'none';
}

/** What root is told who gets no network because something is missing. */
export function noNetworkNote(store: Store, asked: string, mode: string): string[] {
  if (process.geteuid?.() !== 0 || asked !== 'default' || mode !== 'none' || !hasDefaultNetwork(store)) return [];
  return [
    'no network: libnftables.so.1, which makes its rules, is not installed (Debian: apt-get install libnftables1)',
  ];
}

const refused = (message: string) => new TsboxError('ERR_TSBOX_USAGE', message);

/** What cannot be had together, in Docker's words. @throws ERR_TSBOX_USAGE */
export function checkNetworkConflicts(request: ContainerRequest): void {
  const { network, endpoints = [] } = request;
  const isShared = network === 'host' || otherContainer(network) !== undefined;
  const modes = endpoints.map((endpoint) => endpoint.network);
  if (endpoints.length > 1 && modes.includes('none'))
    throw refused(`Container cannot be connected to network endpoints: ${modes.join(', ')}`);
  if (isShared && endpoints.length > 1)
    throw usage(`conflicting options: cannot attach both user-defined and non-user-defined network-modes`);
  if (otherContainer(network) === undefined) return;
  const conflicts: [boolean, string][] = [
    [request.hostname !== undefined, 'hostname'],
    [endpoints.some(({ mac }) => mac !== undefined), 'mac-address'],
  ];
  const [, what] = conflicts.find(([is]) => is) ?? [];
  // Docker's daemon says these, and not its command line: `create` ends with 1.
  if (what !== undefined) throw refused(`conflicting options: ${what} and the network mode`);
}

/** Docker's `NetworkSettings.Networks`: what is asked for in each network, that of `--network` first. Undefined for a container that has no
 *  network of its own. @throws ERR_TSBOX_NOT_FOUND, ERR_TSBOX_USAGE in Docker's words */
export function requestedNetworks(
  store: Store,
  request: ContainerRequest,
  preview: boolean,
): Record<string, EndpointConfig> | undefined {
  const mode = resolvedMode(store, request);
  if (mode === 'host' || mode === 'none' || otherContainer(mode) !== undefined) return undefined;
  if (process.geteuid?.() !== 0) return undefined; // it has no record: see rootless-network.ts
  const asked = request.endpoints ?? [];
  const { networkAliases = [], links = [] } = request;
  const given = asked[0] ?? { network: mode };
  // Other flags are about the first network. In the default one a link is a matter of the container's own hosts file.
  const isDefault = mode === 'default' || mode === 'bridge';
  const first = {
    ...given,
    aliases: [...(given.aliases ?? []), ...networkAliases],
    links: [...(given.links ?? []), ...(isDefault ? [] : links)],
  };
  const all = [first, ...asked.slice(1)].map((one) => {
    const network = readNetwork(store, one.network === 'default' ? 'bridge' : one.network, !preview);
    return [network.Name, endpointConfig(network, one)] as const;
  });
  return Object.fromEntries(all);
}

/** What is asked for in one network, for a container or by `network connect`.
 *  @param exitCode what a refusal ends the verb with @throws as {@link requestedNetworks} */
export function endpointConfig(network: NetworkRecord, asked: EndpointRequest, exitCode = FAILED): EndpointConfig {
  const refuse = (message: string) => usage(message, exitCode);
  const { ip, ip6, mac, aliases = [], links = [], driverOptions = {} } = asked;
  if (network.Driver !== 'bridge') {
    throw refuse(`container cannot be connected to ${network.Driver === 'host' ? 'host' : 'none'} network`);
  }
  for (const [text, version] of [
    [ip, 4],
    [ip6, 6],
  ] as const) {
    if (text !== undefined && parseAddress(text)?.version !== version)
      throw refuse(`invalid IPv${version} address: ${text}`);
  }
  if (mac !== undefined && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac))
    throw refuse(`${mac} is not a valid mac address`);
  if (!isUserDefined(network)) {
    if (ip !== undefined || ip6 !== undefined)
      throw refuse('user specified IP address is supported on user defined networks only');
    if (aliases.length > 0)
      throw refuse('network-scoped alias is supported only for containers in user defined networks');
  }
  return {
    IPAMConfig:
      ip === undefined && ip6 === undefined
        ? null
        : { ...(ip !== undefined && { IPv4Address: ip }), ...(ip6 !== undefined && { IPv6Address: ip6 }) },
    Links: links.length > 0 ? [...links] : null,
    Aliases: aliases.length > 0 ? [...aliases] : null,
    ...(mac !== undefined && { MacAddress: mac.toLowerCase() }),
    DriverOpts: Object.keys(driverOptions).length > 0 ? { ...driverOptions } : null,
  };
}
