/** A container of tsbox beside one of docker on version 2 of cgroups: what each sees of its cgroup. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../../requires.ts';
import { sandbox } from '../../system/harness.ts';
import { startDocker } from '../../system/images-setup.ts';

/** Without memory.swap.max: docker 20.10 finds no limits of swap on version 2, and leaves it alone with a warning. Files of controllers
 *  for which nobody asked are there with docker, which enables all; tsbox enables what limits and what is counted. */
const FILES =
  'memory.max memory.low memory.high memory.oom.group cpu.max cpu.weight pids.max cpuset.cpus cgroup.type cgroup.subtree_control';
/** Identifiers of mounts and of the file system differ; nsdelegate is a property of the host's mount, which docker takes away. */
const SCRIPT = `cat /proc/self/cgroup; grep -w cgroup2 /proc/self/mountinfo | cut -d' ' -f 4- | sed s/,nsdelegate//
  cd /sys/fs/cgroup; grep . ${FILES}`;
const LIMITS = '-m 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 100'.split(
  ' ',
);

test('cgroup2: what a container sees of its cgroup and its limits is what docker shows', async (t) => {
  if (!requires(t, 'root', 'overlay', 'cgroup2', 'command:dockerd')) return;
  const box = sandbox(t);
  const image = box.image();
  const docker = await startDocker(t);
  await docker('import', join(import.meta.dirname, '../../../rootfs-fixtures/build/busybox.tar'), image);
  const words = ['run', '--rm', '--network', 'none', ...LIMITS, image, 'sh', '-c', SCRIPT];
  assert.equal(box.ok(words), await docker(...words));
});
