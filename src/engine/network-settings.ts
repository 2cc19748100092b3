/** `inspect`'s NetworkSettings, in Docker's shape and order. */
import type { ContainerRecord, ContainerState, HostConfig } from '../spec/container.ts';
import type { Endpoint, EndpointConfig } from '../spec/network.ts';
import { PREDEFINED } from '../spec/network-options.ts';
import { portsShown } from '../spec/published.ts';
import { endpointId } from '../store/endpoints.ts';
import { readRunNetwork } from '../store/network-run.ts';
import { readNetwork } from '../store/networks.ts';
import type { Store } from '../store/store.ts';
import { wantedNetworks } from './network-mode.ts';

const NOT_ASKED: EndpointConfig = { IPAMConfig: null, Links: null, Aliases: null, DriverOpts: null };

/** Address and length of its prefix; empty without one. */
function parts(address: string | undefined): [string, number] {
  const [text = '', prefix = '0'] = (address ?? '').split('/');
  return [text, Number(prefix)];
}

/** Where a container is in a network. */
function addresses(id: string, endpoint: Endpoint | undefined) {
  const [address, prefix] = parts(endpoint?.address);
  const [address6, prefix6] = parts(endpoint?.address6);
  return {
    EndpointID: endpoint === undefined ? '' : endpointId(id, endpoint.networkId),
    Gateway: endpoint?.gateway ?? '',
    GlobalIPv6Address: address6,
    GlobalIPv6PrefixLen: prefix6,
    IPAddress: address,
    IPPrefixLen: prefix,
    IPv6Gateway: endpoint?.gateway6 ?? '',
    MacAddress: endpoint?.mac ?? '',
  };
}

function shownNetwork(record: ContainerRecord, config: EndpointConfig, endpoint: Endpoint | undefined) {
  const { EndpointID, Gateway, IPAddress, IPPrefixLen, IPv6Gateway, ...rest } = addresses(record.ID, endpoint);
  const { GlobalIPv6Address, GlobalIPv6PrefixLen, MacAddress } = rest;
  return {
    IPAMConfig: config.IPAMConfig,
    Links: config.Links,
    Aliases: aliases(record, config, endpoint),
    NetworkID: endpoint?.networkId ?? '',
    ...{ EndpointID, Gateway, IPAddress, IPPrefixLen, IPv6Gateway },
    ...{ GlobalIPv6Address, GlobalIPv6PrefixLen, MacAddress },
    DriverOpts: config.DriverOpts,
  };
}

/** Its short id and its host name are among them, where there are names. */
function aliases({ ID, Config }: ContainerRecord, { Aliases }: EndpointConfig, endpoint: Endpoint | undefined) {
  if ((endpoint?.names.length ?? 0) === 0) return Aliases;
  return [...new Set([...(Aliases ?? []), ID.slice(0, 12), Config.Hostname])];
}

/** Of a container without a network that has a record. `host` and `none` have ids, and so has who runs in them.
 *  @param endpoint without root, what pasta or slirp4netns carries */
function withoutNetworks(
  store: Store,
  record: ContainerRecord,
  mode: string,
  runs: boolean,
  endpoint: Endpoint | undefined,
) {
  const shown = shownNetwork(record, NOT_ASKED, endpoint);
  if (!runs || !PREDEFINED.includes(mode)) return { [mode]: shown };
  const { ID } = readNetwork(store, mode);
  return { [mode]: { ...shown, NetworkID: ID, EndpointID: endpointId(record.ID, ID) } };
}

/** Of a container that does not run: what it will be in. The fields of before there were several networks are those of `bridge`. */
export function networkSettings(store: Store, record: ContainerRecord, hostConfig: HostConfig, state: ContainerState) {
  const { ID: id, Config } = record;
  const { endpoints, ports } = readRunNetwork(store, id);
  const { NetworkMode: mode } = hostConfig;
  const wanted = wantedNetworks(record, hostConfig);
  const inNetwork = (name: string) => endpoints.find(({ network }) => network === name);
  const hasOwn = wanted.length > 0 || isShared(hostConfig);
  return {
    Bridge: '',
    SandboxID: '',
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    Ports: state.Running && (wanted.length > 0 || endpoints.length > 0) ? portsShown(ports, Config.ExposedPorts) : {},
    SandboxKey: state.Pid === 0 ? '' : `/proc/${state.Pid}/ns/net`,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    ...addresses(id, inNetwork('bridge')),
    Networks: hasOwn
      ? Object.fromEntries(wanted.map(([name, config]) => [name, shownNetwork(record, config, inNetwork(name))]))
      : withoutNetworks(store, record, mode, state.Running, inNetwork(mode)),
  };
}

const isShared = ({ NetworkMode }: HostConfig) => NetworkMode.startsWith('container:');
