/** Where a container's cgroups are. */
import { posix } from 'node:path';
import { readHostConfig } from '../store/containers.ts';
import type { Store } from '../store/store.ts';

/** `--cgroup-parent` as a path below each hierarchy: '' for its root. It cannot lead out of it. */
export function parentPath(parent = ''): string {
  const path = posix.normalize(`/${parent}`).replace(/\/+$/, '');
  return path;
}

/** The path of a container's cgroup below each hierarchy. Without a parent that was asked for, no directory is shared with other
 *  containers: nobody has to agree on who removes it. */
export function cgroupsPath(id: string, parent?: string): string {
  return `${parentPath(parent)}/tsbox-${id}`;
}

/** The same for a container on disk, one whose files are damaged too: then in the root. */
export function containerCgroup(store: Store, id: string): string {
  let parent: string | undefined;
  try {
    parent = readHostConfig(store, id).CgroupParent;
  } catch {
    parent = undefined;
  }
  return cgroupsPath(id, parent);
}
