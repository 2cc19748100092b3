/**
 * From the configuration's mounts to steps. A bind's source is opened while the host can still be seen and attached after pivot_root,
 * so no path of the image can lead out to the host, and no path of the host is resolved inside the image. What a bind forbids is said before
 * it is attached: another container that shares a directory may turn the path to it into a symlink at any moment. Pure.
 * @see runtime-spec config.md, Mounts
 */
import type { CgroupHierarchy, HostFacts } from '../spec/host.ts';
import type { MOUNT_ATTR } from '../spec/linux.ts';
import { type MountOptions, parseMountOptions } from '../spec/mount-options.ts';
import type { OciMount } from '../spec/oci-runtime.ts';
import type { Step, StepOf } from './step.ts';
import { type Text, text } from './text.ts';

export type PathKind = 'directory' | 'file' | 'absent';

export interface MountSteps {
  /** While the host is still visible. */
  open: Step[];
  /** With the container's root as `/`. */
  attach: Step[];
}

export interface AllMountSteps {
  open: Step[];
  /** procfs and sysfs: in a user namespace the kernel gives them only to who still has the host's in sight. */
  views: Step[];
  /** Up to the last of /proc, /dev and /dev/pts: what stands there now was made by the steps before. */
  system: Step[];
  /** The others: from here on paths may lead through directories that somebody else changes meanwhile. */
  others: Step[];
  /** Binds whose files have the owners that the container's user namespace gives them. */
  mapped: MappedSteps;
  /** Slots that are taken: 0 to `slots` - 1. */
  slots: number;
}

/** Only the host's root may map, which the container's process is no more once its user namespace is there. */
export interface MappedSteps {
  /** On the host, when the user namespace has its maps: each gets a place on which it is mounted, mapped. */
  before: Step[];
  /** In the new mount namespace: takes hold of what is there. */
  open: Step[];
  /** On the host again: the places go. */
  after: Step[];
}

/** How mounts are mapped. */
export interface Mapping {
  /** The beginning of the path of places on the host. */
  place: Text;
  /** `/proc/PID/ns/user` of a process in the user namespace. */
  userns: Text;
}

type MountAttr = keyof typeof MOUNT_ATTR;

const ATTRS: Readonly<Record<string, MountAttr>> = {
  MS_RDONLY: 'MOUNT_ATTR_RDONLY',
  MS_NOSUID: 'MOUNT_ATTR_NOSUID',
  MS_NODEV: 'MOUNT_ATTR_NODEV',
  MS_NOEXEC: 'MOUNT_ATTR_NOEXEC',
  MS_NOATIME: 'MOUNT_ATTR_NOATIME',
  MS_NODIRATIME: 'MOUNT_ATTR_NODIRATIME',
  MS_STRICTATIME: 'MOUNT_ATTR_STRICTATIME',
  MS_NOSYMFOLLOW: 'MOUNT_ATTR_NOSYMFOLLOW',
};

/** What is mounted in this mount namespace from here on is not passed on, nor is anything passed to it. @see mount_namespaces(7) */
export function keepMountsPrivate(why: string): Step {
  return { op: 'mount', source: '', target: '/', type: '', flags: ['MS_REC', 'MS_PRIVATE'], data: '', why };
}

/** `mkdir` for each directory on the way to `path`, the last one included; what is there already is left alone, and for what is
 *  surely there (`ready`) there is no step. */
export function makeDirectories(path: string, why: string, ready: ReadonlySet<string> = new Set()): Step[] {
  const steps: Step[] = [];
  let at = '';
  for (const part of path.split('/').filter((one) => one !== '')) {
    at += `/${part}`;
    if (!ready.has(at)) steps.push({ op: 'mkdir', path: at, mode: 0o755, why, onError: { EEXIST: 'skip' } });
  }
  return steps;
}

function makeMountPoint(destination: string, kind: PathKind, ready: ReadonlySet<string>): Step[] {
  if (ready.has(destination)) return [];
  const why = `a mount needs something to stand on: ${destination}`;
  if (kind !== 'file') return makeDirectories(destination, why, ready);
  const parent = destination.slice(0, destination.lastIndexOf('/'));
  // What is there already will do, be it a fifo, a socket or a device.
  const onError = { EROFS: 'skip', ENXIO: 'skip', EPERM: 'skip' } as const;
  return [
    ...makeDirectories(parent, why, ready),
    { op: 'write', path: destination, data: '', flags: ['O_CREAT', 'O_NONBLOCK'], mode: 0o644, why, onError },
  ];
}

/** Mounts come into the tree from where it was copied, and none go there. */
export function treeAsSlaves(slot: number, why: string): StepOf<'tree_setattr'> {
  return { op: 'tree_setattr', slot, at: ['AT_RECURSIVE'], set: [], clear: [], propagation: ['MS_SLAVE'], why };
}

/** For a propagation that is not for what is mounted below the source: that stayed the host's own, and mounts went from there to the host. */
function belowAsSlaves(slot: number): Step {
  const why = 'what is mounted in there already is not passed on to the host either';
  return { ...treeAsSlaves(slot, why), see: 'mount_namespaces(7), shared subtrees' };
}

function bindSteps(mount: OciMount, options: MountOptions, slot: number): MountSteps {
  const { destination, source = '' } = mount;
  const attrs = options.flags.map((flag) => ATTRS[flag]).filter((attr) => attr !== undefined);
  const propagation = options.propagation ?? { type: 'MS_PRIVATE' as const, recursive: options.recursive };
  const open: Step[] = [
    {
      op: 'open_tree',
      slot,
      path: source,
      flags: options.recursive ? ['OPEN_TREE_CLONE', 'AT_RECURSIVE'] : ['OPEN_TREE_CLONE'],
      why: `take hold of ${source} while the host's files can still be seen`,
    },
    ...(options.recursive && !propagation.recursive && propagation.type !== 'MS_SHARED' ? [belowAsSlaves(slot)] : []),
    {
      op: 'tree_setattr',
      slot,
      at: propagation.recursive ? ['AT_RECURSIVE'] : [],
      set: [],
      clear: [],
      propagation: [propagation.type],
      why: 'who sees the mounts that are made below it later',
      see: 'mount_namespaces(7), shared subtrees',
    },
  ];
  if (attrs.length > 0) {
    open.push({
      op: 'tree_setattr',
      slot,
      at: options.recursive ? ['AT_RECURSIVE'] : [],
      set: attrs,
      clear: [],
      propagation: [],
      why: 'a bind mount takes its source as it is; what is forbidden here is said before anybody can reach it',
    });
  }
  const attach: Step = {
    op: 'move_mount',
    slot,
    target: destination,
    flags: ['MOVE_MOUNT_T_SYMLINKS'],
    why: `${destination} shows ${source}`,
  };
  return { open, attach: [attach] };
}

/** A place on the host for the mapped bind, and back. */
function mappedBind(mount: OciMount, slot: number, place: Text, userns: Text): Pick<MappedSteps, 'before' | 'open'> {
  const { destination, source = '' } = mount;
  return {
    before: [
      {
        op: 'open_tree',
        slot,
        path: source,
        flags: ['OPEN_TREE_CLONE'],
        why: `${source} once more, as a mount of its own`,
      },
      { op: 'idmap', slot, userns, why: 'seen through it, the files have the owners that the container gives them' },
      { op: 'mkdir', path: place, mode: 0o700, why: 'a place for that mount', onError: { EEXIST: 'skip' } },
      {
        op: 'move_mount',
        slot,
        target: place,
        flags: [],
        why: `where the container's process finds it for ${destination}`,
      },
    ],
    open: [{ op: 'open_tree', slot, path: place, flags: ['OPEN_TREE_CLONE'], why: `take hold of ${source}, mapped` }],
  };
}

/** Takes the places of mapped mounts away; also those that are not there. */
export function mappedCleanup(mounts: readonly OciMount[], mapping: Mapping | undefined): Step[] {
  if (mapping === undefined) return [];
  return mounts
    .filter(({ uidMappings }) => uidMappings !== undefined)
    .flatMap((_, index) => takeAwayPlace(text`${mapping.place}-${String(index)}`));
}

/** A mount and the directory that it is on. */
export function takeAwayPlace(target: Text): Step[] {
  const onError = { EINVAL: 'skip', ENOENT: 'skip' } as const;
  return [
    {
      op: 'umount',
      target,
      flags: ['MNT_DETACH'],
      why: 'the container has its own hold of what is mounted here',
      onError,
    },
    { op: 'rmdir', path: target, why: 'its place', onError: { ENOENT: 'skip' } },
  ];
}

const WHY: Readonly<Record<string, string>> = {
  proc: 'processes of the new PID namespace, and only those',
  sysfs: "the kernel's devices, with the network interfaces of the new namespace",
  devpts: 'terminals of its own: no number here names a terminal of the host',
  mqueue: 'POSIX message queues of the new IPC namespace',
  cgroup2: 'the cgroup namespace makes the own cgroup look like the root',
};

function plainSteps(mount: OciMount, options: MountOptions): Step[] {
  const type = mount.type ?? 'none';
  return [
    {
      op: 'mount',
      source: mount.source ?? type,
      target: mount.destination,
      type,
      flags: options.flags,
      data: options.data,
      why: WHY[type] ?? `${type} at ${mount.destination}`,
    },
  ];
}

/** `cpu -> cpu,cpuacct`: a hierarchy of several controllers is found under the name of each. */
function controllerLinks(destination: string, directory: string): Step[] {
  const name = directory.slice(directory.lastIndexOf('/') + 1);
  if (!name.includes(',')) return [];
  return name.split(',').map((controller) => ({
    op: 'symlink',
    target: name,
    path: `${destination}/${controller}`,
    why: `${controller} shares a hierarchy with other controllers`,
    onError: { EEXIST: 'skip' },
  }));
}

/** Without a cgroup namespace each hierarchy would show all of the host's: the container's own directories are bound instead. */
interface OwnCgroups {
  /** The path below each hierarchy. */
  path: string;
  /** The first free slot. */
  slot: number;
}

function boundCgroup(one: CgroupHierarchy, target: string, flags: readonly string[], own: OwnCgroups): MountSteps {
  const slot = own.slot++;
  const path = `${one.mount}${own.path}`;
  const set = flags.map((flag) => ATTRS[flag]).filter((attr) => attr !== undefined);
  const at = { target, at: [], set, clear: [], propagation: [] };
  return {
    open: [{ op: 'open_tree', slot, path, flags: ['OPEN_TREE_CLONE'], why: 'take hold of the own cgroup' }],
    attach: [
      { op: 'move_mount', slot, target, flags: [], why: 'the own cgroup, by its path on the host' },
      { op: 'mount_setattr', ...at, why: 'a bind takes its source as it is' },
    ],
  };
}

/** A version 2 hierarchy as it is; version 1 hierarchies side by side on a small tmpfs, as hosts have them. */
function cgroupSteps(mount: OciMount, options: MountOptions, facts: HostFacts, own?: OwnCgroups): MountSteps {
  const { destination } = mount;
  const flags = options.flags.filter((flag) => flag !== 'MS_RDONLY');
  const readonly: Step = {
    op: 'mount_setattr',
    target: destination,
    at: ['AT_RECURSIVE'],
    set: ['MOUNT_ATTR_RDONLY'],
    clear: [],
    propagation: [],
    why: 'limits are to be seen and not to be changed from inside',
  };
  const end = options.readonly ? [readonly] : [];
  const mountOne = (one: CgroupHierarchy, target: string): Step => ({
    op: 'mount',
    source: /^name=(.+)/.exec(one.controllers[0] ?? '')?.[1] ?? 'cgroup',
    target,
    type: one.version === 2 ? 'cgroup2' : 'cgroup',
    flags,
    data: one.controllers.join(','),
    why: WHY['cgroup2'] ?? '',
    see: 'cgroup_namespaces(7)',
  });
  if (facts.cgroupMode === 'none') return { open: [], attach: [] };
  const open: Step[] = [];
  const [only] = facts.hierarchies;
  if (facts.cgroupMode === 'unified' && only !== undefined) {
    return { open, attach: [mountOne(only, destination), ...end] };
  }
  const steps: Step[] = [
    {
      op: 'mount',
      source: 'tmpfs',
      target: destination,
      type: 'tmpfs',
      flags,
      data: 'mode=755',
      why: 'version 1 has a hierarchy for each controller: a directory to hold them',
    },
  ];
  for (const one of facts.hierarchies) {
    const target = `${destination}/${one.mount.slice(one.mount.lastIndexOf('/') + 1)}`;
    steps.push({
      op: 'mkdir',
      path: target,
      mode: 0o755,
      why: 'a place for one hierarchy',
      onError: { EEXIST: 'skip' },
    });
    if (own !== undefined) {
      const bound = boundCgroup(one, target, flags, own);
      open.push(...bound.open);
      steps.push(...bound.attach);
    } else steps.push(mountOne(one, target));
    steps.push(...controllerLinks(destination, target));
  }
  return { open, attach: [...steps, ...end] };
}

/** Is it procfs or sysfs, and does no mount before it change where it belongs? */
function isView(mounts: readonly OciMount[], index: number): boolean {
  const { type, destination = '' } = mounts[index] ?? {};
  const below = (one: OciMount) => `${destination}/`.startsWith(one.destination === '/' ? '/' : `${one.destination}/`);
  return (type === 'proc' || type === 'sysfs') && !mounts.slice(0, index).some(below);
}

/** What devices, the terminal, the names and the masks need. */
const KERNEL_MOUNTS: ReadonlySet<string> = new Set(['/proc', '/dev', '/dev/pts']);

/** Steps for all mounts of a configuration, in their order. `kinds` says what stands at each bind's source on the host; `ready` names
 *  destinations that surely exist (the init layer made them). `ownCgroup` is the path of the container's cgroups when it has no cgroup
 *  namespace. `mapping` is for mounts with maps of their own; without it they are as they are. */
export function mountSteps(
  mounts: readonly OciMount[],
  facts: HostFacts,
  kinds: ReadonlyMap<string, PathKind>,
  ready: ReadonlySet<string>,
  ownCgroup?: string,
  mapping?: Mapping,
): AllMountSteps {
  const mapped: MappedSteps = { before: [], open: [], after: mappedCleanup(mounts, mapping) };
  const all: AllMountSteps = { open: [], views: [], system: [], others: [], mapped, slots: 0 };
  let places = 0;
  const split = mounts.findLastIndex(({ destination }) => KERNEL_MOUNTS.has(destination));
  for (const [index, mount] of mounts.entries()) {
    const attach = isView(mounts, index) ? all.views : index <= split ? all.system : all.others;
    const options = parseMountOptions(mount.options ?? []);
    const bind = options.bind || mount.type === 'bind';
    const kind = bind ? (kinds.get(mount.source ?? '') ?? 'directory') : 'directory';
    if (mount.type === 'cgroup' && facts.cgroupMode === 'none') continue;
    attach.push(...makeMountPoint(mount.destination, kind, ready));
    if (bind) {
      const slot = all.slots++;
      const steps = bindSteps(mount, options, slot);
      if (mapping !== undefined && mount.uidMappings !== undefined) {
        const { before, open } = mappedBind(mount, slot, text`${mapping.place}-${String(places++)}`, mapping.userns);
        mapped.before.push(...before);
        mapped.open.push(...open, ...steps.open.slice(1));
      } else all.open.push(...steps.open);
      attach.push(...steps.attach);
    } else if (mount.type === 'cgroup') {
      const own = ownCgroup === undefined ? undefined : { path: ownCgroup, slot: all.slots };
      const steps = cgroupSteps(mount, options, facts, own);
      all.slots = own?.slot ?? all.slots;
      all.open.push(...steps.open);
      attach.push(...steps.attach);
    } else attach.push(...plainSteps(mount, options));
  }
  return all;
}
