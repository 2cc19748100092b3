import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { rootlessHint, userDataRoot, userNamespaceProblem, userRunRoot } from '../../src/engine/rootless.ts';
import { compilePlan } from '../../src/plan/compile.ts';
import { initList, type Step } from '../../src/plan/step.ts';
import { show } from '../../src/plan/text.ts';
import type { HostFacts } from '../../src/spec/host.ts';
import { isSingle, userMaps } from '../../src/spec/id-map.ts';
import { overlay2Driver } from '../../src/store/drivers/overlay2.ts';

const host = (sysctls: Record<string, string>) => (path: string) =>
  sysctls[path.replace('/proc/sys/', '').replaceAll('/', '.')];

test('rootless: a host that makes no user namespaces is told how to', () => {
  assert.equal(userNamespaceProblem(host({ 'user.max_user_namespaces': '1000' })), undefined);
  assert.match(
    userNamespaceProblem(host({ 'user.max_user_namespaces': '0' }))?.hint ?? '',
    /sysctl -w user.max_user_namespaces=/,
  );
  const clone = userNamespaceProblem(host({ 'kernel.unprivileged_userns_clone': '0' }));
  assert.match(clone?.hint ?? '', /sysctl -w kernel.unprivileged_userns_clone=1/);
});

test("rootless: a refusal is explained by what refuses: AppArmor, a sysctl, newuidmap, the kernel's age", () => {
  const restricted = host({ 'kernel.apparmor_restrict_unprivileged_userns': '1' });
  const plain = host({});
  for (const call of ['unshare', 'mount', 'write']) {
    assert.match(
      rootlessHint(call, 'EPERM', '', restricted) ?? '',
      /sysctl -w kernel.apparmor_restrict_unprivileged_userns=0/,
    );
  }
  assert.match(
    rootlessHint('unshare', 'ENOSPC', '', host({ 'user.max_user_namespaces': '0' })) ?? '',
    /max_user_namespaces=/,
  );
  assert.match(
    rootlessHint('run', 'EPERM', 'run ["newuidmap", ...]: not allowed', plain) ?? '',
    /usermod --add-subuids/,
  );
  assert.match(rootlessHint('mount', 'EPERM', 'mount("overlay", ...)', plain) ?? '', /5\.11.*--storage-driver fuse/);
  const noFuse = 'run [".../tsbox-keeper", ...]: tsbox-userns: /dev/fuse: Permission denied';
  assert.match(rootlessHint('run', 'EPERM', noFuse, plain) ?? '', /chmod 0666 \/dev\/fuse/);
  assert.equal(rootlessHint('mkdir', 'ENOSPC', '', restricted), undefined);
});

test('rootless: the data root is the XDG one, the run root a directory that nobody else can write to', (t) => {
  assert.equal(userDataRoot({ HOME: '/home/ann' }), '/home/ann/.local/share/tsbox');
  assert.equal(userDataRoot({ HOME: '/home/ann', XDG_DATA_HOME: '/data' }), '/data/tsbox');
  assert.equal(userDataRoot({ HOME: '/home/ann', XDG_DATA_HOME: 'relative' }), '/home/ann/.local/share/tsbox');
  assert.throws(() => userDataRoot({}), /HOME is not set/);
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-run-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const [own, open] = [join(directory, 'own'), join(directory, 'open')];
  for (const path of [own, open]) mkdirSync(path, 0o700);
  chmodSync(open, 0o777);
  const uid = process.geteuid?.() ?? 0;
  assert.equal(userRunRoot({ XDG_RUNTIME_DIR: own }, uid), `${own}/tsbox`);
  assert.doesNotMatch(userRunRoot({ XDG_RUNTIME_DIR: open }, uid), /open/);
});

const ANN = { uid: 1000, gid: 100, names: ['ann', '1000'] };
const LINES = { subuid: 'ann:100000:65536\n', subgid: '1000:200000:65536\n' };

test('rootless: a user is root of his namespaces, his subordinate ids come after him', () => {
  const maps = userMaps(ANN, LINES, true);
  assert.deepEqual(maps.uids, [
    { containerID: 0, hostID: 1000, size: 1 },
    { containerID: 1, hostID: 100000, size: 65536 },
  ]);
  assert.equal(maps.gids[1]?.hostID, 200000);
  assert.ok(!isSingle(maps));
});

test('rootless: without lines, or without the helpers, there is one id', () => {
  for (const [maps, single] of [
    [userMaps(ANN, { ...LINES, subgid: '' }, true), 'no ranges'],
    [userMaps(ANN, LINES, false), 'no helpers'],
  ] as const) {
    assert.deepEqual(maps, {
      uids: [{ containerID: 0, hostID: 1000, size: 1 }],
      gids: [{ containerID: 0, hostID: 100, size: 1 }],
      single,
    });
    assert.ok(isSingle(maps));
  }
});

const FACTS: HostFacts = {
  uid: 1000,
  kernel: 618,
  cgroupMode: 'none',
  hostMode: 'none',
  hierarchies: [],
  capabilities: [],
};

function init(helpers: boolean): readonly Step[] {
  const { uids, gids } = userMaps(ANN, LINES, helpers);
  const inside = overlay2Driver('/d/overlay2', 'a test asks', () => false).mountSteps({
    mountId: 'm',
    lower: 'l/A',
    userxattr: true,
  });
  const plan = compilePlan({
    config: {
      ociVersion: '1.2.0',
      root: { path: '/d/overlay2/m/merged' },
      mounts: [{ destination: '/dev', type: 'tmpfs', source: 'tmpfs' }],
      process: { user: { uid: 0, gid: 0, additionalGids: [0] }, args: ['sh'], cwd: '/' },
      linux: { namespaces: [{ type: 'user' }, { type: 'mount' }], uidMappings: [...uids], gidMappings: [...gids] },
    },
    facts: FACTS,
    kinds: new Map(),
    readyMountPoints: new Set(),
    rootIsMount: true,
    inside,
    monitor: { runDirectory: '/r/c' },
    setup: [],
    cleanup: [],
  });
  return initList(plan);
}

const outside = (steps: readonly Step[]) => {
  const step = steps.find(({ op }) => op === 'outside');
  assert.ok(step?.op === 'outside');
  return step.list;
};

test('plan without root: the helpers write the maps, or the monitor that of one id', () => {
  const helpers = outside(init(true)).map((step) => (step.op === 'run' ? step.args.map(show).join(' ') : step.op));
  assert.deepEqual(helpers, ['newuidmap {pid} 0 1000 1 1 100000 65536', 'newgidmap {pid} 0 100 1 1 200000 65536']);
  const written = outside(init(false)).map((step) =>
    step.op === 'write' ? [show(step.path), show(step.data)] : step.op,
  );
  assert.deepEqual(written, [
    ['/proc/{pid}/setgroups', 'deny'],
    ['/proc/{pid}/uid_map', '0 1000 1\n'],
    ['/proc/{pid}/gid_map', '0 100 1\n'],
  ]);
  assert.ok(init(true).some(({ op }) => op === 'setgroups') && !init(false).some(({ op }) => op === 'setgroups'));
});

test('plan without root: trees are opened and the overlay mounted with the rights of the namespace', () => {
  const steps = init(true);
  const position = (is: (step: Step) => boolean) => steps.findIndex(is);
  const namespace = position((step) => step.op === 'unshare' && step.flags.includes('CLONE_NEWNS'));
  const overlay = position((step) => step.op === 'mount' && step.type === 'overlay');
  assert.ok(namespace < position(({ op }) => op === 'open_tree'));
  assert.ok(namespace < overlay && overlay < position(({ op }) => op === 'pivot_root'));
  const mount = steps[overlay];
  assert.ok(mount?.op === 'mount' && show(mount.data).startsWith('userxattr,'));
});
