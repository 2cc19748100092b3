/** The network of an ordinary user's container at its start, by pasta(1) or slirp4netns(1). @see docs/network.md, Without root */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { nameservers } from '../network/resolv-conf.ts';
import {
  type Carrier,
  type CarrierInput,
  carrierCleanup,
  carrierSteps,
  SLIRP_ADDRESS,
} from '../plan/rootless-network.ts';
import type { Step } from '../plan/step.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import { isIPv6, parseAddress } from '../spec/ip.ts';
import type { Endpoint, PublishedPort } from '../spec/network.ts';
import { pickPorts } from '../spec/published.ts';
import { runNetworkFile } from '../store/network-run.ts';
import { runDirectory, type Store } from '../store/store.ts';
import { requireBuiltFile } from '../sys/built-file.ts';
import { addressesOf, defaultRoutes, linkInfo } from '../sys/netlink.ts';
import { canBind } from '../sys/socket.ts';
import type { ContainerRequest } from './api.ts';
import type { ContainerNetwork } from './container-network.ts';
import { localPortRange } from './ports.ts';
import { CARRIERS, isCarrier, isInstalled } from './rootless-mode.ts';

const FAILED = 125;
const INTERFACE = 'eth0';
/** Of the link, and nobody's: what is sent there pasta passes on to the host's own DNS server. */
const DNS_FORWARD = '169.254.1.1';
const SLIRP = { gateway: '10.0.2.2', dns: '10.0.2.3' } as const;
const INSTALL: Readonly<Record<Carrier, string>> = { pasta: 'passt', slirp4netns: 'slirp4netns' };

function refuse(code: 'ERR_TSBOX_UNSUPPORTED' | 'ERR_TSBOX_CONFLICT', message: string, hint: string): TsboxError {
  return new TsboxError(code, message, { exitCode: FAILED, hint });
}

/** What of networks only root may ask for, or what the program cannot do. @throws ERR_TSBOX_UNSUPPORTED */
export function checkRootlessNetwork(request: ContainerRequest): void {
  const { network, endpoints = [], networkAliases = [], links = [], extraHosts = [] } = request;
  const { portBindings = {}, publishAllPorts } = request;
  const no = (what: string, hint: string) => refuse('ERR_TSBOX_UNSUPPORTED', what, hint);
  const ports = Object.keys(portBindings).length > 0 ? '--publish' : publishAllPorts ? '--publish-all' : undefined;
  if (network === 'bridge' || (network === 'none' && ports !== undefined)) {
    const what = ports === undefined || network === 'bridge' ? `network ${network}` : ports;
    if (!CARRIERS.some(isInstalled)) {
      throw no(`${what}: without root it takes pasta(1) or slirp4netns(1)`, 'As root: apt-get install passt');
    }
  }
  if (!['none', 'host', 'bridge', ...CARRIERS].includes(network)) {
    const hint = 'Without root there are the networks pasta, slirp4netns, host and none.';
    throw no(`network ${network}: only root has networks in which containers meet`, hint);
  }
  if (isCarrier(network)) checkInstalled(network);
  const asked = endpoints[0];
  const flags: [boolean, string][] = [
    [endpoints.length > 1, 'several networks'],
    [asked?.ip !== undefined, '--ip'],
    [asked?.ip6 !== undefined, '--ip6'],
    [asked?.mac !== undefined, '--mac-address'],
    [networkAliases.length > 0 || (asked?.aliases?.length ?? 0) > 0, '--network-alias'],
    [links.length > 0, '--link'],
    [isCarrier(network) && extraHosts.some((one) => one.endsWith(':host-gateway')), '--add-host host-gateway'],
  ];
  const [, flag] = flags.find(([is]) => is) ?? [];
  if (flag === undefined) return;
  throw no(
    `${flag}: only root has networks in which containers meet`,
    'Without root a container is reached by its published ports. Or run tsbox as root, for example with sudo.',
  );
}

function checkInstalled(carrier: Carrier): void {
  if (isInstalled(carrier)) return;
  throw refuse(
    'ERR_TSBOX_UNSUPPORTED',
    `network ${carrier}: ${carrier} is not installed`,
    `As root: apt-get install ${INSTALL[carrier]}`,
  );
}

/** Said once to whom nothing is installed for; undefined when there is no need, or it was said before.
 *  @param asked before it became a mode: `default`
 *  @param dataRoot where is kept that it was said */
export function noNetworkNotice(
  asked: string,
  mode: string,
  bridge: string | undefined,
  dataRoot: string,
): string | undefined {
  const said = `${dataRoot}/no-network-said`;
  if (asked !== 'default' || mode !== 'none' || bridge === 'none') return undefined;
  if (isInstalled('pasta')) return 'the container has no network: this host has no default route, which pasta(1) needs';
  if (existsSync(said)) return undefined;
  try {
    mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
    writeFileSync(said, '');
  } catch {
    // said again the next time
  }
  return 'containers have no network without pasta(1) or slirp4netns(1). As root: apt-get install passt';
}

/** The address of the host that pasta gives the container too: that of the interface with the best default route. */
function copied(version: 4 | 6): { address: string; gateway: string } | undefined {
  const [route] = defaultRoutes(version)
    .filter(({ device, via }) => device !== undefined && via !== undefined)
    .sort((a, b) => a.priority - b.priority);
  if (route?.device === undefined || route.via === undefined) return undefined;
  const link = linkInfo(route.device);
  const address =
    link &&
    addressesOf(link).find((one) => {
      const parsed = parseAddress(one.replace(/\/.*/, ''));
      return parsed?.version === version && !/^fe80:/i.test(one);
    });
  return address === undefined ? undefined : { address, gateway: route.via };
}

function endpointOf(carrier: Carrier): Endpoint {
  const fixed = { networkId: '', network: carrier, interface: INTERFACE, port: '', mac: '', names: [] };
  if (carrier === 'slirp4netns') return { ...fixed, address: `${SLIRP_ADDRESS}/24`, gateway: SLIRP.gateway };
  const [four, six] = [copied(4), copied(6)];
  if (four === undefined && six === undefined) {
    const hint =
      'pasta takes address and routes from the host. Without them there are --network slirp4netns and --network none.';
    throw refuse('ERR_TSBOX_UNSUPPORTED', 'network pasta: this host has no default route', hint);
  }
  return {
    ...fixed,
    ...(four !== undefined && four),
    ...(six !== undefined && { address6: six.address, gateway6: six.gateway }),
  };
}

/** The first port that everybody may have. @see ip(7), ip_unprivileged_port_start */
function firstFreePort(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
  } catch {
    return 1024;
  }
}

function publishedPorts(carrier: Carrier, record: ContainerRecord, hostConfig: HostConfig): PublishedPort[] {
  const { PortBindings, PublishAllPorts } = hostConfig;
  const first = firstFreePort();
  const six = carrier === 'pasta' && existsSync('/proc/net/if_inet6');
  const asked = Object.values(PortBindings ?? {}).flatMap((list) => list ?? []);
  const ofIPv6 = asked.find(({ HostIp }) => isIPv6(HostIp));
  if (carrier === 'slirp4netns' && ofIPv6 !== undefined) {
    const hint = 'pasta publishes ports of IPv6. As root: apt-get install passt';
    const message = `publish [${ofIPv6.HostIp}]:${ofIPv6.HostPort}: slirp4netns has IPv4 only`;
    throw refuse('ERR_TSBOX_UNSUPPORTED', message, hint);
  }
  const ports = pickPorts(
    { PortBindings, PublishAllPorts, ExposedPorts: record.Config.ExposedPorts },
    {
      addresses: six ? ['0.0.0.0', '::'] : ['0.0.0.0'],
      range: localPortRange(),
      from: Math.random(),
      // A port that only root may have is another error than one that somebody has.
      isFree: (protocol, address, port) => port < first || canBind(protocol, address, port),
    },
  );
  for (const { hostAddress, hostPort } of ports) {
    if (hostPort < first) {
      const message = `Bind for ${hostAddress}:${hostPort} failed: EACCES (Permission denied)`;
      const hint = `Ports below ${first} are root's. As root: sysctl -w net.ipv4.ip_unprivileged_port_start=${hostPort} (and in /etc/sysctl.d/ to keep it).`;
      throw refuse('ERR_TSBOX_CONFLICT', message, hint);
    }
  }
  return ports;
}

/** Whom the container asks for names, when the host's resolv.conf does not do for it: slirp4netns has a server of its own; pasta passes on
 *  to one that only the host itself reaches. */
function nameServer(carrier: Carrier, resolvConf: string): string | undefined {
  if (carrier === 'slirp4netns') return SLIRP.dns;
  const servers = nameservers(resolvConf);
  const isLocal = servers.length > 0 && servers.every((server) => server.startsWith('127.') || server === '::1');
  return isLocal ? DNS_FORWARD : undefined;
}

/** Undefined for a container without such a network. The container's run directory is made by `setup`.
 *  @param resolvConf the host's
 *  @throws ERR_TSBOX_UNSUPPORTED when the program is not installed, ERR_TSBOX_CONFLICT for a port in use */
export function rootlessNetwork(
  store: Store,
  record: ContainerRecord,
  hostConfig: HostConfig,
  resolvConf: string,
): (ContainerNetwork & { dns?: string }) | undefined {
  const { NetworkMode: carrier } = hostConfig;
  if (!isCarrier(carrier)) return undefined;
  checkInstalled(carrier);
  const endpoint = endpointOf(carrier);
  const ports = publishedPorts(carrier, record, hostConfig);
  const run = runDirectory(store, record.ID);
  const dns = nameServer(carrier, resolvConf);
  const input: CarrierInput = {
    carrier,
    keeper: requireBuiltFile('tsbox-keeper'),
    lock: `${run}/network.lock`,
    socket: `${run}/slirp`,
    interface: INTERFACE,
    ports,
    ...(dns === DNS_FORWARD && { dnsForward: dns }),
  };
  const forwarded = ports.map((port) => ({ ...port, address: (endpoint.address ?? '').replace(/\/.*/, '') }));
  const account: Step = {
    op: 'write',
    path: runNetworkFile(store, record.ID),
    data: JSON.stringify({ endpoints: [endpoint], ports: forwarded }),
    flags: ['O_CREAT', 'O_TRUNC'],
    mode: 0o644,
    why: 'its address and its ports, for ps, port and inspect',
  };
  return {
    networks: [],
    endpoints: [endpoint],
    ports: forwarded,
    ...(dns !== undefined && { dns }),
    steps: { setup: [account], before: [], inside: carrierSteps(input), cleanup: carrierCleanup(input), last: [] },
  };
}
