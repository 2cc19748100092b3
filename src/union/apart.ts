/**
 * A union whose process is not in the mount namespace that it is mounted in. A process keeps its namespace, with all that is mounted
 * there: one that serves a mount of its own namespace would keep that mount, and so itself, when everybody else is gone.
 */
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { AT, CLONE, MNT, MS } from '../spec/linux.ts';
import { mount, moveTree, openTree, pivotRoot, umount } from '../sys/mount.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { propagateAll } from '../sys/own-mounts.ts';
import { unescapeMount } from '../sys/probe.ts';
import { setns, unshare } from '../sys/process.ts';
import { mountFuse } from './mount.ts';
import type { UnionArguments } from './options.ts';

export interface Apart {
  /** Where the requests come from: for a child. Nobody must touch the mount before that serves it. */
  device: number;
  /** Unmounts, when there is nobody to serve it. */
  undo(): void;
}

/** Mounts, and takes the calling thread into a mount namespace of its own: so the children that it starts are born there.
 *  @throws SyscallError */
export function mountApart(given: UnionArguments): Apart {
  const before = openSync('/proc/self/ns/mnt', 'r');
  const device = mountFuse(given);
  const undo = () => {
    setns(`/proc/self/fd/${before}`, CLONE.CLONE_NEWNS);
    umount(given.target, MNT.MNT_DETACH);
  };
  unshare(CLONE.CLONE_NEWNS);
  propagateAll(MS.MS_REC | MS.MS_PRIVATE);
  return { device, undo };
}

/** In a mount namespace of one's own: takes away all mounts but the root and /proc. What is open stays open. Else this process would keep
 *  what others unmount, the unions of others among it. */
export function forgetMounts(): void {
  if (isHostRoot()) unmountOthers();
  else leaveRoot();
}

/** In a user namespace the mounts of the host are locked: none of them can be taken away alone. All are, with the root that they are on. */
function leaveRoot(): void {
  const proc = openTree('/proc', AT.OPEN_TREE_CLONE | AT.AT_RECURSIVE);
  mount('tmpfs', '/proc', 'tmpfs', 0, 'size=4k,mode=700');
  mkdirSync('/proc/proc');
  const place = openSync('/proc/proc', 'r');
  moveTree(proc, place, '/proc');
  for (const fd of [proc, place]) closeSync(fd);
  process.chdir('/proc');
  pivotRoot('.', '.');
  umount('.', MNT.MNT_DETACH);
  process.chdir('/');
}

function unmountOthers(): void {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .map(([id, parent, , , point = '']) => ({ id, parent, point: unescapeMount(point) }));
  const root = mounts.findLast(({ point }) => point === '/');
  for (const { parent, point } of mounts.reverse()) {
    if (parent !== root?.id || point === '/' || point === '/proc') continue;
    try {
      umount(point, MNT.MNT_DETACH);
    } catch {
      // Another mount hides its place: it goes with that one.
    }
  }
}
