/** A container of tsbox beside one of docker on version 2 of cgroups: what each sees of its cgroup, and of the rest. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { requires } from '../../requires.ts';
import { sandbox } from '../../system/harness.ts';
import { startDocker } from '../../system/images-setup.ts';
import { COMBINATIONS, runArguments, SCRIPT as SEEN, sections } from '../../system/seen-inside.ts';

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

/** Few, for each takes seconds here: those whose cells of the table have more than the usual differences, and a terminal. */
const FLAGS = ['', '-t', '--privileged', '--cap-add ALL --cap-drop SYS_RESOURCE', '--cgroupns host'];

test('cgroup2: what a container sees of its cgroup and its limits is what docker shows', async (t) => {
  if (!requires(t, 'root', 'overlay', 'cgroup2', 'command:dockerd')) return;
  const box = sandbox(t);
  const image = box.image();
  const docker = await startDocker(t);
  await docker('import', join(import.meta.dirname, '../../../rootfs-fixtures/build/busybox.tar'), image);
  await t.test('its limits', async () => {
    const words = ['run', '--rm', '--network', 'none', ...LIMITS, image, 'sh', '-c', SCRIPT];
    assert.equal(box.ok(words), await docker(...words));
  });
  const words = runArguments(t);
  for (const flags of FLAGS) {
    await t.test(`what a process finds ${flags}`, async () => {
      const combination = COMBINATIONS.find((each) => each.flags.join(' ') === flags)!;
      const args = [...words(combination.flags), image, 'sh', '-c', SEEN];
      const [ours, theirs] = [box.ok(args), await docker(...args)].map((text) => sections(text, combination));
      assert.deepEqual(ours, theirs);
    });
  }
});
