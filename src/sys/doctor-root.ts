/** What a file system allows, tried in a directory that is made for it and taken away again. */
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Outcome, RootFacts } from '../spec/doctor.ts';
import { monotonicMs } from './clock.ts';
import { outcomeOf, textOf } from './doctor.ts';
import { bind, refuse } from './ffi.ts';
import { fileSystemOf } from './file-system.ts';
import { openTree, treeSetattr } from './mount.ts';
import { pause } from './pause.ts';
import { isEnding } from './process-stat.ts';
import { lsetxattr } from './xattr.ts';

function nearest(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    const stat = statSync(at, { throwIfNoEntry: false });
    if (stat?.isDirectory() === true || at === '/') return at;
  }
}

const getdents64 = bind('int64_t', 'getdents64', ['int', 'void *', 'uint64_t']);

/** @throws SyscallError ENOTSUP when an entry is of an unknown type */
function lookForTypes(directory: string): void {
  const [DT_UNKNOWN, AT_TYPE] = [0, 18];
  mkdirSync(`${directory}/entry`);
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const bytes = Buffer.alloc(4096);
  const length = getdents64(fd, bytes, bytes.length);
  closeSync(fd);
  for (let at = 0; at < length; at += bytes.readUInt16LE(at + 16)) {
    if (bytes[at + AT_TYPE] === DT_UNKNOWN) throw refuse('getdents64', 'read the types of entries', 'ENOTSUP');
  }
}

/** Facts about where a root is or would be. What is made for it is removed before this returns. */
export function rootFacts(path: string): RootFacts {
  const at = nearest(path);
  const { bavail, bsize, ffree } = statfsSync(at);
  const facts: RootFacts = {
    path,
    at,
    fileSystem: fileSystemOf(at),
    writable: outcomeOf(() => accessSync(at, constants.W_OK | constants.X_OK)) === 'ok',
    entryTypes: 'untried',
    xattrs: 'untried',
    freeBytes: bavail * bsize,
    freeInodes: ffree,
  };
  if (!facts.writable) return facts;
  const directory = makeDirectoryAt(at);
  if (directory === undefined) return { ...facts, writable: false };
  try {
    return { ...facts, ...tryDirectory(directory) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function tryDirectory(directory: string): Pick<RootFacts, 'entryTypes' | 'xattrs'> {
  const name = process.geteuid?.() === 0 ? 'trusted.tsbox' : 'user.tsbox';
  writeFileSync(`${directory}/file`, '');
  return {
    entryTypes: outcomeOf(() => lookForTypes(directory)),
    xattrs: outcomeOf(() => lsetxattr(`${directory}/file`, name, Buffer.from('x'))),
  };
}

/** A new directory in `at`, for the caller to remove; undefined where none can be made. */
export function makeDirectoryAt(at: string): string | undefined {
  try {
    return mkdtempSync(`${at}/.tsbox-doctor-`);
  } catch {
    return undefined;
  }
}

/** Removes a directory in which an overlay was mounted: the kernel leaves an empty one in `work` that its owner may not list. */
export function removeTried(directory: string): void {
  outcomeOf(() => rmdirSync(`${directory}/work/work`));
  rmSync(directory, { recursive: true, force: true });
}

const [MOUNT_ATTR_IDMAP, OPEN_TREE_CLONE] = [0x100000, 1];

/** For the process in another user namespace to be there. Emulated processors take more than a second. */
const PATIENCE_MS = 9_000;

/** Tries an idmapped mount of `at`, which is attached nowhere. Needs root, and a process in another user namespace, which ends with it.
 *  @see mount_setattr(2), MOUNT_ATTR_IDMAP */
export function idmapOutcome(at: string): Outcome {
  const { spawn } = process.getBuiltinModule('node:child_process'); // slow to load, and only asked where volumes are mapped
  const holder = spawn('unshare', ['--user', '--map-root-user', 'sleep', '10'], { stdio: 'ignore' });
  holder.on('error', () => {});
  const own = linkOf('/proc/self/ns/user');
  try {
    if (holder.pid === undefined) return 'untried';
    const path = `/proc/${holder.pid}/ns/user`;
    const end = monotonicMs() + PATIENCE_MS;
    while (linkOf(path) === own || !hasMaps(holder.pid)) {
      if (monotonicMs() > end || isEnding(holder.pid)) return 'untried';
      pause(1);
    }
    const namespace = openSync(path, 'r');
    try {
      return outcomeOf(() => idmap(at, namespace));
    } finally {
      closeSync(namespace);
    }
  } finally {
    holder.kill('SIGKILL');
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Users are mapped before groups are; a namespace without either is refused (EINVAL). */
const hasMaps = (pid: number) =>
  ['uid_map', 'gid_map'].every((file) => (textOf(`/proc/${pid}/${file}`) ?? '').trim() !== '');

function idmap(at: string, namespace: number): void {
  const tree = openTree(at, OPEN_TREE_CLONE);
  try {
    treeSetattr(tree, 0, MOUNT_ATTR_IDMAP, 0, 0, namespace);
  } finally {
    closeSync(tree);
  }
}
