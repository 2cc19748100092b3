/** tsbox as an ordinary user on version 2 of cgroups, in a subtree that was handed over to him as systemd does it: limits by their effect,
 *  and the rest once. */
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../../requires.ts';
import { type User, user } from '../../rootless/user.ts';
import { until } from '../../system/harness.ts';

const ROOT = '/sys/fs/cgroup';
const read = (path: string) => readFileSync(path, 'utf8').trim();
const needs = (t: TestContext) => requires(t, 'root', 'overlay', 'userns', 'cgroup2', 'command:newuidmap');

/** As systemd does for user@.service: the directory, cgroup.procs and cgroup.subtree_control are the user's, nothing else in it.
 *  @see systemd's CGROUP_DELEGATION; cgroup-v2.rst, Model of Delegation */
function handOver(directory: string, { uid, gid }: { uid: number; gid: number }): void {
  for (const file of ['', 'cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads']) {
    chownSync(join(directory, file), uid, gid);
  }
}

/** user.slice of root's with these controllers, the service manager of the user in it, a slice and a scope of the user's in that.
 *  @returns the user, whose commands start in the scope, and the two directories */
function delegated(t: TestContext, controllers: readonly string[]): { he: User; manager: string; slice: string } {
  const outer = `${ROOT}/tsbox-users-${process.pid}-${controllers.length}`;
  const manager = `${outer}/user@.service`;
  const slice = `${manager}/app.slice`;
  const scope = `${slice}/run.scope`;
  const he = user(t, [65536], { cgroup: scope });
  const enable = controllers.map((one) => `+${one}`).join(' ');
  mkdirSync(manager, { recursive: true });
  writeFileSync(`${ROOT}/cgroup.subtree_control`, enable);
  writeFileSync(`${outer}/cgroup.subtree_control`, enable);
  for (const directory of [manager, slice, scope]) {
    mkdirSync(directory, { recursive: true });
    handOver(directory, he);
  }
  t.after(async () => {
    await until('an empty scope', () => read(`${scope}/cgroup.procs`) === '');
    assert.deepEqual(
      readdirSync(slice).filter((name) => name.startsWith('tsbox-')),
      [],
    );
    for (const directory of [scope, slice, manager, outer]) rmdirSync(directory);
  });
  return { he, manager, slice };
}

const COUNT = 'set -- $(cat /sys/fs/cgroup/cpu.stat); echo $2';

test('rootless cgroup2: limits in a subtree that was handed over', async (t) => {
  if (!needs(t)) return;
  const { he, manager, slice } = delegated(t, ['cpu', 'io', 'memory', 'pids']);
  const image = he.image();
  let own = '';
  await t.test('doctor says which controllers there are, and which not', () => {
    const { stdout } = he.tsbox(['doctor', '--format', 'json']);
    const found = JSON.parse(stdout).findings ?? JSON.parse(stdout);
    const { says, fix } = found.find(({ id }: { id: string }) => id === 'cgroups.delegation');
    assert.match(says, /delegated to you: cpu, io, memory, pids; .*: cpuset$/);
    assert.match(fix, /Delegate=/);
    assert.equal(found.find(({ id }: { id: string }) => id === 'cgroups.make').level, 'ok');
  });
  await t.test('a container is in a leaf of its own beside the caller, which it sees as the root', () => {
    const flags = ['-m', '32m', '--cpus', '0.5', '--pids-limit', '20'];
    // It forks nothing more: a fork bomb beside it would end it.
    const script = 'trap "exit 0" TERM; sleep 100000 & wait';
    const id = he.ok(['run', '-d', '--name', 'one', ...flags, image, 'sh', '-c', script]);
    own = `${slice}/tsbox-${id}`;
    const pid = he.ok(['inspect', '-f', '{{.State.Pid}}', 'one']);
    assert.equal(read(`/proc/${pid}/cgroup`), `0::${own.slice(ROOT.length)}`);
    for (const level of [manager, slice]) {
      assert.equal(read(`${level}/cgroup.procs`), '');
      assert.match(read(`${level}/cgroup.subtree_control`), /cpu.* memory pids/);
    }
    const within = 'cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max cpu.max pids.max; echo max > pids.max';
    const { status, stdout, stderr } = he.tsbox(['exec', 'one', 'sh', '-c', within]);
    assert.deepEqual([status, stdout], [1, '0::/\n33554432\n50000 100000\n20\n']);
    assert.match(stderr, /pids\.max: Read-only file system/);
  });
  await t.test('--cpus 0.5 gives half a processor, by the count of the kernel', () => {
    const spin = `a=$(${COUNT}); t=$(cut -d. -f1 /proc/uptime); while [ $(($(cut -d. -f1 /proc/uptime) - t)) -lt 4 ]; do :; done
      b=$(${COUNT}); echo $((b - a))`;
    const used = Number(he.ok(['exec', 'one', 'sh', '-c', spin])) / 1e6;
    assert.ok(used > 1 && used < 2.8, `${used} s of processor time in about 4 s`);
  });
  await t.test('--pids-limit stops a fork bomb', () => {
    const bomb =
      'bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 1; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids.events';
    he.tsbox(['exec', 'one', 'sh', '-c', bomb]);
    assert.ok(Number(/^max (\d+)$/m.exec(read(`${own}/pids.events`))?.[1]) > 0);
    assert.ok(Number(read(`${own}/pids.current`)) <= 20);
    he.ok(['rm', '-f', 'one']);
    assert.ok(!existsSync(own));
  });
  await t.test('a process that wants more memory than the limit is killed, and inspect says so', () => {
    const flags = ['-m', '16m', '--memory-swap', '16m'];
    const { status } = he.tsbox(['run', '--name', 'eater', ...flags, image, 'tail', '/dev/zero']);
    assert.equal(status, 137);
    assert.equal(he.ok(['inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'eater']), 'true 137');
    he.ok(['rm', 'eater']);
  });
  await t.test('--cgroup-parent is below what was handed over, and cannot lead out of it', () => {
    const flags = ['-d', '--name', 'below', '--cgroup-parent', '/../one/two', '-m', '32m'];
    const id = he.ok(['run', ...flags, image, 'sleep', '1000']);
    const pid = he.ok(['inspect', '-f', '{{.State.Pid}}', 'below']);
    const leaf = `${slice}/one/two/tsbox-${id}`;
    assert.equal(read(`/proc/${pid}/cgroup`), `0::${leaf.slice(ROOT.length)}`);
    assert.equal(read(`${leaf}/memory.max`), String(32 * 2 ** 20));
    he.ok(['rm', '-f', 'below']);
    assert.ok(!existsSync(leaf));
    for (const path of [`${slice}/one/two`, `${slice}/one`]) rmdirSync(path);
  });
  await t.test('writes to a device are as slow as --device-write-bps says', () => {
    const script =
      'cut -d. -f1 /proc/uptime; dd if=/dev/zero of=/f bs=1M count=4 oflag=direct 2>&1; cut -d. -f1 /proc/uptime';
    const flags = ['--rm', '--device-write-bps', '/dev/vda:1mb'];
    const lines = he.ok(['run', ...flags, image, 'sh', '-c', script]).split('\n');
    const [before, after] = [lines.at(0), lines.at(-1)];
    assert.ok(Number(after) - Number(before) >= 3, `4 MB at 1 MB a second: ${lines.join(', ')}`);
  });
  await t.test('stats, update, commit with a pause', () => {
    const id = he.ok(['run', '-d', '--name', 'two', '-m', '32m', image, 'sleep', '1000']);
    assert.match(he.ok(['stats', '--no-stream', '--format', '{{.MemUsage}} {{.PIDs}}', 'two']), / \/ 32MiB 1$/);
    he.ok(['update', '-m', '64m', '--memory-swap', '-1', '--cpus', '0.25', 'two']);
    assert.equal(read(`${slice}/tsbox-${id}/memory.max`), String(64 * 2 ** 20));
    assert.equal(read(`${slice}/tsbox-${id}/cpu.max`), '25000 100000');
    he.ok(['commit', 'two', 'paused']);
    assert.equal(read(`${slice}/tsbox-${id}/cgroup.freeze`), '0');
  });
  await t.test('a limit whose controller was not handed over is refused, with the command that mends it', () => {
    const { status, stderr } = he.tsbox(['run', '--rm', '--cpuset-cpus', '0', image, 'true']);
    assert.equal(status, 125);
    assert.match(stderr, /^tsbox: .*the cgroup controller cpuset was not delegated to user \d+ in .*user@\.service\n/);
    assert.match(stderr, /\nhint: As root: .*Delegate=/);
    assert.equal(he.ok(['ps', '-aq']).split('\n').length, 1);
  });
  await t.test('from a cgroup outside of the subtree: no limits, no exec, but rm', () => {
    const outside = { cgroup: ROOT };
    const limited = he.tsbox(['run', '--rm', '-m', '32m', image, 'true'], outside);
    assert.equal(limited.status, 125);
    assert.match(limited.stderr, /no cgroup here was delegated to him\nhint: .*systemd-run --user --scope tsbox/);
    const entered = he.tsbox(['exec', 'two', 'true'], outside);
    assert.match(entered.stderr, /^tsbox: enter the cgroup of .*\nhint: .*systemd-run --user --scope tsbox/);
    he.ok(['rm', '-f', 'two'], outside);
  });
  await t.test('in the outermost cgroup of his itself: no limits, and how to make room for them', () => {
    const service = { cgroup: join(dirname(manager), 'own.service') };
    mkdirSync(service.cgroup);
    handOver(service.cgroup, he);
    assert.equal(he.ok(['run', '--rm', image, 'cat', '/proc/self/cgroup'], service), '0::/');
    const { status, stderr } = he.tsbox(['run', '--rm', '-m', '32m', image, 'true'], service);
    assert.equal(status, 125);
    assert.match(stderr, /own\.service has processes in it, so it hands no controller down\nhint: Move them/);
    rmdirSync(service.cgroup);
  });
  await t.test('everything once where nothing was handed over', async () => {
    const outside = { cgroup: ROOT };
    const script = 'touch /f; chown 7:8 /f; exec sleep 1000';
    he.ok(['run', '-d', '--name', 'one', image, 'sh', '-c', script], outside);
    await until('the file', () => he.ok(['exec', 'one', 'stat', '-c', '%u:%g', '/f'], outside) === '7:8');
    he.ok(['commit', '--pause=false', 'one', 'made'], outside);
    he.ok(['rm', '-f', 'one'], outside);
    he.ok(['save', '-o', `${he.home}/made.tar`, 'made'], outside);
    he.ok(['rmi', 'made'], outside);
    he.ok(['load', '-i', `${he.home}/made.tar`], outside);
    assert.equal(he.ok(['run', '--rm', 'made', 'stat', '-c', '%u:%g', '/f'], outside), '7:8');
    assert.equal(he.ok(['ps', '-aq'], outside), '');
  });
});
