/** Makes a union of directories and mounts it. */
import { closeSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import { AT_FDCWD, OPEN, openat } from '../sys/file.ts';
import { mount } from '../sys/mount.ts';
import { tryXattr } from '../sys/xattr.ts';
import type { UnionArguments } from './options.ts';
import { createUnion, type Union } from './union.ts';
import { formFor } from './whiteouts.ts';

const DIRECTORY = OPEN.PATH | OPEN.DIRECTORY;

function openLayer(what: string, path: string): number {
  try {
    return openat(AT_FDCWD, path, DIRECTORY);
  } catch (error) {
    throw wrapError(what, error);
  }
}

/** @throws SyscallError for a directory that is not there; ERR_TSBOX_UNSUPPORTED where the upper one keeps no attributes */
export function openUnion({ lower, upper, work, userxattr }: UnionArguments): Union {
  const layers = [
    upper === undefined ? -1 : openLayer('upperdir', upper),
    ...lower.map((path) => openLayer('lowerdir', path)),
  ];
  const prefix = userxattr || process.geteuid?.() !== 0 ? 'user.overlay.' : 'trusted.overlay.';
  if (upper !== undefined) checkAttributes(upper, prefix);
  const workDirectory = work === undefined ? -1 : openWork(work);
  return createUnion({
    layers,
    work: workDirectory,
    prefix,
    whiteouts: workDirectory === -1 ? 'device' : formFor(workDirectory),
    mostDirectories: 1024,
  });
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

/** As the kernel does: what is being made lies in `work/`, and what an earlier mount has left there is nothing. */
function openWork(directory: string): number {
  const path = join(directory, 'work');
  mkdirSync(path, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
  return openLayer('workdir', path);
}

/** Mounts a FUSE file system. @returns the device that its requests come from */
export function mountFuse({ source, target, flags }: UnionArguments): number {
  const device = openSync('/dev/fuse', 'r+');
  const owner = `user_id=${process.geteuid?.() ?? 0},group_id=${process.getegid?.() ?? 0}`;
  const data = `fd=${device},rootmode=40000,${owner},default_permissions,allow_other`;
  mount(source, target, 'fuse.tsbox-union', flags, data);
  return device;
}
