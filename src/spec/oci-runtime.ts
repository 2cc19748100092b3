/**
 * The OCI runtime's `config.json`, Linux part. Types only.
 * @see runtime-spec: config.md, config-linux.md
 */

export interface OciUser {
  uid: number;
  gid: number;
  umask?: number;
  additionalGids?: number[];
}

export interface OciCapabilities {
  bounding?: string[];
  effective?: string[];
  permitted?: string[];
  inheritable?: string[];
  ambient?: string[];
}

export interface OciRlimit {
  type: string;
  soft: number;
  hard: number;
}

export interface OciProcess {
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  user: OciUser;
  args: string[];
  env?: string[];
  cwd: string;
  capabilities?: OciCapabilities;
  rlimits?: OciRlimit[];
  noNewPrivileges?: boolean;
  oomScoreAdj?: number;
}

export interface OciMount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  /** An ID-mapped mount: its files have the owners that these make of the ids on disk. Here always those of the user namespace. */
  uidMappings?: OciIdMapping[];
  gidMappings?: OciIdMapping[];
}

export type OciNamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time';

export interface OciNamespace {
  type: OciNamespaceType;
  /** A namespace that exists, to be joined: `/proc/PID/ns/net`. */
  path?: string;
}

export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface OciDevice {
  path: string;
  type: 'c' | 'b' | 'u' | 'p';
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
  /** Where the host has it, when not at `path`; not a field of the specification. */
  source?: string;
}

/** Which devices may be opened or made. Later rules win. */
export interface OciDeviceRule {
  allow: boolean;
  /** `a`, or nothing: every device. */
  type?: 'a' | 'c' | 'b';
  /** Absent: every number. */
  major?: number;
  minor?: number;
  /** Some of `r`, `w`, `m`; absent: all three. */
  access?: string;
}

export interface OciMemory {
  /** Bytes; -1 is unlimited, here and below. */
  limit?: number;
  reservation?: number;
  /** Memory and swap together. */
  swap?: number;
  swappiness?: number;
  disableOOMKiller?: boolean;
}

export interface OciCpu {
  shares?: number;
  /** Microseconds. */
  quota?: number;
  period?: number;
  cpus?: string;
  mems?: string;
}

export interface OciWeightDevice {
  major: number;
  minor: number;
  weight?: number;
}

export interface OciThrottleDevice {
  major: number;
  minor: number;
  /** Bytes or operations a second. */
  rate: number;
}

export interface OciBlockIO {
  weight?: number;
  weightDevice?: OciWeightDevice[];
  throttleReadBpsDevice?: OciThrottleDevice[];
  throttleWriteBpsDevice?: OciThrottleDevice[];
  throttleReadIOPSDevice?: OciThrottleDevice[];
  throttleWriteIOPSDevice?: OciThrottleDevice[];
}

/** Limits of the container's cgroup. @see runtime-spec config-linux.md, Control groups */
export interface OciResources {
  devices?: OciDeviceRule[];
  memory?: OciMemory;
  cpu?: OciCpu;
  /** -1 and 0 are unlimited. */
  pids?: { limit: number };
  blockIO?: OciBlockIO;
  /** Version 2 only: files of the cgroup and what is written into them. */
  unified?: Record<string, string>;
}

export interface OciSyscallArgument {
  /** Which argument, from 0. */
  index: number;
  value: number;
  /** For SCMP_CMP_MASKED_EQ: `value` is the mask then. */
  valueTwo?: number;
  op: string;
}

export interface OciSyscallRule {
  names: readonly string[];
  action: string;
  errnoRet?: number;
  args?: readonly OciSyscallArgument[] | null;
}

export interface OciSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  flags?: readonly string[];
  syscalls?: readonly OciSyscallRule[];
}

export interface OciLinux {
  namespaces?: OciNamespace[];
  uidMappings?: OciIdMapping[];
  gidMappings?: OciIdMapping[];
  devices?: OciDevice[];
  resources?: OciResources;
  cgroupsPath?: string;
  rootfsPropagation?: string;
  maskedPaths?: string[];
  readonlyPaths?: string[];
  sysctl?: Record<string, string>;
}

export interface OciConfig {
  ociVersion: string;
  root: { path: string; readonly?: boolean };
  mounts?: OciMount[];
  process: OciProcess;
  hostname?: string;
  domainname?: string;
  linux?: OciLinux;
  annotations?: Record<string, string>;
}

export const OCI_RUNTIME_VERSION = '1.2.0';
