/** From a container's record to the OCI configuration that the runtime takes, as Docker fills it. Pure. @see runtime-spec config.md */

import { tweakCapabilities } from '../spec/capabilities.ts';
import type { ContainerRecord, HostConfig, MountPoint } from '../spec/container.ts';
import {
  OCI_RUNTIME_VERSION,
  type OciCapabilities,
  type OciConfig,
  type OciMount,
  type OciNamespace,
} from '../spec/oci-runtime.ts';
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

function systemMounts(shmSize: number): OciMount[] {
  const no = ['nosuid', 'noexec', 'nodev'];
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
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...no, 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...no, 'ro'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: no },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...no, 'mode=1777', `size=${shmSize}`] },
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

function namespaces(network: string): OciNamespace[] {
  const own: OciNamespace[] = [
    { type: 'mount' },
    { type: 'uts' },
    { type: 'ipc' },
    { type: 'pid' },
    { type: 'cgroup' },
  ];
  return network === 'host' ? own : [...own, { type: 'network' }];
}

/** As Docker: the sets that a program has are only filled for root; nobody can gain more than the bounding set. */
export function processCapabilities(hostConfig: HostConfig, uid: number, host: readonly string[]): OciCapabilities {
  const names = tweakCapabilities(hostConfig.CapAdd ?? [], hostConfig.CapDrop ?? [], host);
  return uid === 0 ? { bounding: names, effective: names, permitted: names } : { bounding: names };
}

export function hasNoNewPrivileges(hostConfig: HostConfig): boolean {
  return (hostConfig.SecurityOpt ?? []).some(
    (option) => option === 'no-new-privileges' || option === 'no-new-privileges=true',
  );
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
    mounts: [...systemMounts(hostConfig.ShmSize), ...fileMounts(record, readonly), ...userMounts(record)],
    process: {
      terminal: Config.Tty,
      ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: commandLine(Config),
      env: processEnv(Config, user.home),
      cwd: Config.WorkingDir === '' ? '/' : Config.WorkingDir,
      capabilities: processCapabilities(hostConfig, user.uid, input.hostCapabilities),
      noNewPrivileges: hasNoNewPrivileges(hostConfig),
    },
    linux: {
      namespaces: namespaces(hostConfig.NetworkMode),
      cgroupsPath: cgroupsPath(record.ID),
      maskedPaths: hostConfig.MaskedPaths,
      readonlyPaths: hostConfig.ReadonlyPaths,
    },
  };
}
