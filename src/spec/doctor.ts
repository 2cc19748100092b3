/** What `tsbox doctor` looks at: gathered by `sys/doctor*.ts` and by trying plans, judged by `engine/doctor/`. Types only. */
import type { CgroupMode } from './host.ts';

/** `ok`, or the name of the errno that the kernel refused it with; `untried` where a try was not possible. */
export type Outcome = string;

export interface RootFacts {
  path: string;
  /** The path itself, or the nearest directory above it that is there. */
  at: string;
  /** By name where it has one: `ext4`, `overlay`, `tmpfs`; else its magic number. */
  fileSystem: string;
  writable: boolean;
  /** Do directory entries say what they are? Without this overlayfs refuses the directory. `untried` where nothing may be written. */
  entryTypes: Outcome;
  xattrs: Outcome;
  freeBytes: number;
  freeInodes: number;
}

export interface DoctorFacts {
  uid: number;
  user: string;
  kernel: string;
  machine: string;
  /** System calls by name. */
  calls: Readonly<Record<string, Outcome>>;
  /** Namespaces that can be made, by their names in /proc/self/ns; `user` is in `userNamespaces`. */
  namespaces: Readonly<Record<string, Outcome>>;
  /** Making one, and then mounting in it: security modules allow the one and forbid the other. */
  userNamespaces: { make: Outcome; mount: Outcome };
  overlay: { mount: Outcome; inUserNamespace: Outcome };
  idmappedMounts: Outcome;
  fuse: Outcome;
  /** Loading an eBPF program that decides about devices. */
  deviceProgram: Outcome;
  /** Kernel parameters by their path below /proc/sys; what this kernel does not have is absent. */
  sysctls: Readonly<Record<string, string>>;
  cgroups: {
    mode: CgroupMode;
    /** Controllers of all hierarchies. */
    controllers: readonly string[];
    /** Of version 2, those of the outermost cgroup that was handed over to the caller, and that cgroup: absent when none was. */
    delegated: readonly string[];
    delegatedAt?: string;
    /** A directory where tsbox makes its own. */
    make: Outcome;
    /** A process that is born in a version 2 cgroup. */
    birth: Outcome;
  };
  ids: {
    /** How many ids the caller's lines in /etc/subuid and /etc/subgid give. */
    subuid: number;
    subgid: number;
    /** `ok`, `absent`, or `plain` when the program has neither the setuid bit nor file capabilities. */
    newuidmap: string;
    newgidmap: string;
  };
  /** Where in PATH a program is. */
  tools: Readonly<Record<string, string | undefined>>;
  libraries: Readonly<Record<string, Outcome>>;
  /** Soft and hard; -1 is unlimited. */
  limits: Readonly<Record<'nofile' | 'nproc', readonly [number, number]>>;
  roots: { data: RootFacts; run: RootFacts };
  executor: { path?: string; version?: number; expected: number };
}

/** note: something optional is not there. warning: something will go wrong or be lost. error: `run` does not work. */
export type Level = 'ok' | 'note' | 'warning' | 'error';

export interface Finding {
  /** Never changes: `kernel.openat2`. */
  id: string;
  level: Level;
  /** What was looked at, in a word or two. */
  what: string;
  /** What works, or what does not and what that means. */
  says: string;
  /** What mends it: commands, a line each, or a sentence. */
  fix?: string;
}
