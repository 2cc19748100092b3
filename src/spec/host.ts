/** What a plan needs to know of the host; gathered by `sys/probe.ts`, so that compiling stays pure. */

export interface CgroupHierarchy {
  /** Where the host has it: `/sys/fs/cgroup/memory`. */
  mount: string;
  version: 1 | 2;
  /** Version 1: `['memory']`, `['name=systemd']`, as mount(2) takes them. Version 2: empty. */
  controllers: readonly string[];
  /** Handed over to an ordinary user: `mount` is then the cgroup in which his containers get theirs, and paths begin there. */
  delegated?: true;
}

/** unified: version 2 only. hybrid: version 1 controllers and a version 2 hierarchy. legacy: version 1 only. */
export type CgroupMode = 'unified' | 'hybrid' | 'legacy' | 'none';

/** A cgroup of version 2 above the container's own. */
export interface CgroupLevel {
  /** Absolute. */
  directory: string;
  /** What cgroup.subtree_control has: controllers of the cgroups below it. */
  enabled: readonly string[];
  /** Processes are in it itself, and it is not the kernel's own root, so it cannot hand controllers down. */
  occupied?: boolean;
}

/** What is known of the place where the container's cgroups are made. Read when version 2 has the controllers, when a limit or another
 *  parent was asked for; else nothing needs to be known. */
export interface CgroupFacts {
  /** Version 2: controllers that the outermost level can hand down. */
  available: readonly string[];
  /** Version 2: from the outermost cgroup that tsbox may change down to the parent, as far as they exist. */
  levels: readonly CgroupLevel[];
  /** Directories that have to be made before the container's own, outermost first. */
  missing: readonly string[];
  /** Files that not every kernel has: `blkio.bfq.weight`, `io.weight`, `io.bfq.weight`. */
  files: ReadonlySet<string>;
  /** Ordinary users: the outermost cgroup that was handed over to them, if one was. */
  base?: string;
}

/** What this host can limit, as Docker asks. */
export interface LimitSupport {
  memory: boolean;
  swap: boolean;
  reservation: boolean;
  swappiness: boolean;
  oomKillDisable: boolean;
  pids: boolean;
  shares: boolean;
  quota: boolean;
  cpuset: boolean;
  weight: boolean;
  weightDevice: boolean;
  throttle: boolean;
  /** How many processors there are. */
  processors: number;
  /** `0-3` */
  cpus: string;
  mems: string;
}

export interface HostFacts {
  uid: number;
  /** Version of the kernel: 100 times the first number and the second, 601 for 6.1. */
  kernel: number;
  /** By the hierarchies below. */
  cgroupMode: CgroupMode;
  /** By what is mounted, whoever may use it. */
  hostMode: CgroupMode;
  /** Those in which the caller may make cgroups. */
  hierarchies: readonly CgroupHierarchy[];
  /** A version 1 cpuset takes nobody in before it has these; read from the hierarchy's root. */
  cpuset?: { cpus: string; mems: string };
  cgroup?: CgroupFacts;
  /** Names of the capabilities in the caller's bounding set. */
  capabilities: readonly string[];
  /** The caller, root, may be in a chroot(2). */
  chrooted?: true;
}
