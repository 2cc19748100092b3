/** `tsbox doctor`: from facts of a host to what it says of it, over a table of hosts. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { report } from '../../src/cli/doctor.ts';
import { noColours, withColours } from '../../src/cli/screen.ts';
import { judge } from '../../src/engine/doctor/judge.ts';
import type { DoctorFacts, Finding, Level } from '../../src/spec/doctor.ts';
import { limitsOf, subordinateIds } from '../../src/sys/doctor.ts';

const CALLS = ['clone3', 'pidfd_open', 'openat2', 'open_tree', 'close_range', 'mount_setattr', 'seccomp'];
const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'];
const all = (names: readonly string[], outcome = 'ok') => Object.fromEntries(names.map((name) => [name, outcome]));

/** A host on which everything is as it should be, called by root. */
const ROOT: DoctorFacts = {
  uid: 0,
  user: 'root',
  kernel: '6.12.0',
  machine: 'x86_64',
  calls: all(CALLS),
  namespaces: all(NAMESPACES),
  userNamespaces: { make: 'ok', mount: 'ok' },
  overlay: { mount: 'ok', inUserNamespace: 'ok' },
  idmappedMounts: 'ok',
  fuse: 'ok',
  deviceProgram: 'ok',
  sysctls: { 'user/max_user_namespaces': '127000', 'fs/inotify/max_user_instances': '128' },
  cgroups: {
    mode: 'unified',
    controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'],
    delegated: ['cpuset', 'cpu', 'io', 'memory', 'pids'],
    make: 'ok',
    birth: 'ok',
  },
  ids: { subuid: 65536, subgid: 65536, newuidmap: 'ok', newgidmap: 'ok' },
  tools: { xz: '/usr/bin/xz', bzip2: '/usr/bin/bzip2', pasta: '/usr/bin/pasta' },
  libraries: all(['libseccomp.so.2', 'libnftables.so.1']),
  limits: { nofile: [1024, 524288], nproc: [63000, 63000] },
  roots: { data: root('/var/lib/tsbox'), run: root('/run/tsbox') },
  executor: { path: '/opt/tsbox-executor', version: 2, expected: 2 },
};

function root(path: string): DoctorFacts['roots']['data'] {
  return {
    path,
    at: path,
    fileSystem: 'ext4',
    writable: true,
    entryTypes: 'ok',
    xattrs: 'ok',
    freeBytes: 2 ** 36,
    freeInodes: 1e7,
  };
}

const USER: DoctorFacts = {
  ...ROOT,
  uid: 1000,
  user: 'alice',
  idmappedMounts: 'untried',
  deviceProgram: 'EPERM',
  overlay: { mount: 'untried', inUserNamespace: 'ok' },
  cgroups: { ...ROOT.cgroups, delegatedAt: '/sys/fs/cgroup/user.slice/user@1000.service' },
};

/** Findings that are not ok, `id: level` by their id. */
function complaints(facts: DoctorFacts): Record<string, Level> {
  const found = judge(facts).filter(({ level }) => level !== 'ok');
  return Object.fromEntries(found.map(({ id, level }) => [id, level]));
}

const of = (facts: DoctorFacts, id: string): Finding => {
  const found = judge(facts).find((finding) => finding.id === id);
  assert.ok(found, id);
  return found;
};

const HOSTS: readonly (readonly [name: string, facts: DoctorFacts, complaints: Record<string, Level>])[] = [
  ['all in order, root', ROOT, {}],
  ['all in order, an ordinary user', USER, { 'kernel.idmapped': 'note' }],
  [
    "Ubuntu 24.04: AppArmor's restriction, an ordinary user",
    {
      ...USER,
      userNamespaces: { make: 'ok', mount: 'EACCES' },
      sysctls: { ...ROOT.sysctls, 'kernel/apparmor_restrict_unprivileged_userns': '1' },
    },
    { 'kernel.idmapped': 'note', 'users.namespaces': 'error' },
  ],
  [
    "Ubuntu 24.04: AppArmor's restriction does not concern root",
    { ...ROOT, sysctls: { ...ROOT.sysctls, 'kernel/apparmor_restrict_unprivileged_userns': '1' } },
    {},
  ],
  [
    'RHEL with user namespaces off, an ordinary user',
    {
      ...USER,
      userNamespaces: { make: 'ENOSPC', mount: 'ENOSPC' },
      sysctls: { 'user/max_user_namespaces': '0' },
    },
    { 'kernel.idmapped': 'note', 'users.namespaces': 'error' },
  ],
  [
    'RHEL with user namespaces off, root',
    { ...ROOT, userNamespaces: { make: 'ENOSPC', mount: 'ENOSPC' }, sysctls: { 'user/max_user_namespaces': '0' } },
    { 'users.namespaces': 'note' },
  ],
  [
    'Debian 10: unprivileged user namespaces off',
    {
      ...USER,
      userNamespaces: { make: 'EPERM', mount: 'EPERM' },
      sysctls: { ...ROOT.sysctls, 'kernel/unprivileged_userns_clone': '0' },
    },
    { 'kernel.idmapped': 'note', 'users.namespaces': 'error' },
  ],
  [
    'a user without lines in subuid, without newuidmap and delegation',
    {
      ...USER,
      ids: { subuid: 0, subgid: 0, newuidmap: 'absent', newgidmap: 'absent' },
      cgroups: { ...ROOT.cgroups, delegated: ['memory', 'pids'], make: 'EACCES' },
    },
    {
      'kernel.idmapped': 'note',
      'users.subids': 'warning',
      'users.newidmap': 'warning',
      'cgroups.make': 'warning',
      'cgroups.delegation': 'warning',
    },
  ],
  [
    'version 1, root',
    {
      ...ROOT,
      deviceProgram: 'EINVAL',
      cgroups: {
        mode: 'legacy',
        controllers: ['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'blkio', 'devices', 'freezer'],
        delegated: [],
        make: 'ok',
        birth: 'untried',
      },
    },
    {},
  ],
  [
    'a Raspberry Pi: no memory controller',
    { ...ROOT, cgroups: { ...ROOT.cgroups, controllers: ['cpuset', 'cpu', 'io', 'pids'] } },
    { 'cgroups.controllers': 'warning' },
  ],
  [
    'in a container of Docker',
    {
      ...ROOT,
      calls: all(CALLS, 'EPERM'),
      namespaces: all(NAMESPACES, 'EPERM'),
      userNamespaces: { make: 'EPERM', mount: 'EPERM' },
      overlay: { mount: 'EPERM', inUserNamespace: 'EPERM' },
      deviceProgram: 'EPERM',
      fuse: 'ENOENT',
      cgroups: { ...ROOT.cgroups, make: 'EROFS', birth: 'untried' },
      roots: { ...ROOT.roots, data: { ...ROOT.roots.data, fileSystem: 'overlay' } },
    },
    {
      'kernel.calls': 'error',
      'kernel.namespaces': 'error',
      'kernel.seccomp': 'warning',
      'kernel.overlay': 'error',
      'kernel.fuse': 'note',
      'users.namespaces': 'note',
      'cgroups.make': 'error',
      'cgroups.devices': 'warning',
      'data.filesystem': 'error',
    },
  ],
  [
    'a data root on an overlay: the storage driver fuse helps',
    {
      ...ROOT,
      overlay: { mount: 'EINVAL', inUserNamespace: 'EINVAL' },
      roots: { ...ROOT.roots, data: { ...ROOT.roots.data, fileSystem: 'overlay' } },
    },
    { 'kernel.overlay': 'note', 'users.overlay': 'note', 'data.filesystem': 'note' },
  ],
  [
    'a kernel on which only root may mount overlays, an ordinary user: the storage driver fuse helps',
    { ...USER, overlay: { mount: 'untried', inUserNamespace: 'EPERM' } },
    { 'kernel.idmapped': 'note', 'users.overlay': 'note' },
  ],
  [
    'a data root on an overlay, an ordinary user: the storage driver fuse helps',
    {
      ...USER,
      overlay: { mount: 'untried', inUserNamespace: 'EINVAL' },
      roots: { ...ROOT.roots, data: { ...ROOT.roots.data, fileSystem: 'overlay' } },
    },
    { 'kernel.idmapped': 'note', 'users.overlay': 'note', 'data.filesystem': 'note' },
  ],
  [
    'the same, and /dev/fuse is root’s alone: copies',
    {
      ...USER,
      fuse: 'EACCES',
      overlay: { mount: 'untried', inUserNamespace: 'EINVAL' },
      roots: { ...ROOT.roots, data: { ...ROOT.roots.data, fileSystem: 'overlay' } },
    },
    { 'kernel.idmapped': 'note', 'kernel.fuse': 'note', 'users.overlay': 'warning', 'data.filesystem': 'warning' },
  ],
  [
    'a data root on an overlay, and no FUSE: copies',
    {
      ...ROOT,
      overlay: { mount: 'EINVAL', inUserNamespace: 'EINVAL' },
      fuse: 'ENOENT',
      roots: { ...ROOT.roots, data: { ...ROOT.roots.data, fileSystem: 'overlay' } },
    },
    { 'kernel.overlay': 'warning', 'kernel.fuse': 'note', 'users.overlay': 'note', 'data.filesystem': 'warning' },
  ],
  [
    'Linux 5.4: too old',
    {
      ...ROOT,
      kernel: '5.4.0',
      calls: { ...all(CALLS), openat2: 'ENOSYS', mount_setattr: 'ENOSYS', close_range: 'ENOSYS' },
    },
    { 'kernel.calls': 'error' },
  ],
  [
    'not built, and built from other sources',
    { ...ROOT, executor: { path: '/x', version: 1, expected: 2 } },
    { 'tsbox.executor': 'error' },
  ],
  [
    'an xfs without ftype, nearly full',
    {
      ...ROOT,
      idmappedMounts: 'EINVAL',
      roots: {
        ...ROOT.roots,
        data: { ...ROOT.roots.data, fileSystem: 'xfs', entryTypes: 'ENOTSUP', xattrs: 'EOPNOTSUPP', freeBytes: 1e8 },
      },
    },
    { 'kernel.idmapped': 'note', 'data.filesystem': 'error', 'data.space': 'warning' },
  ],
  [
    'a data root that belongs to root',
    { ...USER, roots: { ...USER.roots, data: { ...USER.roots.data, writable: false } } },
    { 'kernel.idmapped': 'note', 'data.root': 'error' },
  ],
  [
    'a bare system',
    { ...ROOT, tools: {}, libraries: all(['libseccomp.so.2', 'libnftables.so.1'], 'unknown'), fuse: 'ENOENT' },
    {
      'kernel.fuse': 'note',
      'tools.xz': 'note',
      'tools.bzip2': 'note',
      'tools.pasta': 'note',
      'libraries.libseccomp': 'note',
      'libraries.libnftables': 'note',
    },
  ],
  [
    'tight limits',
    { ...USER, limits: { nofile: [256, 256], nproc: [100, 100] }, sysctls: { 'fs/inotify/max_user_instances': '16' } },
    {
      'kernel.idmapped': 'note',
      'limits.nofile': 'warning',
      'limits.nproc': 'warning',
      'limits.inotify': 'note',
    },
  ],
];

for (const [name, facts, expected] of HOSTS) {
  test(`doctor: ${name}`, () => assert.deepEqual(complaints(facts), expected));
}

test('doctor: every complaint says what mends it, but what was not tried', () => {
  for (const [name, facts] of HOSTS) {
    for (const { id, level, says, fix } of judge(facts)) {
      assert.equal(fix !== undefined, level !== 'ok' && !says.startsWith('not tried'), `${name}: ${id}`);
    }
  }
});

test('doctor: ids are unique', () => {
  for (const [, facts] of HOSTS) {
    const ids = judge(facts).map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  }
});

test('doctor: what forbids user namespaces is mended by its own kernel parameter', () => {
  const fix = (name: string) => of(HOSTS.find(([host]) => host.startsWith(name))![1], 'users.namespaces').fix;
  assert.match(fix('Ubuntu 24.04') ?? '', /^sysctl -w kernel\.apparmor_restrict_unprivileged_userns=0\n/);
  assert.match(fix('RHEL') ?? '', /^sysctl -w user\.max_user_namespaces=28633\n/);
  assert.match(fix('Debian 10') ?? '', /^sysctl -w kernel\.unprivileged_userns_clone=1\n/);
});

test('doctor: delegation says what was given, and what mends it: elsewhere there may be a cgroup, or systemd has to give more', () => {
  const few = { ...USER, cgroups: { ...USER.cgroups, delegated: ['memory', 'pids'] } };
  const { delegatedAt: _, ...cgroups } = USER.cgroups;
  const none = { ...USER, cgroups: { ...cgroups, delegated: [], make: 'EACCES' } };
  assert.match(of(USER, 'cgroups.delegation').says, /^cpuset, cpu, io, memory, pids, in .*\/user@1000\.service$/);
  assert.match(of(few, 'cgroups.delegation').says, /delegated to you: memory, pids; not delegated.*: cpu, cpuset, io$/);
  assert.match(of(few, 'cgroups.delegation').fix ?? '', /Delegate=cpu cpuset io memory pids/);
  assert.match(of(none, 'cgroups.delegation').fix ?? '', /^systemd-run --user --scope/);
  assert.match(of(none, 'cgroups.make').fix ?? '', /^systemd-run --user --scope/);
});

test('doctor: fixes name the caller', () => {
  const facts = { ...USER, ids: { ...USER.ids, subuid: 0, subgid: 0 } };
  assert.equal(of(facts, 'users.subids').fix, 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice');
});

test('doctor: subordinate ids by name and by number', () => {
  const text = 'alice:100000:65536\nbob:165536:65536\n1000:300000:1000\nalice:broken\n';
  assert.equal(subordinateIds(text, 'alice', 1000), 66536);
  assert.equal(subordinateIds(text, 'carol', 7), 0);
});

test('doctor: limits of /proc/self/limits', () => {
  const text =
    'Limit  Soft Limit  Hard Limit  Units\nMax processes             63000   unlimited   processes\nMax open files            1024                 4096                 files     \n';
  assert.deepEqual(limitsOf(text, 'Max open files'), [1024, 4096]);
  assert.deepEqual(limitsOf(text, 'Max processes'), [63000, -1]);
});

test('doctor: the report is aligned, wrapped, and ends with a verdict', () => {
  const findings: Finding[] = [
    { id: 'a', level: 'ok', what: 'kernel', says: 'Linux 6.12' },
    {
      id: 'b',
      level: 'warning',
      what: 'subordinate ids',
      says: 'none for alice in two files that are long',
      fix: 'one\ntwo',
    },
  ];
  const expected = `ok       kernel           Linux 6.12
warning  subordinate ids  none for alice in two files
                          that are long
                          -> one
                          -> two
tsbox run works here: 1 warning.
`;
  assert.equal(report(findings, noColours, 56), expected);
  assert.match(report(findings, withColours, 56), /\x1b\[33mwarning\x1b\[0m {2}subordinate/);
  assert.match(
    report([{ ...findings[0]!, level: 'error' }], noColours, 80),
    /tsbox run does not work here: 1 error\.\n$/,
  );
  assert.match(report([findings[0]!], noColours, 80), /tsbox run works here\.\n$/);
});
