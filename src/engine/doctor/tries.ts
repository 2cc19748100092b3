/**
 * What can only be known by trying: namespaces and mounts, as plans that the executor runs in a process of their own. Nothing of it is
 * seen outside of that process.
 */
import { SyscallError } from '../../errors.ts';
import { keepMountsPrivate } from '../../plan/mounts.ts';
import type { Step } from '../../plan/step.ts';
import { launch } from '../../runtime/launch.ts';
import type { Outcome } from '../../spec/doctor.ts';
import type { CLONE } from '../../spec/linux.ts';

const why = 'tsbox doctor tries it';

const PRIVATE = keepMountsPrivate(why);

/** Runs the steps in a new process, which then ends. @param planFile in a directory of ours @returns how the first that fails was refused */
export async function attempt(
  planFile: string,
  steps: readonly Step[],
  before: readonly Step[] = [],
): Promise<Outcome> {
  const end: Step = { op: 'exec', args: ['/proc/self/exe', '--version'], env: [], why };
  const monitor: Step[] = [
    { op: 'stdio', stdin: ['STDIN_NULL'], why },
    ...before,
    { op: 'spawn', list: [...steps, end], why },
  ];
  try {
    const { client } = await launch({ setup: [], monitor, cleanup: [] }, { planFile });
    client.detach();
    return 'ok';
  } catch (error) {
    return error instanceof SyscallError ? error.errnoName : 'unknown';
  }
}

const unshare = (...flags: (keyof typeof CLONE)[]): Step => ({ op: 'unshare', flags, why });

/** Namespaces by their names in /proc/self/ns, as steps that make them. */
export const NAMESPACES = {
  mnt: [unshare('CLONE_NEWNS')],
  pid: [unshare('CLONE_NEWPID')],
  net: [unshare('CLONE_NEWNET')],
  ipc: [unshare('CLONE_NEWIPC')],
  uts: [unshare('CLONE_NEWUTS')],
  cgroup: [unshare('CLONE_NEWCGROUP')],
} as const satisfies Record<string, readonly Step[]>;

/** As {@link NAMESPACES} for an ordinary user, who makes them below a user namespace. */
export function below(steps: readonly Step[]): Step[] {
  return [...USER_NAMESPACE, ...steps];
}

export const USER_NAMESPACE: readonly Step[] = [unshare('CLONE_NEWUSER')];

/** A user namespace in which the caller is root, with mounts of its own. */
export function rootOfUserNamespace(uid: number, gid: number): Step[] {
  const map = (name: string, id: number): Step => ({
    op: 'write',
    path: `/proc/self/${name}`,
    data: `0 ${id} 1`,
    flags: [],
    mode: 0,
    why,
  });
  return [
    unshare('CLONE_NEWUSER', 'CLONE_NEWNS'),
    { op: 'write', path: '/proc/self/setgroups', data: 'deny', flags: [], mode: 0, why },
    map('uid_map', uid),
    map('gid_map', gid),
    PRIVATE,
  ];
}

/** Anywhere: nobody else sees it. */
export const MOUNT: Step = { op: 'mount', source: 'tmpfs', target: '/tmp', type: 'tmpfs', flags: [], data: '', why };

/** An overlay of the directories lower, upper and work in `directory` at merged, and a file made in it. */
export function overlay(directory: string, options: string): Step[] {
  const data = `lowerdir=${directory}/lower,upperdir=${directory}/upper,workdir=${directory}/work${options}`;
  return [
    { op: 'mount', source: 'overlay', target: `${directory}/merged`, type: 'overlay', flags: [], data, why },
    { op: 'write', path: `${directory}/merged/file`, data: 'x', flags: ['O_CREAT'], mode: 0o600, why },
  ];
}

export const ownMounts: readonly Step[] = [unshare('CLONE_NEWNS'), PRIVATE];
