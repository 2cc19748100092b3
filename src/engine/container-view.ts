/**
 * A container's files as it sees them, binds and volumes too, by a descriptor of its root. Of one that runs it is the root of its own
 * mount namespace. One that does not run is mounted in a mount namespace of this process alone, which ends with it: not even a kill
 * leaves something mounted, and nobody else sees it.
 */
import { closeSync, readFileSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { keepMountsPrivate } from '../plan/mounts.ts';
import type { Step } from '../plan/step.ts';
import { hostRoot } from '../plan/userns.ts';
import { interpret, workingDirectory } from '../runtime/interpret.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { CLONE, MOUNT_ATTR } from '../spec/linux.ts';
import { checkThere, readHostConfig } from '../store/containers.ts';
import { driverOf } from '../store/drivers/choose.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { shiftedHome } from '../store/shifted.ts';
import { containerState, foldHeld, mayHaveLeft } from '../store/state.ts';
import { containerDirectory, type Store } from '../store/store.ts';
import { AT_FDCWD, mkdirat, OPEN, openat, openat2, RESOLVE } from '../sys/file.ts';
import { type Lock, tryLock } from '../sys/lock.ts';
import { moveTree, openTree, treeSetattr } from '../sys/mount.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { hostFacts, mapsInUse, unescapeMount } from '../sys/probe.ts';
import { setns } from '../sys/process.ts';
import { cleanUp } from './clean-up.ts';
import { evaluatePath } from './container-path.ts';
import type { Engine } from './open.ts';
import { readyLayer } from './ready-layer.ts';
import { settle } from './settle.ts';
import { mapsOf } from './userns.ts';
import { withSources } from './volume-use.ts';

export interface ContainerView {
  /** The container's root. */
  root: number;
  /** Seen through its own mount namespace. */
  isRunning: boolean;
  /** By which map the owners on disk are those of outside; absent when they are the container's own. */
  owners?: IdMaps;
  /** Directories that show the system and no files: absolute paths in the container. */
  system: ReadonlySet<string>;
  /** At the end of reading, and for what went wrong. @throws ERR_TSBOX_NOT_FOUND when the container has been removed since */
  checkThere(): void;
  close(): void;
}

type Opened = Omit<ContainerView, 'checkThere'>;

const POLL_MS = 20;

/** @throws ERR_TSBOX_NOT_FOUND when a source of a bind is gone, SyscallError. A container that does not run is not started before the
 *  view is closed: a start waits for it. */
export async function openView(engine: Engine, record: ContainerRecord): Promise<ContainerView> {
  const there = { checkThere: () => checkThere(engine.store, record.ID, record.Name.slice(1)) };
  try {
    return { ...(await open(engine, record)), ...there };
  } catch (error) {
    there.checkThere();
    throw error;
  }
}

async function open(engine: Engine, record: ContainerRecord): Promise<Opened> {
  const { store } = engine;
  for (;;) {
    const running = viewRunning(store, record);
    if (running !== undefined) return running;
    const held = tryLock(containerDirectory(store, record.ID));
    if (held === undefined) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS)); // it is being started, removed, or looked at
      continue;
    }
    try {
      await settle(engine, record.ID);
      const state = containerState(store, record);
      if (!state.Running) {
        // A monitor that was killed has left its container's tree mounted, which cannot be mounted twice.
        if (mayHaveLeft(store, record.ID, state)) {
          foldHeld(store, record.ID);
          await cleanUp(engine, record.ID);
        }
        const view = await viewStopped(store, { ...record, MountPoints: withSources(store, record) }, held);
        return {
          ...view,
          close() {
            view.close();
            held.release();
          },
        };
      }
      held.release();
    } catch (error) {
      held.release();
      throw error;
    }
  }
}

/** Until it is ended, what is made in the container is made as its root: an id that its file systems know. Root's rights stay.
 *  @returns the end */
export function asContainerRoot(view: ContainerView): () => void {
  if (view.owners === undefined || !view.isRunning || !isHostRoot()) return () => {};
  const SECBIT_NO_SETUID_FIXUP = 4;
  const as = (ids: { uid: number; gid: number }, securebits: number): Step[] => {
    const set: Step = { op: 'prctl', option: ['PR_SET_SECUREBITS'], value: securebits, why: 'rights stay with root' };
    const become: Step = { op: 'setfsid', ...ids, why: 'new files belong to an id that the container has' };
    return securebits === 0 ? [become, set] : [set, become];
  };
  interpret(as(hostRoot(view.owners), SECBIT_NO_SETUID_FIXUP));
  return () => interpret(as({ uid: 0, gid: 0 }, 0));
}

/** What the kernel makes up. */
const SYSTEM_TYPES = /^(proc|sysfs|cgroup2?|devpts|devtmpfs|mqueue|securityfs|debugfs|tracefs|bpf|efivarfs|pstore)$/;

function viewRunning(store: Store, record: ContainerRecord): Opened | undefined {
  const pid = containerState(store, record).Pid;
  if (pid <= 0) return undefined;
  try {
    const root = openat(AT_FDCWD, `/proc/${pid}/root`, OPEN.PATH | OPEN.DIRECTORY);
    try {
      const owners = mapsInUse(pid);
      const system = systemPlaces(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
      // All of it was that process's, and no later one's with the same number.
      if (containerState(store, record).Pid === pid) {
        return { root, isRunning: true, system, ...(owners !== undefined && { owners }), close: () => closeSync(root) };
      }
    } catch (error) {
      closeSync(root);
      throw error;
    }
    closeSync(root);
    return undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH')) return undefined; // it has just ended
    throw error;
  }
}

function systemPlaces(mountinfo: string): Set<string> {
  const places = new Set<string>(['/dev']);
  for (const line of mountinfo.split('\n')) {
    const [front = '', back = ''] = line.split(' - ');
    const point = front.split(' ')[4];
    if (point !== undefined && SYSTEM_TYPES.test(back.split(' ')[0]!)) places.add(unescapeMount(point));
  }
  return places;
}

/** The layers, with copies where the container's owners cannot be mapped here. */
async function preparedLayer(store: Store, record: ContainerRecord, held: Lock): Promise<RwLayer> {
  const layer = await readyLayer(store, record.ID, held);
  const maps = isHostRoot() ? mapsOf(readHostConfig(store, record.ID)) : undefined;
  if (maps === undefined) return layer;
  const { mapsOwners } = await import('./maps-owners.ts');
  const { needsCopies, shiftLayers } = await import('./shift-layers.ts');
  if (
    !needsCopies(
      store,
      layer,
      maps,
      () => driverOf(store, layer).mapsOwners && mapsOwners(store, hostFacts().kernel, true),
    )
  )
    return layer;
  await shiftLayers(store, layer, maps);
  return rwLayer(store, record.ID);
}

async function viewStopped(store: Store, record: ContainerRecord, held: Lock): Promise<Opened> {
  const layer = await preparedLayer(store, record, held);
  await makeSources(store, record);
  const { owners } = layer;
  const shifted = owners === undefined ? {} : { shifted: { home: shiftedHome(store, owners), ...hostRoot(owners) } };
  const back = privateMounts();
  let root: number | undefined;
  try {
    interpret(driverOf(store, layer).mountSteps({ ...layer, ...shifted, userxattr: !isHostRoot() }));
    root = openat(AT_FDCWD, layer.merged, OPEN.PATH | OPEN.DIRECTORY);
    for (const bind of bindsOf(record)) mountBind(root, bind);
    if (owners === undefined) makeWorkingDirectory(root, record);
    const opened = root;
    return {
      root,
      isRunning: false,
      ...(owners !== undefined && { owners }),
      system: new Set(),
      close() {
        closeSync(opened);
        forget(layer.merged);
        back();
      },
    };
  } catch (error) {
    if (root !== undefined) closeSync(root);
    forget(layer.merged);
    back();
    throw error;
  }
}

/** A source of a bind that is not there is made, or refused, as the start would. */
async function makeSources(store: Store, record: ContainerRecord): Promise<void> {
  const binds = Object.values(record.MountPoints).filter(({ Type }) => Type === 'bind');
  if (binds.every(({ Source }) => isThere(Source))) return;
  const { sourceSteps } = await import('./container-plan.ts');
  const kinds = new Map(binds.map(({ Source }) => [Source, isThere(Source) ? 'directory' : 'absent'] as const));
  interpret(sourceSteps(record, kinds, mapsOf(readHostConfig(store, record.ID))));
}

/** Docker makes it with the container: what is copied into a container that has never run goes there. */
function makeWorkingDirectory(root: number, { Config }: ContainerRecord): void {
  if (Config.WorkingDir === '') return;
  try {
    closeSync(mountPlace(root, Config.WorkingDir, true));
  } catch (error) {
    // Then it is the start that says so.
    if (!(error instanceof TsboxError)) throw error;
  }
}

/** A mount namespace for this thread alone. @returns the way back, after which nothing of it is left */
function privateMounts(): () => void {
  const directory = workingDirectory();
  const before = openat(AT_FDCWD, '/proc/self/ns/mnt', OPEN.RDONLY);
  interpret([
    { op: 'unshare', flags: ['CLONE_NEWNS'], why: 'what is mounted from here on is seen by nobody else' },
    keepMountsPrivate('nor is it passed on'),
  ]);
  return () => {
    try {
      setns(`/proc/self/fd/${before}`, CLONE.CLONE_NEWNS);
      process.chdir(directory);
    } catch (error) {
      // A thread that was started meanwhile shares this one's root and working directory: then the process stays where it is.
      if (!isErrno(error, 'EINVAL')) throw error;
    } finally {
      closeSync(before);
    }
  };
}

/** The place of the mount is there only while something is mounted on it; maybe it could not even be made. */
function forget(place: string): void {
  const onError = { EINVAL: 'skip', ENOENT: 'skip' } as const;
  interpret(
    [
      { op: 'umount', target: place, flags: ['MNT_DETACH'], why: 'the files are not needed any more', onError },
      { op: 'rmdir', path: place, why: 'the mount point is there only while something is mounted on it', onError },
    ],
    { keepGoing: true },
  );
}

interface Bind {
  source: string;
  destination: string;
  readonly: boolean;
}

/** Nearest to the root first. The three files of /etc are there from the first start on. */
function bindsOf(record: ContainerRecord): Bind[] {
  const asked = Object.values(record.MountPoints)
    .filter(({ Type }) => Type !== 'tmpfs')
    .map(({ Source: source, Destination: destination, RW }) => ({ source, destination, readonly: !RW }));
  const own = [
    [record.HostnamePath, '/etc/hostname'],
    [record.HostsPath, '/etc/hosts'],
    [record.ResolvConfPath, '/etc/resolv.conf'],
  ] as const;
  const files = record.HasBeenStartedBefore
    ? own.map(([source, destination]) => ({ source, destination, readonly: false }))
    : [];
  const given = new Set(asked.map(({ destination }) => destination));
  return [...files.filter(({ source, destination }) => !given.has(destination) && isThere(source)), ...asked].sort(
    (a, b) => a.destination.split('/').length - b.destination.split('/').length,
  );
}

function isThere(path: string): boolean {
  return path !== '' && statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function mountBind(root: number, { source, destination, readonly }: Bind): void {
  const stat = statSync(source, { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', `mount ${source} on ${destination}: it does not exist`);
  }
  const [CLONE_TREE, RECURSIVE] = [1, 0x8000];
  const tree = openTree(source, CLONE_TREE | RECURSIVE);
  try {
    if (readonly) treeSetattr(tree, RECURSIVE, MOUNT_ATTR.MOUNT_ATTR_RDONLY, 0, 0);
    const place = mountPlace(root, destination, stat.isDirectory());
    try {
      moveTree(tree, place, destination);
    } finally {
      closeSync(place);
    }
  } catch (error) {
    throw wrapError(`mount ${source} on ${destination}`, error);
  } finally {
    closeSync(tree);
  }
}

/** Where a mount goes, made like the start of the container would. @returns a descriptor */
function mountPlace(root: number, destination: string, isDirectory: boolean): number {
  const path = evaluatePath(root, destination);
  const find = () => openat2(root, path, OPEN.PATH, RESOLVE.IN_ROOT);
  try {
    return find();
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  const parents = path.split('/').filter((part) => part !== '');
  const name = isDirectory ? undefined : parents.pop();
  let at = '/';
  const inParent = <T>(work: (dirfd: number) => T): T => {
    const dirfd = openat2(root, at, OPEN.RDONLY | OPEN.DIRECTORY, RESOLVE.IN_ROOT);
    try {
      return work(dirfd);
    } finally {
      closeSync(dirfd);
    }
  };
  for (const part of parents) {
    try {
      inParent((dirfd) => mkdirat(dirfd, part, 0o755));
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    at = posix.join(at, part);
  }
  if (name !== undefined) {
    closeSync(inParent((dirfd) => openat(dirfd, name, OPEN.WRONLY | OPEN.CREAT | OPEN.NOFOLLOW, 0o644)));
  }
  return find();
}
