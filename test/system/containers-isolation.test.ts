/** Namespaces that are shared, devices, limits of processes and kernel parameters, by what a container sees of them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { type Sandbox, sandbox, until } from './harness.ts';

const inside = (box: Sandbox, flags: string[], script: string) =>
  box.ok(['run', '--rm', ...flags, box.image(), 'sh', '-c', script]);

const started = (box: Sandbox, name: string, flags: string[] = [], script = 'exec sleep 1000') =>
  box.ok(['run', '-d', '--name', name, ...flags, box.image(), 'sh', '-c', script]);

/** What must fail. @returns its message */
function refused(box: Sandbox, flags: string[], code = 125): string {
  const { status, stderr } = box.tsbox(['run', '--rm', ...flags, box.image(), 'true']);
  assert.equal(status, code, stderr);
  return stderr.split('\n')[0]!.replace(/^tsbox: /, '');
}

const processExists = (pid: string) => spawnSync('kill', ['-0', pid]).status === 0;

test('pid: a container sees the processes of the host, and takes its own with it when it ends', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const [namespace, pid] = inside(
    box,
    ['--pid', 'host'],
    'readlink /proc/self/ns/pid; sleep 1000 & echo $!; kill -0 $!',
  ).split('\n');
  assert.equal(namespace, readlinkSync('/proc/self/ns/pid'));
  await until('the process that was left behind to end', () => !processExists(pid!));
  const script = 'sleep 1001 & exec sleep 1000';
  started(box, 'seer', ['--pid', 'host'], script);
  const shown = box.ok(['exec', 'seer', 'sh', '-c', 'readlink /proc/self/ns/pid; ps -o args | grep -c "[s]leep 100"']);
  assert.equal(shown.split('\n')[0], namespace);
  assert.equal(
    await box.quick(['inspect', '-f', '{{.HostConfig.PidMode}} {{.HostConfig.SecurityOpt}}', 'seer']),
    'host [label=disable]',
  );
});

test('pid: a container joins the processes of another', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const id = started(box, 'first');
  assert.match(inside(box, ['--pid', 'container:first'], 'ps -o pid,args'), /^ +1 sleep 1000$/m);
  assert.match(refused(box, ['--pid', 'container:nope']), /No such container: nope/);
  started(box, 'second', ['--pid', 'container:first']);
  assert.match(box.ok(['exec', 'second', 'ps', '-o', 'pid,args']), /^ +1 sleep 1000$/m);
  await box.quick(['kill', 'first']);
  assert.equal(await box.quick(['wait', 'second']), '137', 'the kernel ends a PID namespace with its first process');
  await box.quick(['wait', 'first']);
  assert.equal(refused(box, ['--pid', 'container:first']), `container ${id} is not running`);
  const { status, stderr } = box.tsbox(['start', 'second']);
  assert.equal(status, 1);
  assert.match(stderr, new RegExp(`container ${id} is not running`));
  box.ok(['start', 'first']);
  box.ok(['rename', 'first', 'renamed']);
  assert.equal(box.ok(['inspect', '-f', '{{.HostConfig.PidMode}}', 'second']), `container:${id}`);
  box.ok(['start', 'second']);
  assert.match(box.ok(['exec', 'second', 'ps', '-o', 'pid,args']), /^ +1 sleep 1000$/m);
});

test('ipc: shared memory is private, shared on request, the host’s, or none', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const own = started(box, 'own');
  started(box, 'open', ['--ipc', 'shareable', '--shm-size', '2m'], 'echo shared > /dev/shm/file; exec sleep 1000');
  const show = 'readlink /proc/self/ns/ipc; cat /dev/shm/file; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2';
  const [namespace, ...seen] = inside(box, ['--ipc', 'container:open'], show).split('\n');
  assert.deepEqual(seen, ['shared', '2048']);
  assert.equal(namespace, box.ok(['exec', 'open', 'readlink', '/proc/self/ns/ipc']));
  assert.equal(
    refused(box, ['--ipc', 'container:own']),
    `can't join IPC of container ${own}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
  );
  await box.quick(['kill', 'own']);
  await box.quick(['wait', 'own']);
  assert.match(
    refused(box, ['--ipc', 'container:own']),
    /can't join IPC of container .*: container .* is not running$/,
  );
  assert.equal(refused(box, ['--ipc', 'nope']), 'Invalid IPC mode: nope');
  assert.equal(inside(box, ['--ipc', 'none'], 'ls -d /dev/shm 2>&1 | wc -l; mount | grep -c shm; true'), '1\n0');
  const name = `tsbox-test-${process.pid}`;
  writeFileSync(`/dev/shm/${name}`, 'of the host');
  t.after(() => rmSync(`/dev/shm/${name}`));
  const host = inside(box, ['--ipc', 'host'], `readlink /proc/self/ns/ipc; cat /dev/shm/${name}`);
  assert.equal(host, `${readlinkSync('/proc/self/ns/ipc')}\nof the host`);
  assert.equal(inside(box, [], `ls /dev/shm | wc -l`), '0');
});

test('uts and cgroup namespaces of the host', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  assert.equal(inside(box, ['--uts', 'host'], 'hostname'), hostname());
  assert.equal(refused(box, ['--uts', 'host', '-h', 'x']), 'conflicting options: hostname and the UTS mode');
  const group = inside(box, ['--cgroupns', 'host'], 'readlink /proc/self/ns/cgroup; head -1 /proc/self/cgroup').split(
    '\n',
  );
  assert.equal(group[0], readlinkSync('/proc/self/ns/cgroup'));
  assert.match(group[1]!, /\/tsbox-[0-9a-f]{64}$/);
  assert.match(inside(box, [], 'head -1 /proc/self/cgroup'), /:\/$/);
  started(box, 'names', ['--uts', 'host', '--cgroupns', 'host']);
  assert.equal(box.ok(['exec', 'names', 'hostname']), hostname());
  // Nobody sees the cgroups of others.
  const seen = inside(box, ['--cgroupns', 'host'], 'find /sys/fs/cgroup -name "tsbox-*" | wc -l');
  assert.equal(seen, '0');
});

test('ulimit: of the first process and of what exec starts', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['--ulimit', 'nofile=77:88', '--ulimit', 'core=0'];
  const show = 'ulimit -Sn; ulimit -Hn; ulimit -c';
  assert.equal(inside(box, flags, show), '77\n88\n0');
  started(box, 'one', flags);
  assert.equal(box.ok(['exec', 'one', 'sh', '-c', show]), '77\n88\n0');
  const few = 'for i in 1 2 3 4 5 6 7 8; do eval "exec $((i + 10))</dev/null" || exit 9; done; echo fine';
  assert.equal(inside(box, [], few), 'fine');
  const { status } = box.tsbox(['run', '--rm', '--ulimit', 'nofile=15', box.image(), 'sh', '-c', few]);
  assert.notEqual(status, 0);
});

test('sysctl: of its own namespaces, and those that Docker sets', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const read = (...names: string[]) => names.map((name) => `cat /proc/sys/${name}`).join('; ');
  const usual = inside(box, [], read('net/ipv4/ip_unprivileged_port_start', 'net/ipv4/ping_group_range'));
  assert.match(usual, /^0\n0\s2147483647$/);
  const flags = ['--sysctl', 'net.ipv4.ip_unprivileged_port_start=99', '--sysctl', 'kernel.msgmax=1234'];
  assert.equal(inside(box, flags, read('net/ipv4/ip_unprivileged_port_start', 'kernel/msgmax')), '99\n1234');
  assert.match(refused(box, ['--sysctl', 'kernel.core_pattern=x']), /sysctl 'kernel.core_pattern=x' is not allowed/);
  assert.match(refused(box, ['--network', 'host', '--sysctl', 'net.ipv4.ip_forward=1']), /not allowed in host network/);
  assert.match(
    refused(box, ['--ipc', 'host', '--sysctl', 'kernel.shmmax=1']),
    /not allowed in the hosts ipc namespace/,
  );
  assert.match(refused(box, ['--sysctl', 'net.ipv4.nope=1']), /"\/proc\/sys\/net\/ipv4\/nope".*ENOENT/);
});

test('groups: added by name and number, for exec too', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['--group-add', 'staff', '--group-add', '4711'];
  assert.equal(inside(box, [...flags, '-u', '1:2'], 'id -G'), '2 50 4711');
  started(box, 'one', flags);
  assert.equal(box.ok(['exec', '-u', '1:2', 'one', 'id', '-G']), '2 50 4711');
  assert.match(refused(box, ['--group-add', 'nope']), /Unable to find group nope: no matching entries in group file/);
});

/** Device nodes of one's own. */
function deviceTree(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsb-devices-'));
  t.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'sub'));
  const script =
    'mknod -m 640 zero c 1 5; chown 5:6 zero; mknod -m 666 sub/full c 1 7; ln -s ../zero sub/link; touch file';
  assert.equal(spawnSync('sh', ['-c', script], { cwd: directory }).status, 0);
  return directory;
}

test('devices: files, directories and symlinks of the host, with owner and mode', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const directory = deviceTree(t);
  const list = (flags: string[], ...paths: string[]) =>
    inside(box, flags, `stat -c '%n %a %u:%g %t:%T' ${paths.join(' ')}`);
  assert.equal(
    list(['--device', `${directory}:/dev/all`], '/dev/all/zero', '/dev/all/sub/full'),
    '/dev/all/zero 640 5:6 1:5\n/dev/all/sub/full 666 0:0 1:7',
  );
  assert.equal(list(['--device', `${directory}/sub/link:/here/z`], '/here/z'), '/here/z 640 5:6 1:5');
  assert.equal(inside(box, ['--device', `${directory}/sub/full:/dev/zero`], 'echo x > /dev/zero; echo $?'), '1');
  const covers = box.tsbox(['run', '--rm', '--device', `${directory}/sub/full:/dev/null`, box.image(), 'true']);
  assert.match(covers.stderr, /"\/dev\/null".*ENODEV/, 'what is covered is covered with the real one');
  assert.match(refused(box, ['--device', `${directory}/file`]), /custom device ".*file": not a device node/);
  assert.match(refused(box, ['--device', '/dev/nope']), /custom device "\/dev\/nope": no such file or directory/);
});

test('devices: a node is of no use without a rule, and with one for what the rule says', async (t) => {
  if (!requires(t, 'root', 'overlay', 'file:/dev/fuse')) return;
  const box = sandbox(t);
  const use =
    '[ -e /dev/fuse ] || mknod /dev/fuse c 10 229; (: < /dev/fuse) 2>/dev/null; echo -n $?; (: > /dev/fuse) 2>/dev/null; echo $?';
  const attempt = (...flags: string[]) => inside(box, flags, use);
  assert.equal(attempt(), '11');
  assert.equal(attempt('--device', '/dev/fuse'), '00');
  assert.equal(attempt('--device', '/dev/fuse:r'), '01');
  assert.equal(attempt('--device-cgroup-rule', 'c 10:229 w'), '10');
  assert.equal(attempt('--device-cgroup-rule', 'c 10:* rw'), '00');
  assert.equal(attempt('--privileged'), '00');
});

test('privileged: the host’s devices, nothing covered, /sys can be written', async (t) => {
  if (!requires(t, 'root', 'overlay')) return;
  const box = sandbox(t);
  const flags = ['--privileged'];
  assert.equal(inside(box, flags, 'ls /dev/kmsg; ls -l /dev/ptmx | grep -c "pts/ptmx"'), '/dev/kmsg\n1');
  const mounts = inside(box, flags, 'mount').split('\n');
  assert.ok(mounts.some((line) => /^sysfs on \/sys type sysfs \(rw/.test(line)));
  assert.deepEqual(
    mounts.filter((line) => / on \/proc\/|\bro,/.test(line)),
    [],
  );
  assert.match(inside(box, ['-t', ...flags], 'echo > /dev/console && echo fine'), /fine/);
  const unconfined = inside(box, ['--security-opt', 'systempaths=unconfined'], 'mount').split('\n');
  assert.deepEqual(
    unconfined.filter((line) => / on \/proc\//.test(line)),
    [],
  );
  const half = inside(box, ['--privileged', '--security-opt', 'no-new-privileges'], 'grep NoNew /proc/self/status');
  assert.match(half, /1$/);
});

test('binds: mounts that are made later go the way that the propagation says', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  const box = sandbox(t);
  box.image();
  const directory = mkdtempSync(join(box.directory, 'shared-'));
  /** In a mount namespace of its own, where the directory is a shared mount with `in` and `out` in it. */
  const attempt = (propagation: string) => {
    const script = `set -e
      mount -t tmpfs x ${directory}; mount --make-shared ${directory}; mkdir ${directory}/in ${directory}/out
      tsbox run -d --name pp --cap-add SYS_ADMIN -v ${directory}:/m:${propagation} busybox:offline sleep 1000 >/dev/null
      tsbox exec pp mount -t tmpfs inside /m/out
      mount -t tmpfs host ${directory}/in
      echo out $(grep -c ' ${directory}/out ' /proc/self/mountinfo) in $(tsbox exec pp grep -c ' /m/in ' /proc/self/mountinfo)
      tsbox rm -f pp >/dev/null`;
    const run = spawnSync('unshare', ['-m', 'sh', '-c', script], { env: box.env, encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout.trim();
  };
  assert.equal(attempt('rprivate'), 'out 0 in 0');
  assert.equal(attempt('rslave'), 'out 0 in 1');
  assert.equal(attempt('rshared'), 'out 1 in 1');
  assert.equal(attempt('shared,ro'), 'out 1 in 1');
});

test('binds: a private source cannot be shared', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:unshare')) return;
  const box = sandbox(t);
  box.image();
  const directory = mkdtempSync(join(box.directory, 'private-'));
  const script = `mount -t tmpfs x ${directory}; mount --make-private ${directory}
    tsbox run --rm -v ${directory}:/m:$1 busybox:offline true`;
  const attempt = (mode: string) =>
    spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', mode], { env: box.env, encoding: 'utf8' });
  const refused = attempt('rshared');
  assert.equal(refused.status, 125);
  assert.match(refused.stderr, new RegExp(`path ${directory} is mounted on ${directory} but it is not a shared mount`));
  assert.match(attempt('slave').stderr, /but it is not a shared or slave mount/);
  assert.equal(attempt('private').status, 0);
});
