import assert from 'node:assert/strict';
import test from 'node:test';
import { type CompileInput, compilePlan } from '../../src/plan/compile.ts';
import { compileEnter } from '../../src/plan/enter.ts';
import { fillPlan, withHoles } from '../../src/plan/holes.ts';
import { initList, type Step } from '../../src/plan/step.ts';
import { fill, hole, show, text } from '../../src/plan/text.ts';
import { encodePlan } from '../../src/plan/wire.ts';
import type { HostFacts } from '../../src/spec/host.ts';
import { parseMountOptions } from '../../src/spec/mount-options.ts';
import type { OciConfig } from '../../src/spec/oci-runtime.ts';

const ID = 'a1'.repeat(32);

const UNIFIED: HostFacts = {
  uid: 0,
  kernel: 601,
  cgroupMode: 'unified',
  hostMode: 'unified',
  hierarchies: [{ mount: '/sys/fs/cgroup', version: 2, controllers: [] }],
  capabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN'],
};

const LEGACY: HostFacts = {
  ...UNIFIED,
  cgroupMode: 'hybrid',
  hostMode: 'hybrid',
  hierarchies: [
    { mount: '/sys/fs/cgroup/cpuset', version: 1, controllers: ['cpuset'] },
    { mount: '/sys/fs/cgroup/systemd', version: 1, controllers: ['name=systemd'] },
    { mount: '/sys/fs/cgroup/unified', version: 2, controllers: [] },
  ],
  cpuset: { cpus: '0-1', mems: '0' },
};

function config(overrides: Partial<OciConfig> = {}): OciConfig {
  return {
    ociVersion: '1.2.0',
    root: { path: '/data/overlay2/layer/merged' },
    hostname: 'box',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'ro'] },
      { destination: '/etc/hosts', type: 'bind', source: '/data/hosts', options: ['rbind', 'ro', 'rprivate'] },
    ],
    process: { user: { uid: 0, gid: 0 }, args: ['sh'], env: ['PATH=/bin'], cwd: '/work' },
    linux: {
      namespaces: [{ type: 'mount' }, { type: 'pid' }, { type: 'network' }, { type: 'uts' }, { type: 'cgroup' }],
      cgroupsPath: `/tsbox-${ID}`,
      maskedPaths: ['/proc/kcore', '/proc/acpi', '/proc/nothing'],
      readonlyPaths: ['/proc/sys'],
    },
    ...overrides,
  };
}

function input(overrides: Partial<CompileInput> = {}): CompileInput {
  return {
    config: config(),
    facts: UNIFIED,
    kinds: new Map([
      ['/data/hosts', 'file'],
      ['/proc/kcore', 'file'],
      ['/proc/acpi', 'directory'],
      ['/proc/nothing', 'absent'],
    ]),
    readyMountPoints: new Set(['/proc', '/dev', '/sys', '/sys/fs', '/sys/fs/cgroup', '/etc', '/etc/hosts']),
    rootIsMount: true,
    monitor: {
      runDirectory: `/run/tsbox/${ID}`,
      stdin: 'STDIN_NULL',
      exitRecord: { first: `/run/tsbox/${ID}.exit`, kept: `/data/containers/${ID}/exit.json` },
    },
    setup: [],
    cleanup: [],
    ...overrides,
  };
}

const position = (steps: readonly Step[], found: (step: Step) => boolean) => {
  const at = steps.findIndex(found);
  assert.notEqual(at, -1, 'the step is in the list');
  return at;
};

test('plan: the cgroups are entered before the cgroup namespace is made', () => {
  const plan = compilePlan(input({ facts: LEGACY }));
  const init = initList(plan);
  const joined = init.findLastIndex((s) => s.op === 'write' && show(s.path).endsWith('/tasks'));
  assert.notEqual(joined, -1);
  assert.ok(joined < position(init, (s) => s.op === 'unshare'));
  const born = position(
    plan.monitor,
    (s) => s.op === 'birth_cgroup' && show(s.path).startsWith('/sys/fs/cgroup/unified/'),
  );
  assert.ok(born < position(plan.monitor, (s) => s.op === 'spawn'));
});

test('plan: the first process of the PID namespace is made after unshare and before proc is mounted', () => {
  const init = initList(compilePlan(input()));
  const fork = position(init, (s) => s.op === 'fork');
  assert.ok(position(init, (s) => s.op === 'unshare') < fork);
  assert.ok(fork < position(init, (s) => s.op === 'mount' && s.type === 'proc'));
});

test('plan: a bind is opened before pivot_root and attached after it', () => {
  const init = initList(compilePlan(input()));
  const pivot = position(init, (s) => s.op === 'pivot_root');
  assert.ok(position(init, (s) => s.op === 'open_tree' && s.path === '/data/hosts') < pivot);
  assert.ok(pivot < position(init, (s) => s.op === 'move_mount' && s.target === '/etc/hosts'));
});

test('plan: nothing but procfs and sysfs is mounted while the old root lies on the new one', () => {
  const init = initList(compilePlan(input()));
  const pivot = position(init, (s) => s.op === 'pivot_root');
  const off = position(init, (s) => s.op === 'umount' && s.target === '.');
  const between = init.slice(pivot + 1, off);
  assert.deepEqual(
    between.map((s) => (s.op === 'mount' ? s.type : s.op)),
    ['proc'],
  );
  assert.equal(
    init.slice(off).some((s) => s.op === 'mount' && (s.type === 'proc' || s.type === 'sysfs')),
    false,
  );
});

test('plan: it never chroots, and no step of the new process names the host root after the pivot', () => {
  const init = initList(compilePlan(input()));
  const pivot = position(init, (s) => s.op === 'pivot_root');
  for (const step of init.slice(pivot))
    assert.doesNotMatch(
      JSON.stringify(step, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
      /\/data\/overlay2/,
    );
});

test('plan: a masked file is covered by /dev/null, a masked directory by a tmpfs, an absent one is left out', () => {
  const init = initList(compilePlan(input()));
  const over = (path: string) => init.filter((s) => s.op === 'mount' && s.target === path);
  const covered = init.filter((s) => s.op === 'move_mount' && s.target === '/proc/kcore');
  const slots = covered.map((s) => s.op === 'move_mount' && s.slot);
  const opened = init.filter((s) => s.op === 'open_device' && slots.includes(s.slot));
  assert.deepEqual(
    opened.map((s) => s.op === 'open_device' && [s.path, s.major, s.minor]),
    [['/dev/null', 1, 3]],
  );
  assert.deepEqual(
    over('/proc/acpi').map((s) => s.op === 'mount' && s.type),
    ['tmpfs'],
  );
  assert.deepEqual(over('/proc/nothing'), []);
});

test('plan: devices, terminal, names and what masks are made of come before any bind, masks after all', () => {
  const process = { ...config().process, terminal: true };
  const init = initList(
    compilePlan(input({ config: config({ process, linux: { ...config().linux, sysctl: { 'net.a': '1' } } }) })),
  );
  const bind = position(init, (s) => s.op === 'move_mount' && s.flags.includes('MOVE_MOUNT_T_SYMLINKS'));
  for (const op of ['mknod', 'open_device', 'pty', 'write_proc', 'sethostname'] as const) {
    assert.ok(init.findLastIndex((s) => s.op === op) < bind, op);
  }
  assert.ok(bind < position(init, (s) => s.op === 'move_mount' && s.target === '/proc/kcore'));
});

test('plan: what a bind forbids is said before any path leads to it', () => {
  const mounts = [{ destination: '/data', type: 'bind', source: '/data', options: ['rbind', 'ro', 'rslave'] }];
  const init = initList(compilePlan(input({ config: config({ mounts }) })));
  const attach = position(init, (s) => s.op === 'move_mount' && s.target === '/data');
  const said = init.filter((s) => s.op === 'tree_setattr');
  assert.deepEqual(
    said.map((s) => s.op === 'tree_setattr' && [s.slot, s.at, s.set, s.propagation]),
    [
      [0, ['AT_RECURSIVE'], [], ['MS_SLAVE']],
      [0, ['AT_RECURSIVE'], ['MOUNT_ATTR_RDONLY'], []],
    ],
  );
  assert.ok(init.findLastIndex((s) => s.op === 'tree_setattr') < attach);
  assert.equal(
    init.slice(attach + 1).some((s) => 'target' in s && s.target === '/data'),
    false,
    'nothing is done by that path afterwards',
  );
});

test('plan: a propagation that is not for what is mounted below leaves nothing there that is passed on to the host', () => {
  const said = (option: string) => {
    const mounts = [{ destination: '/data', type: 'bind', source: '/data', options: ['rbind', 'rw', option] }];
    const init = initList(compilePlan(input({ config: config({ mounts }) })));
    return init
      .filter((s) => s.op === 'tree_setattr')
      .map((s) => s.op === 'tree_setattr' && [...s.at, ...s.propagation]);
  };
  assert.deepEqual(said('private'), [['AT_RECURSIVE', 'MS_SLAVE'], ['MS_PRIVATE']]);
  assert.deepEqual(said('slave'), [['AT_RECURSIVE', 'MS_SLAVE'], ['MS_SLAVE']]);
  assert.deepEqual(said('shared'), [['MS_SHARED']]);
  assert.deepEqual(said('rprivate'), [['AT_RECURSIVE', 'MS_PRIVATE']]);
});

test('plan: a version 1 cpuset gets processors and memory before anybody joins', () => {
  const plan = compilePlan(input({ facts: LEGACY }));
  const written = plan.setup
    .filter((s) => s.op === 'write')
    .map((s) => (s.op === 'write' ? [show(s.path), s.data] : []));
  assert.deepEqual(written, [
    [`/sys/fs/cgroup/cpuset/tsbox-${ID}/cpuset.cpus`, '0-1'],
    [`/sys/fs/cgroup/cpuset/tsbox-${ID}/cpuset.mems`, '0'],
  ]);
});

test('plan: a hierarchy of several controllers is found under the name of each', () => {
  const shared = { mount: '/sys/fs/cgroup/cpu,cpuacct', version: 1 as const, controllers: ['cpu', 'cpuacct'] };
  const init = initList(compilePlan(input({ facts: { ...LEGACY, hierarchies: [...LEGACY.hierarchies, shared] } })));
  const links = init.filter((s) => s.op === 'symlink' && s.path.toString().startsWith('/sys/'));
  assert.deepEqual(
    links.map((s) => s.op === 'symlink' && [s.path, s.target]),
    ['cpu', 'cpuacct'].map((name) => [`/sys/fs/cgroup/${name}`, 'cpu,cpuacct']),
  );
});

test('plan: /dev/core only where the kernel has /proc/kcore', () => {
  const cores = (kind: 'file' | 'absent') => {
    const init = initList(compilePlan(input({ kinds: new Map([['/proc/kcore', kind]]) })));
    return init.filter((s) => s.op === 'symlink' && s.path === '/dev/core').length;
  };
  assert.deepEqual([cores('file'), cores('absent')], [1, 0]);
});

test('plan: on a hybrid host the container sees each hierarchy in a directory of its own, read-only', () => {
  const init = initList(compilePlan(input({ facts: LEGACY })));
  const targets = init
    .filter((s) => s.op === 'mount' && s.type.toString().startsWith('cgroup'))
    .map((s) => s.op === 'mount' && s.target);
  assert.deepEqual(targets, ['/sys/fs/cgroup/cpuset', '/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified']);
  const end = init.filter((s) => s.op === 'mount_setattr' && s.target === '/sys/fs/cgroup');
  assert.deepEqual(
    end.map((s) => s.op === 'mount_setattr' && [s.at, s.set]),
    [[['AT_RECURSIVE'], ['MOUNT_ATTR_RDONLY']]],
  );
});

test('plan: each cgroup that setup makes is removed by cleanup', () => {
  const plan = compilePlan(input({ facts: LEGACY }));
  const made = plan.setup.filter((s) => s.op === 'mkdir').map((s) => s.op === 'mkdir' && s.path);
  const removed = plan.cleanup.filter((s) => s.op === 'rmdir').map((s) => s.op === 'rmdir' && s.path);
  assert.deepEqual(removed, made);
});

test('plan: capabilities leave the bounding set before the user changes, and nothing follows exec', () => {
  const init = initList(compilePlan(input()));
  assert.ok(position(init, (s) => s.op === 'capbset') < position(init, (s) => s.op === 'setuid'));
  assert.ok(position(init, (s) => s.op === 'setuid') < position(init, (s) => s.op === 'capset'));
  assert.equal(init.at(-1)?.op, 'exec');
  assert.ok(position(init, (s) => s.op === 'close_fds') < position(init, (s) => s.op === 'setuid'));
});

test('plan: a filter is loaded while the right to do so is there, and last of all with no_new_privs', () => {
  const seccomp = { program: new Uint8Array(8), flags: 2 };
  const order = (noNewPrivileges: boolean) => {
    const process = { ...config().process, noNewPrivileges };
    const init = initList(compilePlan(input({ config: { ...config(), process }, seccomp })));
    return ['prctl', 'seccomp', 'capbset', 'setuid', 'capset', 'exec'].map((op) => init.findIndex((s) => s.op === op));
  };
  const [, early, bounding] = order(false);
  assert.ok(early! < bounding!);
  const [bound, late, , , set, exec] = order(true);
  assert.ok(bound! < late! && set! < late!);
  assert.equal(late, exec! - 1);
  assert.equal(initList(compilePlan(input())).filter((s) => s.op === 'seccomp').length, 0);
});

test('plan: a user other than root keeps capabilities only when they were asked for', () => {
  const keeps = (caps: string[]) => {
    const process = {
      ...config().process,
      user: { uid: 7, gid: 7 },
      capabilities: { bounding: caps, permitted: caps },
    };
    const init = initList(compilePlan(input({ config: config({ process }) })));
    return init.some((s) => s.op === 'prctl' && s.option[0] === 'PR_SET_KEEPCAPS');
  };
  assert.equal(keeps([]), false);
  assert.equal(keeps(['CAP_CHOWN']), true);
});

test('plan: a terminal comes from the container itself, without pipes', () => {
  const process = { ...config().process, terminal: true, consoleSize: { height: 24, width: 80 } };
  const { stdin: _, ...monitor } = input().monitor;
  const plan = compilePlan(input({ config: config({ process }), monitor }));
  assert.equal(
    plan.monitor.some((s) => s.op === 'stdio'),
    false,
  );
  const pty = initList(plan).find((s) => s.op === 'pty');
  assert.deepEqual(pty?.op === 'pty' && [pty.path, pty.rows, pty.columns], ['/dev/pts/ptmx', 24, 80]);
});

test('plan: holes for what differs from run to run can be taken out and filled again', () => {
  const plan = compilePlan(input());
  const open = withHoles(plan, { id: ID });
  assert.doesNotMatch(
    JSON.stringify(open, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
    new RegExp(ID),
  );
  assert.throws(() => encodePlan(open), /hole \{id\}/);
  assert.deepEqual(fillPlan(open, { id: ID }), plan);
});

test('plan: the same input gives the same bytes, whatever was compiled before', () => {
  const first = encodePlan(compilePlan(input())).bytes;
  compilePlan(input({ facts: LEGACY }));
  assert.deepEqual(encodePlan(compilePlan(input())).bytes, first);
});

test('plan: exec joins all namespaces at once, and not those of a process that only has the number', () => {
  const plan = compileEnter({
    pid: 4,
    monitor: 3,
    process: config().process,
    facts: UNIFIED,
    cgroupsPath: '/x',
    namespaces: ['mnt', 'pid', 'net', 'user'],
  });
  const joined = initList(plan).filter((s) => s.op === 'join');
  assert.deepEqual(
    joined.map(({ pid, parent, flags }) => ({ pid, parent, flags })),
    [{ pid: 4, parent: 3, flags: ['CLONE_NEWUSER', 'CLONE_NEWNET', 'CLONE_NEWPID', 'CLONE_NEWNS'] }],
  );
  const hidden = position(initList(plan), (s) => s.op === 'prctl' && s.option[0] === 'PR_SET_DUMPABLE');
  assert.ok(hidden < position(initList(plan), (s) => s.op === 'join'), 'before anybody in there can see it');
});

test('text: braces that a user wrote are no holes', () => {
  const value = text`${'{id}'}/${hole('id')}`;
  assert.equal(show(value), '{id}/{id}');
  assert.equal(fill(value, { id: 'x' }), '{id}/x');
});

test('mount options: flags, file system data, propagation and binds are told apart', () => {
  const parsed = parseMountOptions(['rbind', 'ro', 'nosuid', 'suid', 'rslave', 'size=1k', 'mode=755']);
  assert.deepEqual(parsed, {
    flags: ['MS_RDONLY'],
    data: 'size=1k,mode=755',
    bind: true,
    recursive: true,
    readonly: true,
    propagation: { type: 'MS_SLAVE', recursive: true },
  });
});
