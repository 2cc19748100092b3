/** What is particular to version 2 of cgroups, by its effect; limits that both versions have are in test/system/limits*.test.ts. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { requires } from '../../requires.ts';
import { type Sandbox, sandbox, TSBOX, until } from '../../system/harness.ts';

const ROOT = '/sys/fs/cgroup';
const read = (path: string) => readFileSync(path, 'utf8').trim();

test('cgroup2: a container is in a leaf of its own, which it sees as the root', async (t) => {
  if (!requires(t, 'root', 'overlay', 'cgroup2')) return;
  const box = sandbox(t);
  const parent = `/tsbox-parent-${process.pid}`;
  const flags = ['--cgroup-parent', `${parent}/below`, '-m', '64m', '--cpus', '0.5', '--pids-limit', '50'];
  box.ok(['run', '-d', '--name', 'one', ...flags, box.image(), 'sleep', '1000']);
  t.after(() => {
    for (const path of [`${parent}/below`, parent]) rmdirSync(ROOT + path);
  });
  const [pid, id] = box.ok(['inspect', '-f', '{{.State.Pid}} {{.Id}}', 'one']).split(' ');
  const own = `${parent}/below/tsbox-${id}`;
  await t.test('from the host it is in its leaf, and nobody is in the cgroups above', () => {
    assert.equal(read(`/proc/${pid}/cgroup`), `0::${own}`);
    assert.equal(read(`${ROOT}${own}/cgroup.procs`), pid);
    for (const path of [`${parent}/below`, parent]) assert.equal(read(`${ROOT}${path}/cgroup.procs`), '');
  });
  await t.test('the controllers of its limits are enabled in every cgroup above it', () => {
    for (const path of ['', parent, `${parent}/below`]) {
      const enabled = read(`${ROOT}${path}/cgroup.subtree_control`).split(' ');
      for (const controller of ['memory', 'cpu', 'pids'])
        assert.ok(enabled.includes(controller), `${path} ${controller}`);
    }
    assert.equal(read(`${ROOT}${own}/cgroup.subtree_control`), '');
  });
  await t.test('an exec sees it as the root, read-only, with its limits', () => {
    const script = 'cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max cpu.max pids.max; echo max > pids.max';
    const { status, stdout, stderr } = box.tsbox(['exec', 'one', 'sh', '-c', script]);
    assert.deepEqual([status, stdout], [1, '0::/\n67108864\n50000 100000\n50\n']);
    assert.match(stderr, /pids\.max: Read-only file system/);
  });
  await t.test('it is removed with the container', () => {
    box.ok(['rm', '-f', 'one']);
    assert.ok(!existsSync(ROOT + own));
  });
});

test('cgroup2: reads of a device are as slow as io.max says', (t) => {
  if (!requires(t, 'root', 'overlay', 'cgroup2', 'file:/dev/vda')) return;
  const box = sandbox(t);
  const { rdev } = statSync('/dev/vda');
  const script = `mknod /disk b ${rdev >> 8} ${rdev & 255}; cut -d. -f1 /proc/uptime
    dd if=/disk of=/dev/null bs=1M count=4 skip=4000 2>/dev/null; cut -d. -f1 /proc/uptime; cat /sys/fs/cgroup/io.stat`;
  const flags = ['--rm', '--privileged', '--device-read-bps', '/dev/vda:1mb'];
  const [before, after, counted] = box.ok(['run', ...flags, box.image(), 'sh', '-c', script]).split('\n');
  assert.ok(Number(after) - Number(before) >= 3, `4 MB at 1 MB a second: from ${before} to ${after}`);
  assert.ok(Number(/rbytes=(\d+)/.exec(counted ?? '')?.[1]) >= 4 * 2 ** 20, counted);
});

/** Runs tsbox in a cgroup namespace of its own: `cgroup` is the root that it sees, and has it in it. */
function runWithin(box: Sandbox, cgroup: string, args: readonly string[]): [status: number | null, stderr: string] {
  const script = `echo $$ > "$1/cgroup.procs" && shift && exec unshare --cgroup --mount --propagation private sh -c \\
    'umount -l ${ROOT} && mount -t cgroup2 none ${ROOT} && exec "$@"' sh "$@"`;
  const { status, stderr } = spawnSync('sh', ['-c', script, 'sh', cgroup, TSBOX, ...args], { env: box.env });
  return [status, stderr.toString()];
}

test('cgroup2: as the root of a cgroup namespace that has few controllers, and processes in its root', async (t) => {
  if (!requires(t, 'root', 'overlay', 'cgroup2')) return;
  const box = sandbox(t);
  const image = box.image();
  const outer = `${ROOT}/tsbox-few-${process.pid}`;
  const cgroup = `${outer}/inner`;
  mkdirSync(cgroup, { recursive: true });
  t.after(async () => {
    await until('an empty cgroup', () => read(`${cgroup}/cgroup.procs`) === '');
    for (const path of [cgroup, outer]) rmdirSync(path);
  });
  writeFileSync(`${ROOT}/cgroup.subtree_control`, '+pids +cpu');
  writeFileSync(`${outer}/cgroup.subtree_control`, '+pids +cpu');
  await t.test('a container without limits runs', () => {
    assert.deepEqual(runWithin(box, cgroup, ['run', '--rm', image, 'true']), [0, '']);
  });
  await t.test('a limit is refused, and the hint says how to make room for it', () => {
    const [status, stderr] = runWithin(box, cgroup, ['run', '--rm', '--pids-limit', '10', image, 'true']);
    assert.equal(status, 125);
    assert.match(
      stderr,
      /^tsbox: limit pids: \/sys\/fs\/cgroup has processes in it, so it hands no controller down\nhint: /,
    );
  });
  await t.test('a limit whose controller is not handed down is left out with a warning, as docker does', () => {
    const [status, stderr] = runWithin(box, cgroup, ['run', '--rm', '-m', '64m', image, 'true']);
    assert.deepEqual(
      [status, stderr.split('\n')],
      [
        0,
        [
          'WARNING: Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.',
          '',
        ],
      ],
    );
  });
});
