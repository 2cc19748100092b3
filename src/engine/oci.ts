/** From a container's record to the OCI configuration that the runtime takes, as Docker fills it. Pure. @see runtime-spec config.md */

import { tweakCapabilities } from '../spec/capabilities.ts';
import type { ContainerRecord, HostConfig, MountPoint } from '../spec/container.ts';
import { type IdMaps, toHost } from '../spec/id-map.ts';
import {
  OCI_RUNTIME_VERSION,
  type OciCapabilities,
  type OciConfig,
  type OciDevice,
  type OciMount,
  type OciResources,
  type OciRlimit,
} from '../spec/oci-runtime.ts';
import { securityOptions } from '../spec/security-options.ts';
import { tmpfsData, tmpfsOptions } from '../spec/tmpfs-options.ts';
import { cgroupsPath } from './cgroup-path.ts';
import { commandLine, processEnv } from './merge.ts';
import { cleanPath } from './mount-spec.ts';
import { type Joined, ociNamespaces } from './namespaces.ts';
import type { ResolvedUser } from './user.ts';

export interface OciInput {
  record: ContainerRecord;
  hostConfig: HostConfig;
  user: ResolvedUser;
  rootfs: string;
  /** Capabilities that the host has: what `ALL` means. */
  hostCapabilities: readonly string[];
  resources: OciResources;
  size?: { rows: number; columns: number };
  /** Of a user namespace of its own. */
  maps?: IdMaps;
  joined: Joined;
  /** What is to be seen at /dev/shm, when it is not a tmpfs of its own. */
  shm?: string;
  devices: readonly OciDevice[];
  /** The host's file of the first process, when the command is not to be that. */
  init?: string;
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

/** Group `tty`, to which terminals belong. */
const TTY_GROUP = 5;

/** Nothing, a part of the host's or of another container's, or a tmpfs of its own. */
function shmMounts({ IpcMode, ShmSize }: HostConfig, source: string | undefined): OciMount[] {
  const no = ['nosuid', 'noexec', 'nodev'];
  const destination = '/dev/shm';
  if (IpcMode === 'none') return [];
  if (source !== undefined) return [{ destination, type: 'bind', source, options: ['rbind', 'rprivate'] }];
  return [{ destination, type: 'tmpfs', source: 'shm', options: [...no, 'mode=1777', `size=${ShmSize}`] }];
}

function systemMounts(hostConfig: HostConfig, shm: string | undefined): OciMount[] {
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
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', `gid=${TTY_GROUP}`],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: kernel },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: kernel },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: no },
    ...shmMounts(hostConfig, shm),
  ];
}

/** What a user namespace does not allow: a sysfs of the host's network namespace, and a group that has no number outside. */
function fitting(mount: OciMount, network: string, maps: IdMaps | undefined): OciMount {
  if (maps === undefined) return mount;
  const { destination, options = [] } = mount;
  if (destination === '/sys' && network === 'host') {
    return { destination, type: 'bind', source: '/sys', options: ['rbind', 'rprivate', ...options] };
  }
  if (toHost(maps.gids, TTY_GROUP) !== undefined) return mount;
  return { ...mount, options: options.filter((option) => option !== `gid=${TTY_GROUP}`) };
}

function bindMount(point: MountPoint): OciMount {
  const kind = point.Spec?.BindOptions?.NonRecursive === true ? 'bind' : 'rbind';
  const options = [kind, point.RW ? 'rw' : 'ro', point.Propagation || 'rprivate'];
  return { destination: point.Destination, type: 'bind', source: point.Source, options };
}

function tmpfsMount(destination: string, data: string): OciMount {
  return { destination, type: 'tmpfs', source: 'tmpfs', options: tmpfsOptions(data) };
}

/** What the user asked for, by its place. As Docker, `--tmpfs` comes instead of a volume of the same place. */
function askedMounts(record: ContainerRecord, { Tmpfs }: HostConfig): Map<string, OciMount> {
  const points = Object.values(record.MountPoints).map((point) =>
    point.Type === 'tmpfs' ? tmpfsMount(point.Destination, tmpfsData(point.Spec ?? {})) : bindMount(point),
  );
  const mounts = [...points, ...Object.entries(Tmpfs ?? {}).map(([path, data]) => tmpfsMount(cleanPath(path), data))];
  return new Map(mounts.map((mount) => [mount.destination, mount]));
}

/** As Docker: one at the place of a mount that every container has comes instead of that one, and what belongs into it still does;
 *  but a directory of the host at /dev is shown as it is, with its own /dev/shm and the like. Not so a terminal: it is the container's. */
function replaced(mounts: readonly OciMount[], asked: ReadonlyMap<string, OciMount>, terminal: boolean): OciMount[] {
  const isBind = asked.get('/dev')?.type === 'bind';
  const goes = ({ destination, type }: OciMount) =>
    isBind && destination.startsWith('/dev/') && type !== 'bind' && !(terminal && type === 'devpts');
  return mounts
    .map((mount) => asked.get(mount.destination) ?? mount)
    .filter((mount) => asked.has(mount.destination) || !goes(mount));
}

/** Those that replace none. Deeper destinations come later, so that one can lie inside another. */
function userMounts(asked: ReadonlyMap<string, OciMount>, others: readonly OciMount[]): OciMount[] {
  const depth = ({ destination }: OciMount) => destination.split('/').length;
  const taken = new Set(others.map((mount) => mount.destination));
  return [...asked.values()].filter(({ destination }) => !taken.has(destination)).sort((a, b) => depth(a) - depth(b));
}

function fileMounts(record: ContainerRecord, readonly: boolean, asked: ReadonlyMap<string, OciMount>): OciMount[] {
  const files: [string, string][] = [
    ['/etc/resolv.conf', record.ResolvConfPath],
    ['/etc/hostname', record.HostnamePath],
    ['/etc/hosts', record.HostsPath],
  ];
  return files
    .filter(([destination]) => !asked.has(destination))
    .map(([destination, source]) => ({
      destination,
      type: 'bind',
      source,
      options: ['rbind', readonly ? 'ro' : 'rw', 'rprivate'],
    }));
}

/** Where Docker has it. */
const INIT_PATH = '/sbin/docker-init';

function initMounts(source: string | undefined): OciMount[] {
  if (source === undefined) return [];
  return [{ destination: INIT_PATH, type: 'bind', source, options: ['bind', 'ro', 'rprivate'] }];
}

/** As Docker: in a network namespace of its own every port may be bound, and everybody may ping. */
const NETWORK_SYSCTLS = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};

/** A user namespace has no groups up to the last one that could ping: there it is left as it is. */
function sysctls({ NetworkMode, Sysctls }: HostConfig, maps: IdMaps | undefined): Record<string, string> {
  const { 'net.ipv4.ip_unprivileged_port_start': ports, 'net.ipv4.ping_group_range': ping } = NETWORK_SYSCTLS;
  const own = {
    'net.ipv4.ip_unprivileged_port_start': ports,
    ...(maps === undefined && { 'net.ipv4.ping_group_range': ping }),
  };
  return { ...(NetworkMode === 'host' ? {} : own), ...Sysctls };
}

/** `nofile` is RLIMIT_NOFILE. */
export function rlimits({ Ulimits }: HostConfig): OciRlimit[] {
  return (Ulimits ?? []).map(({ Name, Soft, Hard }) => ({
    type: `RLIMIT_${Name.toUpperCase()}`,
    soft: Soft,
    hard: Hard,
  }));
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

/** As Docker's 0, not set: then it is the caller's. */
export function oomScore({ OomScoreAdj: score = 0 }: HostConfig): { oomScoreAdj?: number } {
  return score === 0 ? {} : { oomScoreAdj: score };
}

/** The whole configuration. */
export function ociConfig(input: OciInput): OciConfig {
  const { record, hostConfig, user, size } = input;
  const { Config } = record;
  const readonly = hostConfig.ReadonlyRootfs;
  const asked = askedMounts(record, hostConfig);
  const system = systemMounts(hostConfig, input.shm).map((mount) => fitting(mount, hostConfig.NetworkMode, input.maps));
  return {
    ociVersion: OCI_RUNTIME_VERSION,
    root: { path: input.rootfs, readonly },
    hostname: Config.Hostname,
    ...(Config.Domainname === '' ? {} : { domainname: Config.Domainname }),
    mounts: [
      ...replaced(system, asked, Config.Tty),
      ...fileMounts(record, readonly, asked),
      ...userMounts(asked, system),
      ...initMounts(input.init),
    ],
    process: {
      terminal: Config.Tty,
      ...(size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } }),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: [...(input.init === undefined ? [] : [INIT_PATH, '--']), ...commandLine(Config)],
      env: processEnv(Config, user.home),
      cwd: Config.WorkingDir === '' ? '/' : Config.WorkingDir,
      capabilities: processCapabilities(boundingSet(hostConfig, input.hostCapabilities), user.uid),
      rlimits: rlimits(hostConfig),
      noNewPrivileges: securityOptions(hostConfig.SecurityOpt ?? []).noNewPrivileges,
      ...oomScore(hostConfig),
    },
    linux: {
      namespaces: [
        ...(input.maps === undefined ? [] : [{ type: 'user' as const }]),
        ...ociNamespaces(hostConfig, input.joined),
      ],
      devices: [...input.devices],
      sysctl: sysctls(hostConfig, input.maps),
      ...(input.maps === undefined ? {} : { uidMappings: [...input.maps.uids], gidMappings: [...input.maps.gids] }),
      cgroupsPath: cgroupsPath(record.ID, hostConfig.CgroupParent),
      resources: input.resources,
      maskedPaths: hostConfig.MaskedPaths ?? [],
      readonlyPaths: hostConfig.ReadonlyPaths ?? [],
    },
  };
}
