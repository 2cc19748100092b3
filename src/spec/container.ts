/**
 * What is kept of a container on disk, in Docker's words: `config.v2.json` and `hostconfig.json`. Types only.
 * @see src/store/README.md
 */

import type { IdMaps } from './id-map.ts';
import type { LogConfig } from './log-config.ts';
import type { EndpointConfig } from './network.ts';
import type { Healthcheck } from './oci-image.ts';
import type { Resources } from './resources.ts';
import type { MountSpec } from './volume.ts';

/** A port set or volume set, as Go writes a set: `{"80/tcp": {}}`. */
export type GoSet = Record<string, Record<string, never>>;

/** What the image or the user says about the process. Docker's `Config`. */
export interface ContainerConfig {
  Hostname: string;
  Domainname: string;
  User: string;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  ExposedPorts?: GoSet;
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  Env: string[];
  Cmd: string[] | null;
  Image: string;
  Volumes: GoSet | null;
  WorkingDir: string;
  Entrypoint: string[] | null;
  OnBuild: string[] | null;
  Labels: Record<string, string>;
  /** `--mac-address`: in its first network. */
  MacAddress?: string;
  StopSignal?: string;
  StopTimeout?: number;
  Healthcheck?: Healthcheck;
}

/** Where a port of the container is reached on the host; empty: any address. */
export interface PortBinding {
  HostIp: string;
  HostPort: string;
}

/** What depends on the host. Docker's `HostConfig`; fields of verbs that tsbox does not have are left out, and so are limits that nobody
 *  asked for. */
export interface HostConfig extends Partial<Resources> {
  /** -1000 to 1000. @see proc_pid_oom_score_adj(5) */
  OomScoreAdj?: number;
  Binds: string[] | null;
  /** `--mount`; absent when there was none, and so is Tmpfs: options by path. */
  Mounts?: MountSpec[];
  Tmpfs?: Record<string, string>;
  VolumesFrom?: string[] | null;
  VolumeDriver?: string;
  ContainerIDFile: string;
  LogConfig: LogConfig;
  NetworkMode: string;
  /** Servers, domains to search and options of resolv.conf(5), absent when there was none; `NAME:ADDRESS` for hosts(5). */
  Dns?: string[];
  DnsOptions?: string[];
  DnsSearch?: string[];
  ExtraHosts?: string[];
  /** `ID:ALIAS`: containers that are linked in the default network. */
  Links?: string[];
  AutoRemove: boolean;
  /** Docker's first process of its own is in front of the command. */
  Init?: boolean;
  /** Absent: `no`. */
  RestartPolicy?: RestartPolicy;
  /** By `80/tcp`; absent: none. */
  PortBindings?: Record<string, PortBinding[] | null>;
  /** Those that are exposed get ports of the host too. */
  PublishAllPorts?: boolean;
  CapAdd: string[] | null;
  CapDrop: string[] | null;
  CgroupnsMode: string;
  GroupAdd?: string[] | null;
  /** `private` or nothing: its own; `shareable`: its own, and others may join; `none`: its own, without /dev/shm; `host`; `container:NAME`. */
  IpcMode?: string;
  /** Nothing: its own; `host`; `container:NAME`. */
  PidMode?: string;
  Privileged: boolean;
  ReadonlyRootfs: boolean;
  SecurityOpt: string[] | null;
  ShmSize: number;
  /** Kernel parameters of its namespaces. */
  Sysctls?: Record<string, string>;
  /** Nothing: its own names; `host`. */
  UTSMode?: string;
  /** `host`, or whose subordinate ids it has; Docker knows only `host` and the empty string. */
  UsernsMode: string;
  /** Of `--userns auto`: the ids that this container alone was given. Docker has no such thing. */
  IDMaps?: IdMaps;
  ConsoleSize: [number, number];
  /** null in a privileged container. */
  MaskedPaths: string[] | null;
  ReadonlyPaths: string[] | null;
}

export interface RestartPolicy {
  /** `no` or nothing, `on-failure`, `always`, `unless-stopped`. */
  Name: string;
  /** Of `on-failure`; 0 is no limit. */
  MaximumRetryCount: number;
}

export type Status = 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'dead';

/** Docker's `State`. Times are RFC 3339; `0001-01-01T00:00:00Z` is never. */
export interface ContainerState {
  Status: Status;
  Running: boolean;
  Paused: boolean;
  Restarting: boolean;
  OOMKilled: boolean;
  Dead: boolean;
  Pid: number;
  ExitCode: number;
  Error: string;
  StartedAt: string;
  FinishedAt: string;
}

/** One probe. Docker's `HealthcheckResult`. */
export interface HealthResult {
  Start: string;
  End: string;
  /** 0 is healthy; -1 when it took too long or could not be run. */
  ExitCode: number;
  /** At most 4096 bytes. */
  Output: string;
}

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

/** Docker's `Health`. */
export interface Health {
  Status: HealthStatus;
  /** Failures since the last success. */
  FailingStreak: number;
  /** The last five. */
  Log: HealthResult[];
}

export const NEVER = '0001-01-01T00:00:00Z';

/** One mount that the user or the image asked for. Docker's `MountPoint`; on disk `Mode` is called `Relabel`. */
export interface MountPoint {
  Type: 'bind' | 'volume' | 'tmpfs';
  Name?: string;
  Source: string;
  Destination: string;
  Driver?: string;
  Mode: string;
  RW: boolean;
  Propagation: string;
  /** What was asked for: empty for a volume of the image. A volume without a `Source` here has no name of its own and goes with the container. */
  Spec?: MountSpec;
  /** A source of `--mount` has to be there; for `-v` it is made. */
  SkipMountpointCreation?: boolean;
}

/** A container as `config.v2.json` has it. */
export interface ContainerRecord {
  ID: string;
  Created: string;
  /** The command: Entrypoint and Cmd joined, its first word. */
  Path: string;
  Args: string[];
  Config: ContainerConfig;
  /** Image id, `sha256:...`. */
  Image: string;
  /** With a leading slash, as Docker keeps it. */
  Name: string;
  Driver: string;
  OS: string;
  /** The state when it was last written; the truth also needs the monitor's own records, see store/state.ts. */
  State: ContainerState;
  MountPoints: Record<string, MountPoint>;
  HostnamePath: string;
  HostsPath: string;
  ResolvConfPath: string;
  LogPath: string;
  /** Networks of its own, as they were asked for, by name. Absent: it has none. */
  NetworkSettings?: { Networks: Record<string, EndpointConfig> };
  /** How often its restart policy has started it since somebody did. */
  RestartCount: number;
  HasBeenStartedBefore: boolean;
  /** Somebody has stopped or killed it since its last start. */
  HasBeenManuallyStopped?: boolean;
}

/** What the monitor writes when the first process exists: `<run-root>/<id>/state.json`. */
export interface RunRecord {
  Pid: number;
  Monitor: number;
  StartedAt: string;
}

/** What the monitor writes when it has ended: `containers/<id>/exit.json`, or `<run-root>/<id>.exit`. */
export interface ExitRecord {
  Pid: number;
  ExitCode: number;
  FinishedAt: string;
}
