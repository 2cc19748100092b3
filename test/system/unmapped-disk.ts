/** A file system on which owners cannot be mapped: a tmpfs that is mapped already, each id to itself. @see mount_setattr(2), EPERM */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { mapMount, moveMount, openTree } from '../../src/sys/mount.ts';
import { until } from './harness.ts';

const OPEN_TREE_CLONE = 1;
const ALL = '0 0 4294967295';

/** Mounts one at `path` until the test ends. @param before what has to be done while it is still there */
export async function unmappedDisk(context: TestContext, path: string, before: () => void): Promise<void> {
  mkdirSync(path, { recursive: true });
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'mode=711', 'unmapped', path], { encoding: 'utf8' });
  if (mount.status !== 0) throw new Error(mount.stderr);
  context.after(() => {
    before();
    spawnSync('umount', ['--lazy', path]);
    spawnSync('umount', ['--lazy', path]);
    rmSync(path, { recursive: true, force: true });
  });
  const holder = spawn('unshare', ['--user', 'sleep', '100'], { stdio: 'ignore' });
  try {
    const namespace = `/proc/${holder.pid}/ns/user`;
    await until('a user namespace', () => readlinkSync(namespace) !== readlinkSync('/proc/self/ns/user'));
    for (const file of ['uid_map', 'gid_map']) writeFileSync(`/proc/${holder.pid}/${file}`, ALL);
    const tree = openTree(path, OPEN_TREE_CLONE);
    mapMount(tree, namespace);
    moveMount(tree, path, 0);
  } finally {
    holder.kill('SIGKILL');
  }
}
