/** Limits by their effect. The same bodies run on version 1 and on version 2 of cgroups: what differs is in cgroup-host.ts. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requires } from '../requires.ts';
import { cgroupDirectory, cgroupFile, cpuTime, idOf, isVersion2, SUPPORT } from './cgroup-host.ts';
import { sandbox } from './harness.ts';

/** Doubles a text until somebody stops it: 64 MiB is enough to be over any limit here. */
const HOG = 'x=aaaaaaaaaaaaaaaa; i=0; while [ $i -lt 22 ]; do x=$x$x; i=$((i+1)); done; echo survived';

test('limits: a process over its memory limit is killed, and inspect says why', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const image = box.image();
  const run = box.tsbox(['run', '--name', 'hog', '-m', '12m', '--memory-swap', '12m', image, 'sh', '-c', HOG]);
  assert.equal(run.status, 137, run.stderr);
  assert.doesNotMatch(run.stdout, /survived/);
  const state = '{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}';
  assert.equal(await box.quick(['inspect', '--format', state, 'hog']), 'true 137 exited');
  assert.match(await box.quick(['ps', '-a', '--format', '{{.Status}}']), /^Exited \(137\)/);
  assert.equal(await box.quick(['inspect', '--format', state, 'hog']), 'true 137 exited', 'it stays so');
});

test('limits: a child that is killed for memory is told of too, and the next start begins afresh', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = `[ -e /done ] && exit 3; touch /done; (${HOG}) & wait; exit 0`;
  const args = ['run', '--name', 'parent', '-m', '12m', '--memory-swap', '12m', box.image(), 'sh', '-c', script];
  assert.equal(box.tsbox(args).status, 0);
  assert.equal(await box.quick(['inspect', '--format', '{{.State.OOMKilled}}', 'parent']), 'true');
  assert.equal(box.tsbox(['start', '-a', 'parent']).status, 3);
  assert.equal(await box.quick(['inspect', '--format', '{{.State.OOMKilled}}', 'parent']), 'false');
});

test('limits: a process that keeps to its limit lives', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const script = 'dd if=/dev/zero of=/dev/null bs=4M count=1 2>/dev/null && echo fine';
  assert.equal(box.ok(['run', '--rm', '-m', '32m', box.image(), 'sh', '-c', script]), 'fine');
});

test('limits: a busy loop under --cpus 0.5 gets half a processor by its own count', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  box.ok(['run', '-d', '--name', 'busy', '--cpus', '0.5', box.image(), 'sh', '-c', 'while :; do :; done']);
  const id = idOf(box, 'busy');
  const [time, count] = [process.hrtime.bigint(), cpuTime(id)];
  await sleep(2500);
  const share = (cpuTime(id) - count) / Number(process.hrtime.bigint() - time);
  // Never more, whatever else the machine does; less only when others want all of it.
  assert.ok(share < 0.6, `${share} of a processor`);
  assert.ok(share > 0.05, `${share} of a processor`);
  const throttled = /^nr_throttled (\d+)/m.exec(cgroupFile('cpu', id, 'cpu.stat', 'cpu.stat'))?.[1];
  assert.ok(Number(throttled) > 0 || share < 0.5, 'it was held back');
});

test('limits: a fork bomb stops at --pids-limit, and the host goes on', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  // Bounded by itself too: 40 processes that sleep.
  const script = 'i=0; while [ $i -lt 40 ]; do sleep 20 & i=$((i+1)); done; echo all';
  const run = box.tsbox(['run', '--rm', '--pids-limit', '12', box.image(), 'sh', '-c', script]);
  assert.notEqual(run.status, 0);
  assert.doesNotMatch(run.stdout, /all/);
  assert.match(run.stderr, /can't fork|Resource temporarily unavailable/);
  assert.equal(spawnSync('true').status, 0, 'the host can still fork');
});

test('limits: --cpuset-cpus is what the process sees in its own status', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const last = String(SUPPORT.cpus.split(/[-,]/).at(-1));
  const script = 'grep _allowed_list /proc/self/status';
  const args = ['run', '--rm', '--cpuset-cpus', last, '--cpuset-mems', '0', box.image(), 'sh', '-c', script];
  assert.match(box.ok(args), new RegExp(`Cpus_allowed_list:\\s+${last}\\nMems_allowed_list:\\s+0$`));
});

test('limits: --oom-score-adj is the process’s, and that of an exec', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const args = ['run', '-d', '--name', 'adjusted', '--oom-score-adj', '123', box.image(), 'sleep', '100'];
  box.ok(args);
  assert.equal(box.ok(['exec', 'adjusted', 'cat', '/proc/1/oom_score_adj', '/proc/self/oom_score_adj']), '123\n123');
});

test('limits: shares, reservation and swap are in the cgroup before the command runs', (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['-m', '64m', '--memory-swap', '96m', '--memory-reservation', '32m', '-c', '512'];
  box.ok(['run', '-d', '--name', 'many', ...flags, box.image(), 'sleep', '100']);
  const id = idOf(box, 'many');
  const mib = (count: number) => String(count * 1024 * 1024);
  const v2 = isVersion2('memory');
  assert.equal(cgroupFile('memory', id, 'memory.limit_in_bytes', 'memory.max'), mib(64));
  if (SUPPORT.swap) {
    assert.equal(cgroupFile('memory', id, 'memory.memsw.limit_in_bytes', 'memory.swap.max'), mib(v2 ? 32 : 96));
  }
  assert.equal(cgroupFile('memory', id, 'memory.soft_limit_in_bytes', 'memory.low'), mib(32));
  assert.equal(cgroupFile('cpu', id, 'cpu.shares', 'cpu.weight'), isVersion2('cpu') ? '20' : '512');
});

test('limits: a container is made in the parent that was asked for, and the parent stays', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const parent = `/tsbox-test-${process.pid}`;
  const flags = ['--cgroup-parent', `${parent}/inner`, '-m', '64m', '--cpuset-cpus', '0'];
  t.after(() => {
    for (const controller of ['memory', 'cpu', 'cpuacct', 'cpuset', 'pids', 'blkio', 'devices', 'freezer'] as const) {
      for (const path of [`${parent}/inner`, parent]) {
        const directory = cgroupDirectory(controller, '', path).replace(/\/tsbox-$/, '');
        if (existsSync(directory)) rmdirSync(directory);
      }
    }
    for (const root of ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified']) {
      for (const path of [`${root}${parent}/inner`, `${root}${parent}`]) if (existsSync(path)) rmdirSync(path);
    }
  });
  box.ok(['run', '-d', '--name', 'child', ...flags, box.image(), 'sleep', '100']);
  const id = idOf(box, 'child');
  const limit = cgroupFile('memory', id, 'memory.limit_in_bytes', 'memory.max', `${parent}/inner`);
  assert.equal(limit, String(64 * 1024 * 1024));
  assert.equal(box.ok(['exec', 'child', 'grep', 'Cpus_allowed_list', '/proc/self/status']).split('\t')[1], '0');
  assert.equal(await box.quick(['inspect', '--format', '{{.HostConfig.CgroupParent}}', 'child']), `${parent}/inner`);
  await box.quick(['rm', '-f', 'child']);
  assert.ok(!existsSync(cgroupDirectory('memory', id, `${parent}/inner`)));
});

test('limits: the rates of a device are in the cgroup, and a device that is not there is named', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const disk = readdirSync('/sys/block').find((name) => /^(vd|sd|nvme|xvd)/.test(name) && existsSync(`/dev/${name}`));
  if (disk === undefined) return t.skip('needs a disk in /dev');
  const device = `/dev/${disk}`;
  const numbers = readFileSync(`/sys/block/${disk}/dev`, 'utf8').trim();
  box.ok(['run', '-d', '--name', 'slow', '--device-write-bps', `${device}:1mb`, box.image(), 'sleep', '100']);
  const id = idOf(box, 'slow');
  const line = cgroupFile('blkio', id, 'blkio.throttle.write_bps_device', 'io.max');
  assert.match(line, new RegExp(isVersion2('blkio') ? `^${numbers} .*wbps=1048576` : `^${numbers} 1048576$`, 'm'));
  assert.deepEqual(
    JSON.parse(await box.quick(['inspect', '--format', '{{json .HostConfig.BlkioDeviceWriteBps}}', 'slow'])),
    [{ Path: device, Rate: 1048576 }],
  );
  const missing = box.tsbox(['run', '--rm', '--device-read-bps', '/dev/nix:1mb', box.image(), 'true']);
  assert.equal(missing.status, 125);
  assert.match(missing.stderr, /stat \/dev\/nix: ENOENT/);
});

test('limits: --oom-kill-disable is left out with a warning where the kernel has it not', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const { status, stderr } = await box.said(['create', '--name', 'calm', '--oom-kill-disable', box.image(), 'true']);
  assert.equal(status, 0);
  const expected = SUPPORT.oomKillDisable
    ? /^WARNING: OOM killer is disabled for the container, but no memory limit is set/
    : /^WARNING: Your kernel does not support OomKillDisable\. OomKillDisable discarded\.$/m;
  assert.match(stderr, expected);
  const kept = await box.quick(['inspect', '--format', '{{json .HostConfig.OomKillDisable}}', 'calm']);
  assert.equal(kept, SUPPORT.oomKillDisable ? 'true' : 'null');
});
