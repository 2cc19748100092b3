/** What an ordinary user was given of the cgroups of version 2: directories in which he may make others and move his processes about.
 *  @see cgroup-v2.rst, Delegation; systemd's CGROUP_DELEGATION */
import { accessSync, constants, readFileSync } from 'node:fs';
import { posix } from 'node:path';

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Directory of the caller's own cgroup; undefined when it lies outside of what is mounted at `mount`. */
export function ownCgroup(mount: string): string | undefined {
  let path: string | undefined;
  try {
    path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  } catch {
    path = undefined;
  }
  if (path === undefined || path.startsWith('/..')) return undefined;
  return `${mount}${path}`.replace(/\/$/, '');
}

/** Was this cgroup handed over to the caller? Then these are his, and nothing else in it is.
 *  @see cgroup-v2.rst, Model of Delegation */
function isDelegated(directory: string): boolean {
  return ['', '/cgroup.procs', '/cgroup.subtree_control'].every((file) => isWritable(`${directory}${file}`));
}

/** Where an ordinary user's containers get their cgroups: the cgroup around the caller's own, where its processes hinder nobody, or the own
 *  one when that is the outermost that was handed over; undefined when none was. */
export function delegatedPlace(mount: string): string | undefined {
  const own = ownCgroup(mount);
  if (own === undefined || !isDelegated(own)) return undefined;
  const around = posix.dirname(own);
  return own !== mount && isDelegated(around) ? around : own;
}

/** Every cgroup that was handed over, from the outermost down to `place`: the controllers of the outermost are what there is to hand on. */
export function delegatedLevels(place: string): string[] {
  const levels = [place];
  for (let above = posix.dirname(place); isDelegated(above); above = posix.dirname(above)) levels.unshift(above);
  return levels;
}

/** May the caller be moved, or give birth, from the own cgroup into one at `place`? That takes the right to move processes in the cgroup
 *  that both are in. */
export function mayEnter(mount: string, place: string): boolean {
  const own = ownCgroup(mount);
  if (own === undefined) return false;
  let common = place;
  while (common !== mount && common !== own && !own.startsWith(`${common}/`)) common = posix.dirname(common);
  return isWritable(`${common}/cgroup.procs`);
}
