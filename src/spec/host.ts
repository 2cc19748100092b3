/** What a plan needs to know of the host; gathered by `sys/probe.ts`, so that compiling stays pure. */

export interface CgroupHierarchy {
  /** Where the host has it: `/sys/fs/cgroup/memory`. */
  mount: string;
  version: 1 | 2;
  /** Version 1: `['memory']`, `['name=systemd']`, as mount(2) takes them. Version 2: empty. */
  controllers: readonly string[];
}

/** unified: version 2 only. hybrid: version 1 controllers and a version 2 hierarchy. legacy: version 1 only. */
export type CgroupMode = 'unified' | 'hybrid' | 'legacy' | 'none';

export interface HostFacts {
  uid: number;
  /** Version of the kernel: 100 times the first number and the second, 601 for 6.1. */
  kernel: number;
  cgroupMode: CgroupMode;
  hierarchies: readonly CgroupHierarchy[];
  /** A version 1 cpuset takes nobody in before it has these; read from the hierarchy's root. */
  cpuset?: { cpus: string; mems: string };
  /** Names of the capabilities in the caller's bounding set. */
  capabilities: readonly string[];
}
