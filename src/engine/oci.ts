/** From a container's record to the OCI configuration that the runtime takes, as Docker fills it. Pure. @see runtime-spec config.md */

import { tweakCapabilities } from '../spec/capabilities.ts';
import type { ContainerRecord, HostConfig, MountPoint } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import {
  OCI_RUNTIME_VERSION,
  type OciCapabilities,
  type OciConfig,
  type OciMount,
  type OciNamespace,
} from '../spec/oci-runtime.ts';
import { securityOptions } from '../spec/security-options.ts';
import { commandLine, processEnv } from './merge.ts';
import type { ResolvedUser } from './user.ts';

export interface OciInput {
  record: ContainerRecord;
  hostConfig: HostConfig;
  user: ResolvedUser;
  rootfs: string;
  /** Capabilities that the host has: what `ALL` means. */
  hostCapabilities: readonly string[];
  size?: { rows: number; columns: number };
  /** Of a user namespace of its own. */
  maps?: IdMaps;
}

export const DEFAULT_MASKED_PATHS = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

export const DEFAULT_READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** What the init layer and the mounts below make sure of: no step needs to make these. */
export const READY_MOUNT_POINTS: ReadonlySet<string> = new Set([
  '/proc',
  '/dev',
  '/sys',
  '/sys/fs',
  '/sys/fs/cgroup',
  '/etc',
  '/etc/resolv.conf',
  '/etc/hostname',
  '/etc/hosts',
]);

/** The path of a container's cgroup below each hierarchy. No directory is shared with other containers: nobody has to agree on who
 *  removes it. */
export function cgroupsPath(id: string): string {
  return `/tsbox-${id}`;
}

function systemMounts(hostConfig: HostConfig): OciMount[] {
  const no = ['nosuid', 'noexec', 'nodev'];
  const kernel = hostConfig.Privileged ? no : [...no, 'ro'];
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: no },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: kernel },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: kernel },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: no },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...no, 'mode=1777', `size=${hostConfig.ShmSize}`],
    },
  ];
}

function bindMount(point: MountPoint): OciMount {
  const options = ['rbind', point.RW ? 'rw' : 'ro', point.Propagation];
  return { destination: point.Destination, type: 'bind', source: point.Source, options };
}

/** Deeper destinations come later, so that one bind can lie inside another. */
function userMounts(record: ContainerRecord): OciMount[] {
  const depth = (point: MountPoint) => point.Destination.split('/').length;
  return Object.values(record.MountPoints)
    .sort((a, b) => depth(a) - depth(b))
    .map(bindMount);
}

function fileMounts(record: ContainerRecord, readonly: boolean): OciMount[] {
  const files: [string, string][] = [
    ['/etc/resolv.conf', record.ResolvConfPath],
    ['/etc/hostname', record.HostnamePath],
    ['/etc/hosts', record.HostsPath],
  ];
  return files
    .filter(([destination]) => record.MountPoints[destination] === undefined)
    .map(([destination, source]) => ({
      destination,
      type: 'bind',
      source,
      options: ['rbind', readonly ? 'ro' : 'rw', 'rprivate'],
    }));
}

function namespaces(network: string, user: boolean): OciNamespace[] {
  const own: OciNamespace[] = [
    { type: 'mount' },
    { type: 'uts' },
    { type: 'ipc' },
    { type: 'pid' },
    { type: 'cgroup' },
  ];
  if (user) own.unshift({ type: 'user' });
  return network === 'host' ? own : [...own, { type: 'network' }];
}

/** What a container's processes may gain at the most. @param host what the host has: all of it for a privileged container */
export function boundingSet(hostConfig: HostConfig, host: readonly string[]): string[] {
  if (hostConfig.Privileged) return [...host];
  return tweakCapabilities(hostConfig.CapAdd ?? [], hostConfig.CapDrop ?? [], host);
}

/** As Docker: the sets that a program has are only filled for root; nobody can gain more than the bounding set. */
export function processCapabilities(bounding: readonly string[], uid: number): OciCapabilities {
  const names = [...bounding];
  return uid === 0 ? { bounding: names, effective: names, permitted: names } : { bounding: names };
}

/** The whole configuration. */
export function ociConfig(input: OciInput): OciConfig {
  const { record, hostConfig, user, size } = input;
  const { Config } = record;
  const readonly = hostConfig.ReadonlyRootfs;
  return {
    ociVersion: OCI_RUNTIME_VERSION,
    root: { path: input.rootfs, readonly },
    hostname: Config.Hostname,
    ...(Config.Domainname === '' ? {} : { domainname: Config.Domainname }),
    mounts: [...systemMounts(hostConfig), ...fileMounts(record, readonly), ...userMounts(record)],
    process: {
      terminal: Config.Tty,
      ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: commandLine(Config),
      env: processEnv(Config, user.home),
      cwd: Config.WorkingDir === '' ? '/' : Config.WorkingDir,
      capabilities: processCapabilities(boundingSet(hostConfig, input.hostCapabilities), user.uid),
      noNewPrivileges: securityOptions(hostConfig.SecurityOpt ?? []).noNewPrivileges,
    },
    linux: {
      namespaces: namespaces(hostConfig.NetworkMode, input.maps !== undefined),
      ...(input.maps === undefined ? {} : { uidMappings: [...input.maps.uids], gidMappings: [...input.maps.gids] }),
      cgroupsPath: cgroupsPath(record.ID),
      maskedPaths: hostConfig.MaskedPaths ?? [],
      readonlyPaths: hostConfig.ReadonlyPaths ?? [],
    },
  };
}
