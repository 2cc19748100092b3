/** Which mount a path is on, and who sees what is mounted below it. @see proc_pid_mountinfo(5) */
import { readFileSync, realpathSync } from 'node:fs';
import { unescapeMount } from './probe.ts';

export interface MountOf {
  point: string;
  /** All that is said of it: id, device, options, file system. */
  line: string;
  /** It has peers: what is mounted below is seen by them, and the other way round. */
  shared: boolean;
  /** It follows another. */
  slave: boolean;
}

/** The mount that holds `path` in a /proc/PID/mountinfo. `path` has no symlinks. */
export function mountOf(path: string, mountinfo: string): MountOf | undefined {
  let found: MountOf | undefined;
  for (const line of mountinfo.split('\n')) {
    const [front = ''] = line.split(' - ');
    const [, , , , field, , ...optional] = front.split(' ');
    if (field === undefined) continue;
    const point = unescapeMount(field);
    const holds = point === '/' || path === point || path.startsWith(`${point}/`);
    // Of two at the same place the later one is on top.
    if (!holds || point.length < (found?.point.length ?? 0)) continue;
    const has = (name: string) => optional.some((one) => one.startsWith(name));
    found = { point, line, shared: has('shared:'), slave: has('master:') };
  }
  return found;
}

/** @throws Node's ENOENT and the like */
export function mountHolding(path: string): MountOf | undefined {
  return mountOf(realpathSync(path), readFileSync('/proc/self/mountinfo', 'utf8'));
}
