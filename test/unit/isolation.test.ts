/** Values of flags, modes of namespaces, mounts and devices: what needs no container. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { isolationRequest, parseDevice, parseSysctl, parseUlimit } from '../../src/cli/isolation-values.ts';
import { securityRequest } from '../../src/cli/security-opt.ts';
import type { ContainerRequest } from '../../src/engine/api.ts';
import { parseBind } from '../../src/engine/binds.ts';
import { makeHostConfig, securityNotes } from '../../src/engine/host-config.ts';
import { ociNamespaces } from '../../src/engine/namespaces.ts';
import { resolveUser } from '../../src/engine/user.ts';
import { mountOf } from '../../src/sys/mountinfo.ts';

test('ulimit: as Docker reads them', () => {
  assert.deepEqual(parseUlimit('nofile=10'), { Name: 'nofile', Soft: 10, Hard: 10 });
  assert.deepEqual(parseUlimit('core=0:-1'), { Name: 'core', Soft: 0, Hard: -1 });
  const refused: [string, RegExp][] = [
    ['nofile', /invalid ulimit argument: nofile/],
    ['foo=1', /invalid ulimit type: foo/],
    ['nofile=a', /strconv.ParseInt: parsing "a": invalid syntax/],
    ['nofile=1:2:3', /too many limit value arguments - 1:2:3, can only have up to two, `soft\[:hard\]`/],
    ['nofile=20:10', /less than or equal to hard limit: 20 > 10/],
    ['nofile=-1:5', /less than or equal to hard limit: soft: -1 \(unlimited\), hard: 5/],
  ];
  for (const [text, pattern] of refused) assert.throws(() => parseUlimit(text), pattern, text);
  const { resources } = isolationRequest({ ulimit: ['nofile=1', 'core=2', 'nofile=3'] });
  assert.deepEqual(
    resources?.Ulimits?.map(({ Name, Soft }) => [Name, Soft]),
    [
      ['core', 2],
      ['nofile', 3],
    ],
  );
});

test('sysctl: only what belongs to a namespace', () => {
  assert.deepEqual(parseSysctl('net.ipv4.ip_forward=1=2'), ['net.ipv4.ip_forward', '1=2']);
  assert.deepEqual(parseSysctl('kernel.shm_rmid_forced=1'), ['kernel.shm_rmid_forced', '1']);
  for (const bad of ['kernel.core_pattern=x', 'vm.swappiness=1', 'net/ipv4/x=1', 'kernel.shmmaxx=1', 'net.x', 'foo']) {
    assert.throws(() => parseSysctl(bad), new RegExp(`sysctl '${bad}' is not allowed`));
  }
});

test('device: paths and permissions', () => {
  const triple = (text: string) => Object.values(parseDevice(text)).join(' ');
  assert.equal(triple('/dev/zero'), '/dev/zero /dev/zero rwm');
  assert.equal(triple('/dev/zero:mr'), '/dev/zero /dev/zero mr');
  assert.equal(triple('/dev/zero:/z'), '/dev/zero /z rwm');
  assert.equal(triple('/dev/zero:/z:r'), '/dev/zero /z r');
  const refused: [string, string][] = [
    ['', 'bad format for path: '],
    ['/a:/b:r:w', 'bad format for path: /a:/b:r:w'],
    ['zero', 'zero is not an absolute path'],
    ['/dev/zero:z', 'z is not an absolute path'],
    ['/dev/zero:/z:q', 'bad mode specified: q'],
    ['/dev/zero:/z:rr', 'bad mode specified: rr'],
  ];
  for (const [text, message] of refused) assert.throws(() => parseDevice(text), { message }, text);
});

test('modes: what Docker’s client refuses', () => {
  const refused = (flags: Parameters<typeof isolationRequest>[0], message: string) =>
    assert.throws(() => isolationRequest(flags), { message });
  refused({ pid: 'private' }, '--pid: invalid PID mode');
  refused({ pid: 'container:' }, '--pid: invalid PID mode');
  refused({ uts: 'x' }, '--uts: invalid UTS mode');
  refused({ cgroupns: 'x' }, '--cgroupns: invalid CGROUP mode');
  refused({ 'shm-size': 'x' }, `invalid argument "x" for "--shm-size" flag: invalid size: 'x'`);
  refused(
    { 'device-cgroup-rule': ['c 1:3'] },
    `invalid argument "c 1:3" for "--device-cgroup-rule" flag: invalid device cgroup format 'c 1:3'`,
  );
  assert.equal(isolationRequest({ 'shm-size': '1.5g' }).shmSize, 1.5 * 1024 ** 3);
  for (const bad of ['seccomp', 'seccomp=', 'nope', 'disable']) {
    assert.throws(() => securityRequest([bad]), { message: `Invalid --security-opt: "${bad}"` });
  }
  assert.deepEqual(securityRequest(['systempaths=unconfined', 'no-new-privileges']), {
    systemPaths: 'unconfined',
    securityOpt: ['no-new-privileges'],
  });
});

const REQUEST: ContainerRequest = {
  image: 'x',
  command: [],
  env: [],
  labels: {},
  tty: false,
  openStdin: false,
  attached: false,
  autoRemove: false,
  readonlyRootfs: false,
  volumes: [],
  network: 'none',
  capAdd: [],
  capDrop: [],
  securityOpt: [],
  pull: 'never',
};

test('host config: what cannot be had together is refused', () => {
  const refused = (part: Partial<ContainerRequest>, message: string) =>
    assert.throws(() => makeHostConfig({ ...REQUEST, ...part }, ''), { message });
  refused({ uts: 'host', hostname: 'x' }, 'conflicting options: hostname and the UTS mode');
  refused({ ipc: 'x' }, 'Invalid IPC mode: x');
  const network = 'sysctl "net.ipv4.ip_forward" not allowed in host network namespace';
  refused({ network: 'host', sysctls: { 'net.ipv4.ip_forward': '1' } }, network);
  const ipc = 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace';
  refused({ ipc: 'host', sysctls: { 'kernel.shmmax': '1' } }, ipc);
});

test('host config: Docker’s values for what nobody asked for, for privileged ones and for those who see the host', () => {
  const usual = makeHostConfig(REQUEST, '');
  assert.deepEqual([usual.IpcMode, usual.PidMode, usual.UTSMode, usual.ShmSize], ['private', '', '', 64 * 1024 ** 2]);
  assert.deepEqual([usual.SecurityOpt, usual.GroupAdd, usual.Sysctls], [null, null, undefined]);
  const privileged = makeHostConfig({ ...REQUEST, privileged: true }, '');
  assert.deepEqual([privileged.MaskedPaths, privileged.ReadonlyPaths], [null, null]);
  assert.deepEqual(privileged.SecurityOpt, ['label=disable']);
  assert.deepEqual(makeHostConfig({ ...REQUEST, pid: 'host' }, '').SecurityOpt, ['label=disable']);
  assert.deepEqual(makeHostConfig({ ...REQUEST, systemPaths: 'unconfined' }, '').MaskedPaths, []);
});

test('namespaces: those of the host are left out, those of others are joined', () => {
  const modes = { IpcMode: 'container:a', PidMode: 'host', UTSMode: 'host', CgroupnsMode: 'host' };
  const config = { ...makeHostConfig(REQUEST, ''), ...modes };
  assert.deepEqual(ociNamespaces(config, { ipc: { pid: 7, shm: '/x' } }), [
    { type: 'mount' },
    { type: 'ipc', path: '/proc/7/ns/ipc' },
    { type: 'network' },
  ]);
});

test('groups: added ones by the image’s names and by number', () => {
  const groups = 'root:x:0:\naudio:x:29:\n';
  assert.deepEqual(resolveUser('', '', groups, ['audio', '77', '29']).additionalGids, [0, 29, 77]);
  assert.throws(() => resolveUser('', '', groups, ['nope']), /Unable to find group nope: no matching entries/);
});

test('binds: of each kind of option at most one', () => {
  for (const bad of ['ro,rw', 'ro,ro', 'shared,private', 'unbindable', 'nope', 'z,Z']) {
    assert.throws(() => parseBind(`/a:/b:${bad}`), { message: `invalid mode: ${bad}` });
  }
  assert.equal(parseBind('/a:/b:ro,rslave,z').Propagation, 'rslave');
});

test('mountinfo: the mount that holds a path is the innermost, and of two at a place the upper one', () => {
  const lines = [
    '1 0 8:1 / / rw shared:1 - ext4 /dev/x rw',
    '2 1 0:5 / /a rw master:2 - tmpfs x rw',
    '3 1 0:6 / /a\\040b rw - tmpfs x rw',
    '4 2 0:7 / /a rw shared:3 master:4 - tmpfs x rw',
  ];
  const table = lines.join('\n');
  assert.deepEqual(mountOf('/ab/c', table), { point: '/', line: lines[0], shared: true, slave: false });
  assert.deepEqual(mountOf('/a/c', table), { point: '/a', line: lines[3], shared: true, slave: true });
  assert.deepEqual(mountOf('/a b', table), { point: '/a b', line: lines[2], shared: false, slave: false });
});

test('security modules: without one its option has no effect, with one it is refused, as nothing is set', () => {
  const none = { apparmor: false, selinux: false };
  const both = { apparmor: true, selinux: true };
  const config = (...options: string[]) => makeHostConfig({ ...REQUEST, securityOpt: options }, '');
  assert.deepEqual(securityNotes(config('apparmor=mine', 'label=type:mine_t'), none), [
    'apparmor=mine has no effect: this host has no AppArmor',
    'label=type:mine_t has no effect: this host has no SELinux',
  ]);
  assert.deepEqual(securityNotes(config('apparmor=unconfined', 'label=disable'), both), []);
  assert.throws(
    () => securityNotes(config('apparmor=mine'), both),
    /apparmor=mine: not supported on a host with AppArmor/,
  );
  assert.throws(
    () => securityNotes(config('label=level:s0'), both),
    /label=level:s0: not supported on a host with SELinux/,
  );
});
