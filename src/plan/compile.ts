/**
 * From an OCI configuration and the host's facts to a plan. Pure: the same input gives the same plan, and nothing is looked up here.
 * Topics have their own files; this one only knows their order.
 */
import type { HostFacts } from '../spec/host.ts';
import { type IdMaps, toHost } from '../spec/id-map.ts';
import type { CLONE } from '../spec/linux.ts';
import type { OciConfig, OciDevice, OciNamespaceType } from '../spec/oci-runtime.ts';
import { cgroupCleanup, cgroupEntry, cgroupKill, cgroupSetup, deviceRuleSteps, memoryEventSteps } from './cgroup.ts';
import {
  credentialSteps,
  execSteps,
  hideSteps,
  keyringSteps,
  lastSteps,
  limitSteps,
  oomScoreSteps,
  type SeccompFilter,
} from './credentials.ts';
import { deviceBinds, deviceSteps } from './devices.ts';
import { maskSteps } from './masks.ts';
import { type MonitorInput, monitorCleanup, monitorSteps } from './monitor.ts';
import {
  type MappedSteps,
  type Mapping,
  type MountSteps,
  makeDirectories,
  mappedCleanup,
  mountSteps,
  type PathKind,
  treeAsSlaves,
} from './mounts.ts';
import type { Plan, Step } from './step.ts';
import { allowedSteps, becomeRootSteps, ownMaps, userNamespaceSteps } from './userns.ts';

export interface CompileInput {
  config: OciConfig;
  facts: HostFacts;
  /** What stands on the host at the sources of binds, and at the paths to be masked. */
  kinds: ReadonlyMap<string, PathKind>;
  /** Mount destinations that surely exist in the root. */
  readyMountPoints: ReadonlySet<string>;
  /** The root is a mount already, as an overlay is; a plain directory is bound to itself first. */
  rootIsMount: boolean;
  /** The compiled filter; absent for none. */
  seccomp?: SeccompFilter;
  /** Host side, when the container's own user namespace has its maps: the root file system, when its layers are mapped by them. */
  outside?: readonly Step[];
  /** For binds with maps of their own: where they may be mounted for a moment, and whose maps. */
  mapping?: Mapping;
  /** In the new process's mount namespace: the root file system, when whoever starts it may not mount it on the host. */
  inside?: readonly Step[];
  monitor: MonitorInput;
  /** Host side, first: files of the container, the root file system's mount. */
  setup: readonly Step[];
  /** Host side, when everything has ended: the reverse of `setup`. */
  cleanup: readonly Step[];
  /** Where to keep what the kernel has counted about memory; absent when nobody will read it. */
  memoryEvents?: string;
  /** What its networks add, besides `setup`; absent without any. */
  network?: NetworkLists;
}

/** Steps of a container's networks, by their places. See network.ts. */
export interface NetworkLists {
  /** By the monitor, before there is a process. */
  before: readonly Step[];
  /** By the new process, when the loopback of its network namespace is up. */
  inside: readonly Step[];
  cleanup: readonly Step[];
  /** When the run directory is gone. */
  last: readonly Step[];
}

const CLONE_FLAGS: Readonly<Record<OciNamespaceType, keyof typeof CLONE>> = {
  pid: 'CLONE_NEWPID',
  network: 'CLONE_NEWNET',
  mount: 'CLONE_NEWNS',
  ipc: 'CLONE_NEWIPC',
  uts: 'CLONE_NEWUTS',
  user: 'CLONE_NEWUSER',
  cgroup: 'CLONE_NEWCGROUP',
  time: 'CLONE_NEWTIME',
};

/** Namespaces that exist are joined, the others are made, in one call; the PID namespace then needs a first process.
 *  A user namespace of its own is made before: see userns.ts. */
function namespaceSteps(config: OciConfig): Step[] {
  const namespaces = (config.linux?.namespaces ?? []).filter(({ type, path }) => type !== 'user' || path !== undefined);
  const steps: Step[] = [];
  for (const { type, path } of namespaces) {
    if (path === undefined) continue;
    steps.push({ op: 'setns', path, type: [CLONE_FLAGS[type]], why: `share the ${type} namespace of another process` });
  }
  const own = ownMaps(config) !== undefined;
  const made = namespaces
    .filter(({ type, path }) => path === undefined && !(own && type === 'ipc'))
    .map((one) => CLONE_FLAGS[one.type]);
  if (made.length > 0) {
    steps.push({
      op: 'unshare',
      flags: made,
      why: 'the container sees only what is its own: one flag a namespace',
      see: 'namespaces(7)',
    });
  }
  if (namespaces.some((one) => one.type === 'pid')) {
    steps.push({
      op: 'fork',
      why: 'a PID namespace begins with the next process that is made: this one is number 1',
      see: 'pid_namespaces(7)',
    });
  }
  return steps;
}

/** The new root comes onto `/` together with the old one, which is taken off as soon as procfs and sysfs are there: mounting those in a user
 *  namespace needs the host's still in sight. While it lies on top, `..` at the root leads into it. */
function standInRoot(path: string, rootIsMount: boolean): Step[] {
  const bind: Step = {
    op: 'mount',
    source: path,
    target: path,
    type: '',
    flags: ['MS_BIND', 'MS_REC'],
    data: '',
    why: 'pivot_root takes only a mount as the new root',
  };
  return [...(rootIsMount ? [] : [bind]), { op: 'chdir', path, why: 'stand in the new root' }];
}

function pivot(): Step {
  return {
    op: 'pivot_root',
    root: '.',
    old: '.',
    why: 'the new root becomes /, the old one lies on top of it until it is unmounted',
    see: 'pivot_root(2), pivot_root(".", ".")',
  };
}

const KEEP_TO_ITSELF: Step = {
  op: 'mount',
  source: '',
  target: '/',
  type: '',
  flags: ['MS_REC', 'MS_SLAVE'],
  data: '',
  why: 'mounts made from here on do not show on the host, but below a bind that was asked to be shared',
  see: 'mount_namespaces(7), shared subtrees',
};

/** Where tsbox itself is in a chroot(2): its root need not be a mount, and pivot_root would change it alone, not the root of the mount
 *  namespace, into which `exec` comes, and a process that leaves the container's root as one leaves a chroot. So it goes there first; the
 *  new root, whose path ends with the chroot, it has in hand. */
function enterFromChroot(path: string, slot: number): Step[] {
  return [
    {
      op: 'open_tree',
      slot,
      path,
      flags: ['OPEN_TREE_CLONE', 'AT_RECURSIVE'],
      why: 'take hold of the new root',
    },
    treeAsSlaves(slot, 'what is mounted in there does not show on the host'),
    {
      op: 'setns',
      path: '/proc/self/ns/mnt',
      type: ['CLONE_NEWNS'],
      why: 'tsbox is in a chroot: out of it, to the root of the mount namespace, which is to become the container’s',
      see: 'setns(2)',
    },
    KEEP_TO_ITSELF,
    { op: 'move_mount', slot, target: '/', flags: [], why: 'the new root lies on the old one' },
    { op: 'chdir', path: '/..', why: 'stand in what lies on the root' },
    pivot(),
  ];
}

const LEAVE_OLD_ROOT: Step = {
  op: 'umount',
  target: '.',
  flags: ['MNT_DETACH'],
  why: "the host's files are gone for good; no path that an image or another container has a say in is walked before",
};

function readOnlyRoot(config: OciConfig): Step[] {
  if (config.root.readonly !== true) return [];
  return [
    {
      op: 'mount_setattr',
      target: '/',
      at: [],
      set: ['MOUNT_ATTR_RDONLY'],
      clear: [],
      propagation: [],
      // A remount would take off all others, which a user namespace may not.
      why: 'the root was asked to be read-only; its other flags stay',
    },
  ];
}

function nameSteps(config: OciConfig, network: readonly Step[] = []): Step[] {
  const steps: Step[] = [];
  const own = (type: OciNamespaceType) =>
    config.linux?.namespaces?.some((one) => one.type === type && !one.path) === true;
  if (own('uts') && config.hostname !== undefined) {
    steps.push({ op: 'sethostname', name: config.hostname, why: 'the name in the new UTS namespace' });
  }
  if (own('uts') && config.domainname !== undefined && config.domainname !== '') {
    steps.push({ op: 'setdomainname', name: config.domainname, why: 'the domain in the new UTS namespace' });
  }
  if (own('network')) {
    steps.push({ op: 'link_up', name: 'lo', why: 'a new network namespace has only a loopback, and that is down' });
    steps.push(...network);
  }
  for (const [name, value] of Object.entries(config.linux?.sysctl ?? {})) {
    const path = `sys/${name.replaceAll('.', '/')}`;
    steps.push({ op: 'write_proc', path, data: value, why: 'a kernel parameter of the new namespaces' });
  }
  return steps;
}

function terminalSteps(config: OciConfig, slot: number): Step[] {
  const { process } = config;
  const session: Step = { op: 'setsid', why: 'a session of its own: no signal of another terminal reaches it' };
  if (process.terminal !== true) return [session];
  const { height = 0, width = 0 } = process.consoleSize ?? {};
  return [
    session,
    {
      op: 'pty',
      path: '/dev/pts/ptmx',
      rows: height,
      columns: width,
      why: "a terminal from the container's own devpts; its other end goes to the monitor",
    },
    { op: 'write', path: '/dev/console', data: '', flags: ['O_CREAT'], mode: 0o600, why: 'a file to mount on' },
    { op: 'open_device', slot, path: '/dev/pts/0', major: 136, minor: 0, why: 'that terminal, the first one here' },
    { op: 'move_mount', slot, target: '/dev/console', flags: [], why: 'the console is that terminal' },
  ];
}

/** What needs a right that only the host's root has, and so comes before the container's own user namespace. The root file system is
 *  then found from the directory that it is in: the way to it may be open to the host's root only. */
function beforeUserNamespace(config: OciConfig, maps: IdMaps, open: readonly Step[]): Step[] {
  const { process, root } = config;
  const uid = toHost(maps.uids, process.user.uid);
  const stdio: Step[] =
    process.terminal === true || uid === undefined
      ? []
      : [{ op: 'chown_stdio', uid, why: 'the user may open /dev/stdout again; by the number that he has on the host' }];
  return [
    ...open,
    ...limitSteps(process).filter(isRaised),
    ...stdio,
    { op: 'chdir', path: parentOf(root.path), why: 'stand beside the new root while the way to it is open' },
  ];
}

/** Above this a limit may be one that only the host's root can set. Lower ones are set last, so that they do not hinder the steps. */
const HIGH_LIMIT = 1024;

function isRaised(step: Step): boolean {
  return step.op === 'rlimit' && (step.hard === -1 || step.hard >= HIGH_LIMIT);
}

const parentOf = (path: string) => path.slice(0, path.lastIndexOf('/')) || '/';
const baseOf = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** The list that the new process runs, from the host's view to the command. */
export function compileInit(input: Omit<CompileInput, 'monitor' | 'setup' | 'cleanup'>): Step[] {
  const { config, facts, kinds } = input;
  const linux = config.linux ?? {};
  const maps = ownMaps(config);
  const ownNamespace = linux.namespaces?.some(({ type }) => type === 'cgroup') === true;
  const ownCgroup = ownNamespace ? undefined : linux.cgroupsPath;
  const mounts = mountSteps(config.mounts ?? [], facts, kinds, input.readyMountPoints, ownCgroup, input.mapping);
  const ownDev = (config.mounts ?? []).some((mount) => mount.destination === '/dev' && mount.type === 'tmpfs');
  const devices = ownDev ? devicesOf(linux.devices ?? [], kinds, maps, mounts.slots) : { open: [], attach: [] };
  const slot = mounts.slots + devices.open.length;
  const masks = maskSteps(linux.maskedPaths ?? [], linux.readonlyPaths ?? [], kinds, slot);
  const open = [...mounts.open, ...devices.open];
  // Who is not the host's root has no right to lose with a user namespace: he gains those of its root.
  const root = facts.uid === 0;
  const early = maps !== undefined && root;
  return [
    { op: 'umask', mask: 0, why: 'modes below are meant exactly' },
    ...oomScoreSteps(config.process),
    // The files of /proc/PID are then the host root's, and a user namespace's maps are for its own user to write.
    ...(maps === undefined ? hideSteps() : []),
    ...(linux.cgroupsPath === undefined ? [] : cgroupEntry(linux.cgroupsPath, facts).join),
    ...(early ? beforeUserNamespace(config, maps, open) : []),
    ...(maps === undefined ? [] : userNamespaceSteps(maps, root, [...(input.outside ?? []), ...mounts.mapped.before])),
    ...namespaceSteps(config),
    ...mappedOpen(mounts.mapped),
    ...(early ? [] : open),
    ...(facts.chrooted === true && maps === undefined
      ? enterFromChroot(config.root.path, slot + masks.open.length + 1)
      : [KEEP_TO_ITSELF, ...(input.inside ?? []), ...enterRoot(config, input.rootIsMount, maps, early)]),
    ...mounts.views,
    LEAVE_OLD_ROOT,
    ...mounts.system,
    ...devices.attach,
    ...masks.open,
    ...terminalSteps(config, slot + masks.open.length),
    ...nameSteps(config, input.network?.inside),
    ...mounts.others,
    ...masks.cover,
    ...readOnlyRoot(config),
    ...makeDirectories(config.process.cwd, 'the working directory is made when the image lacks it'),
    { op: 'chdir', path: config.process.cwd, why: 'the working directory' },
    ...keyringSteps(),
    ...limitSteps(config.process),
    { op: 'chown_stdio', uid: config.process.user.uid, why: 'the user may open /dev/stdout again' },
    ...allowedSteps(credentialSteps(config.process, input.seccomp), maps),
    ...lastSteps(config.process, input.seccomp),
    ...execSteps(config.process),
  ];
}

/** The places are of use until the process has its own hold of what is mounted there. */
function mappedOpen({ open, after }: MappedSteps): Step[] {
  if (open.length === 0) return [];
  return [...open, { op: 'outside', list: after, why: 'the mapped mounts need their places on the host no more' }];
}

function devicesOf(
  devices: readonly OciDevice[],
  kinds: ReadonlyMap<string, PathKind>,
  maps: IdMaps | undefined,
  slot: number,
): MountSteps {
  return maps === undefined ? { open: [], attach: deviceSteps(devices, kinds) } : deviceBinds(devices, kinds, slot);
}

/** A mount that was made before the user namespace is locked in it, and pivot_root takes none that is: hence the bind. */
function enterRoot(config: OciConfig, rootIsMount: boolean, maps: IdMaps | undefined, early: boolean): Step[] {
  if (maps === undefined) return [...standInRoot(config.root.path, rootIsMount), pivot()];
  const ipc = (config.linux?.namespaces ?? []).some(({ type, path }) => type === 'ipc' && path === undefined);
  const stand = early ? standInRoot(baseOf(config.root.path), false) : standInRoot(config.root.path, rootIsMount);
  return [...stand, ...becomeRootSteps(ipc), pivot()];
}

/** Ends the PID namespace with the container? */
function ownsPids(config: OciConfig): boolean {
  return config.linux?.namespaces?.some(({ type, path }) => type === 'pid' && path === undefined) === true;
}

/** The whole plan of a container.
 *  @throws ERR_TSBOX_UNSUPPORTED for a limit whose controller this host lacks */
export function compilePlan(input: CompileInput): Plan {
  const { facts, memoryEvents } = input;
  const { before: opened = [], cleanup: closed = [], last = [] } = input.network ?? {};
  const { cgroupsPath: path, resources } = input.config.linux ?? {};
  const init = compileInit(input);
  if (path === undefined) {
    return {
      setup: input.setup,
      monitor: monitorSteps(input.monitor, opened, init),
      cleanup: [...closed, ...input.cleanup, ...monitorCleanup(input.monitor), ...last],
    };
  }
  const before = [...opened, ...deviceRuleSteps(path, facts, resources?.devices), ...cgroupEntry(path, facts).birth];
  return {
    setup: [...input.setup, ...cgroupSetup(path, facts, resources)],
    monitor: monitorSteps(input.monitor, before, init),
    cleanup: [
      ...(ownsPids(input.config) ? [] : cgroupKill(path, facts)),
      ...memoryEventSteps(path, facts, memoryEvents, input.monitor.events),
      ...cgroupCleanup(path, facts),
      ...mappedCleanup(input.config.mounts ?? [], input.mapping),
      ...closed,
      ...input.cleanup,
      ...monitorCleanup(input.monitor),
      ...last,
    ],
  };
}
