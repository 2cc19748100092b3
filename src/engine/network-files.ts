/** A container's hosts, hostname and resolv.conf in /etc. */
import { readFileSync } from 'node:fs';
import { networkFiles } from '../network/files.ts';
import { nameservers } from '../network/resolv-conf.ts';
import type { Step } from '../plan/step.ts';
import type { ContainerRecord, HostConfig } from '../spec/container.ts';
import type { Endpoint } from '../spec/network.ts';
import { readRunNetwork } from '../store/network-run.ts';
import type { Store } from '../store/store.ts';
import { linkedHosts } from './links.ts';

/** A file of the host; empty without one. */
export function hostFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Where systemd-resolved, which answers at 127.0.0.53, has the servers that it asks itself. */
const RESOLVED_SERVERS = '/run/systemd/resolve/resolv.conf';

/** The file with servers that a container can reach. Who has the host's network reaches all of them. */
export function hostResolvConf(mode: string): string {
  const own = hostFile('/etc/resolv.conf');
  if (mode === 'host' || nameservers(own).join() !== '127.0.0.53') return own;
  return hostFile(RESOLVED_SERVERS) || own;
}

function namesAsked({ Dns = [], DnsSearch = [], DnsOptions = [], ExtraHosts = [] }: HostConfig) {
  return { dns: Dns, dnsSearch: DnsSearch, dnsOptions: DnsOptions, extraHosts: ExtraHosts };
}

/** Where they are on the host. */
export function filesOf({ HostsPath, HostnamePath, ResolvConfPath }: ContainerRecord): string[] {
  return [HostsPath, HostnamePath, ResolvConfPath];
}

/** What is in them. @throws ERR_TSBOX_CONFLICT when a container that it is linked to does not run */
export function fileContents(
  store: Store,
  record: ContainerRecord,
  hostConfig: HostConfig,
  endpoints: readonly Endpoint[],
) {
  return networkFiles({
    mode: hostConfig.NetworkMode,
    hostname: record.Config.Hostname,
    domainname: record.Config.Domainname,
    endpoints,
    links: linkedHosts(store, record, hostConfig, (id) => readRunNetwork(store, id).endpoints),
    ...namesAsked(hostConfig),
    host: { hosts: hostFile('/etc/hosts'), resolvConf: hostResolvConf(hostConfig.NetworkMode) },
  });
}

/** They are written anew for each start. */
export function fileSteps(
  store: Store,
  record: ContainerRecord,
  hostConfig: HostConfig,
  endpoints: readonly Endpoint[],
): Step[] {
  const files = fileContents(store, record, hostConfig, endpoints);
  const write = (path: string, data: string, why: string): Step => ({
    op: 'write',
    path,
    data,
    flags: ['O_CREAT', 'O_TRUNC'],
    mode: 0o644,
    why,
  });
  return [
    write(record.HostsPath, files.hosts, "the container's /etc/hosts"),
    write(record.HostnamePath, files.hostname, "the container's /etc/hostname"),
    write(record.ResolvConfPath, files.resolvConf, "the container's /etc/resolv.conf"),
  ];
}
