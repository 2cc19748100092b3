/** Makes a union of directories and mounts it. */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno, TsboxError } from '../errors.ts';
import { AT_FDCWD, OPEN, openat } from '../sys/file.ts';
import { mount } from '../sys/mount.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { tryXattr } from '../sys/xattr.ts';
import { findFusermount, mountByFusermount } from './fusermount.ts';
import { openLayer, openLower, toOwnMount } from './layers.ts';
import type { UnionArguments } from './options.ts';
import { createUnion, type Union } from './union.ts';
import { formFor } from './whiteouts.ts';

/** @throws SyscallError for a directory that is not there; ERR_TSBOX_UNSUPPORTED where the upper one keeps no attributes; ERR_TSBOX_USAGE for
 *  a work directory that the kernel refuses, too */
export function openUnion({ lower, upper, work, userxattr, writeback }: UnionArguments): Union {
  const writable = { upper: upper === undefined ? -1 : openLayer('upperdir', upper), work: -1 };
  const layers = lower.map(openLower);
  const prefix = userxattr || !isHostRoot() ? 'user.overlay.' : 'trusted.overlay.';
  if (upper !== undefined) checkAttributes(upper, prefix);
  if (upper !== undefined && work !== undefined) {
    checkWork(upper, work);
    const path = emptyWork(work);
    writable.work = openLayer('workdir', path);
    toOwnMount(writable, upper, path);
  }
  // The rest is for what is open, and for the layers.
  const quarter = Math.floor(mostDescriptors() / 4);
  return createUnion({
    layers: [writable.upper, ...layers],
    work: writable.work,
    prefix,
    whiteouts: writable.work === -1 ? 'device' : formFor(writable.work),
    writeback,
    mostDirectories: Math.min(1024, quarter),
    mostIdle: Math.min(256, quarter),
  });
}

/** How many descriptors this process may have; Node has raised it as far as it may. */
function mostDescriptors(): number {
  const most = Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]);
  return most > 0 ? most : Number.POSITIVE_INFINITY;
}

/** Without its own attributes a union would show what was removed: better none at all. */
function checkAttributes(path: string, prefix: string): void {
  const fd = openSync(path, 'r');
  try {
    tryXattr(fd, `${prefix}probe`);
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP') && !isErrno(error, 'EPERM')) throw error;
    const hint = 'Use a directory on ext4, xfs, btrfs or tmpfs. On an overlay it takes Linux 6.7 or later.';
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `upperdir ${path}: its file system keeps no ${prefix}* attributes`, {
      hint,
      cause: error,
    });
  } finally {
    closeSync(fd);
  }
}

/** What the kernel refuses, too: what is in the work directory would be removed, and a file that is made there moved into the upper one. */
function checkWork(upper: string, work: string): void {
  const sameMount = mountOf('upperdir', upper) === mountOf('workdir', work);
  const [one, other] = [`${realpathSync(upper)}/`, `${realpathSync(work)}/`];
  const refused = (what: string, hint: string) =>
    new TsboxError('ERR_TSBOX_USAGE', `upperdir ${upper} and workdir ${work}: ${what}`, { hint });
  if (one.startsWith(other) || other.startsWith(one)) {
    throw refused('one is in the other', 'Make two directories beside each other.');
  }
  if (!sameMount) {
    throw refused(
      'they are on different mounts',
      'Both have to be on one mount: files are made in one and moved into the other.',
    );
  }
}

/** @see proc_pid_fdinfo(5) @throws SyscallError */
function mountOf(what: string, directory: string): string | undefined {
  const fd = openLayer(what, directory);
  try {
    return /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  } finally {
    closeSync(fd);
  }
}

/** As the kernel does: what is being made lies in `work/`, and what an earlier mount has left there is nothing. */
function emptyWork(directory: string): string {
  const path = join(directory, 'work');
  mkdirSync(path, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
  return path;
}

export interface Mounted {
  /** Where requests come from. */
  device: number;
  /** The program that mounted it, and has to unmount it; undefined where this process may itself. */
  helper: string | undefined;
}

/** Mounts a FUSE file system: itself, or as an ordinary user by fusermount3.
 *  @throws SyscallError; ERR_TSBOX_UNSUPPORTED where neither can */
export function mountWithHelp(given: UnionArguments): Mounted {
  try {
    return { device: mountFuse(given), helper: undefined };
  } catch (error) {
    if (process.geteuid?.() === 0 || !(isErrno(error, 'EPERM') || isErrno(error, 'EACCES'))) throw error;
    const helper = findFusermount();
    if (helper === undefined) throw withoutHelper(error);
    return { device: mountByFusermount(helper, given.source, given.target, given.flags), helper };
  }
}

function withoutHelper(cause: unknown): TsboxError {
  const hint =
    'Ordinary users mount by fusermount3, which is in the package fuse3. Root, also of a user namespace, needs no help.';
  return new TsboxError('ERR_TSBOX_UNSUPPORTED', (cause as Error).message, { cause, hint });
}

/** Mounts a FUSE file system. @returns the device that its requests come from @throws SyscallError */
export function mountFuse({ source, target, flags }: UnionArguments): number {
  const device = openat(AT_FDCWD, '/dev/fuse', OPEN.RDWR);
  try {
    const owner = `user_id=${process.geteuid?.() ?? 0},group_id=${process.getegid?.() ?? 0}`;
    const data = `fd=${device},rootmode=40000,${owner},default_permissions,allow_other`;
    mount(source, target, 'fuse.tsbox-union', flags, data);
    return device;
  } catch (error) {
    closeSync(device);
    throw error;
  }
}
