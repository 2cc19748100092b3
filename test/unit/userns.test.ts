import assert from 'node:assert/strict';
import test from 'node:test';
import { type AccountFiles, checkUserns, mapsOf, parseRemap } from '../../src/engine/userns.ts';
import { autoMaps, freeRange } from '../../src/engine/userns-auto.ts';
import { autoSize } from '../../src/engine/userns-mode.ts';
import { ownersInside, ownersOutside, shiftXattr } from '../../src/layer/owners.ts';
import { compilePlan } from '../../src/plan/compile.ts';
import { compileEnter } from '../../src/plan/enter.ts';
import { initList, type Step } from '../../src/plan/step.ts';
import { show } from '../../src/plan/text.ts';
import type { HostFacts } from '../../src/spec/host.ts';
import { type IdMaps, mapOf, mapText, parseMap, subordinateRanges, toHost } from '../../src/spec/id-map.ts';
import type { OciConfig } from '../../src/spec/oci-runtime.ts';
import { overlay2Driver } from '../../src/store/drivers/overlay2.ts';

const FILES: AccountFiles = {
  passwd:
    'root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\ndockremap:x:901:901::/:/x\nbare:x:1001:1001:::\n',
  group: 'root:x:0:\nann:x:1000:\nstaff:x:50:\n',
  subuid: 'ann:100000:1000\n1000:300000:500\nann:200000:64536\ndockremap:400000:65536\n4711:500000:65536\n',
  subgid: 'ann:100000:1000\nstaff:700000:65536\ndockremap:400000:65536\n4711:500000:65536\n',
};

test('id map: ranges of a name come before those of the number, in the order of the file', () => {
  const ranges = subordinateRanges(FILES.subuid, ['ann', '1000'], '/etc/subuid');
  assert.deepEqual(ranges, [
    [100000, 1000],
    [200000, 64536],
    [300000, 500],
  ]);
  assert.equal(mapText(mapOf(ranges)), '0 100000 1000\n1000 200000 64536\n65536 300000 500\n');
});

test('id map: a line that is no range of ids is named', () => {
  for (const line of ['ann:x:10', 'ann:1:', 'ann:4294967290:100', 'ann:-1:4']) {
    assert.throws(() => subordinateRanges(line, ['ann'], '/etc/subuid'), { code: 'ERR_TSBOX_SPEC', message: /ann:/ });
  }
  assert.deepEqual(subordinateRanges('ann:5:0\n# note\n\nbob:1:1', ['ann'], 'f'), []);
});

test('id map: an id inside is found outside, or is not there', () => {
  const map = mapOf([
    [100000, 1000],
    [200000, 64536],
  ]);
  assert.deepEqual(
    [0, 999, 1000, 65535, 65536].map((id) => toHost(map, id)),
    [100000, 100999, 200000, 264535, undefined],
  );
  assert.deepEqual(parseMap('         0     100000       1000\n      1000     200000      64536\n'), map);
});

test('--userns-remap: user, uid, group, default', () => {
  const first = (spec: string) => {
    const { uids, gids } = parseRemap(spec, FILES);
    return [uids[0]?.hostID, gids[0]?.hostID];
  };
  assert.deepEqual(first('ann'), [100000, 100000]);
  assert.deepEqual(first('1000'), [100000, 100000]);
  assert.deepEqual(first('ann:staff'), [100000, 700000]);
  assert.deepEqual(first('1000:50'), [100000, 700000]);
  assert.deepEqual(first('ann:1000'), [100000, 100000]);
  assert.deepEqual(first('default'), [400000, 400000]);
  assert.deepEqual(first('4711'), [500000, 500000]);
});

test('--userns-remap: each refusal names the command that mends it', () => {
  const refused = (spec: string, message: RegExp, hint: RegExp | undefined) => {
    assert.throws(
      () => parseRemap(spec, FILES),
      (error: { message: string; hint?: string; exitCode: number }) => {
        assert.match(error.message, message);
        if (hint !== undefined) assert.match(error.hint ?? '', hint);
        assert.equal(error.exitCode, 125);
        return true;
      },
    );
  };
  refused('bare', /no subordinate ids for "bare" in \/etc\/subuid/, /usermod --add-subuids .* bare/);
  refused('nobody', /no such user: nobody/, /useradd .* nobody/);
  refused('ann:nobody', /no such group: nobody/, /groupadd .* nobody/);
  refused('root', /root cannot be remapped/, undefined);
  refused('0', /root cannot be remapped/, undefined);
  for (const spec of [':', 'a:b:c', 'ann:', ':ann']) refused(spec, /invalid user\/group specification/, undefined);
});

test('--userns: empty and host are none', () => {
  for (const UsernsMode of ['', 'host']) assert.equal(mapsOf({ UsernsMode }), undefined);
  checkUserns('host', { network: 'host', privileged: true, pid: 'host' });
});

test('--userns: modes of podman that are not there are refused by name, and taken for no user', () => {
  for (const mode of ['keep-id', 'keep-id:uid=5', 'nomap', 'private', 'ns:/proc/1/ns/user', 'container:x']) {
    const refused = () => checkUserns(mode, { network: 'none' });
    assert.throws(refused, {
      code: 'ERR_TSBOX_UNSUPPORTED',
      message: `--userns ${mode}: not supported`,
      exitCode: 125,
    });
  }
});

test('--userns auto: how many ids', () => {
  assert.deepEqual([autoSize('auto'), autoSize('auto:size=1'), autoSize('auto:size=70000')], [65536, 1, 70000]);
  for (const mode of [
    'auto:',
    'auto:size',
    'auto:size=0',
    'auto:size=-1',
    'auto:size=4294967295',
    'auto:size=x',
    'auto:x=1',
  ])
    assert.throws(() => autoSize(mode), { code: 'ERR_TSBOX_USAGE' }, mode);
  assert.throws(() => autoSize('auto:uidmapping=0:1:1'), { code: 'ERR_TSBOX_UNSUPPORTED' });
});

test('--userns auto: the first ids in a row that nobody has', () => {
  const ranges = [[1000, 100] as const, [5000, 1000] as const];
  assert.equal(freeRange(ranges, [], 100), 1000);
  assert.equal(freeRange(ranges, [], 101), 5000);
  assert.equal(freeRange(ranges, [[1050, 10]], 50), 1000);
  assert.equal(freeRange(ranges, [[1049, 10]], 50), 5000);
  assert.equal(
    freeRange(
      ranges,
      [
        [1040, 10],
        [1000, 10],
      ],
      30,
    ),
    1010,
  );
  assert.equal(freeRange(ranges, [[0, 10_000]], 1), undefined);
  assert.equal(
    freeRange(
      ranges,
      [
        [1000, 100],
        [5000, 999],
      ],
      1,
    ),
    5999,
  );
});

test('--userns auto: from the ids of containers, or of the remapped user, and none twice', () => {
  const files = {
    ...FILES,
    subuid: `${FILES.subuid}containers:600000:200000\n`,
    subgid: `${FILES.subgid}containers:900000:200000\n`,
  };
  const taken: IdMaps[] = [];
  const next = (mode: string, remap?: string) => {
    const maps = autoMaps(mode, remap, files, taken);
    taken.push(maps);
    return [maps.uids[0]!.hostID, maps.gids[0]!.hostID, maps.uids[0]!.size];
  };
  assert.deepEqual(next('auto'), [600000, 900000, 65536]);
  assert.deepEqual(next('auto:size=1000'), [665536, 965536, 1000]);
  assert.deepEqual(next('auto:size=2000', 'ann:staff'), [200000, 700000, 2000]);
  taken.splice(0, 1);
  assert.deepEqual(next('auto'), [600000, 900000, 65536], 'what a removed one had is free again');
  assert.throws(() => autoMaps('auto:size=140000', undefined, files, taken), { code: 'ERR_TSBOX_LIMIT' });
  assert.throws(() => autoMaps('auto', undefined, FILES, []), {
    message: /no subordinate ids for "containers" in \/etc\/subuid/,
  });
});

const FACTS: HostFacts = {
  uid: 0,
  kernel: 618,
  cgroupMode: 'unified',
  hostMode: 'unified',
  hierarchies: [{ mount: '/sys/fs/cgroup', version: 2, controllers: [] }],
  capabilities: [],
};

function plan(terminal = false) {
  const config: OciConfig = {
    ociVersion: '1.2.0',
    root: { path: '/d/overlay2/m/merged' },
    mounts: [
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
      { destination: '/b', type: 'bind', source: '/secret/b', options: ['rbind', 'rprivate'] },
    ],
    process: { user: { uid: 33, gid: 33 }, args: ['sh'], cwd: '/', terminal },
    linux: {
      namespaces: [{ type: 'user' }, { type: 'mount' }, { type: 'ipc' }, { type: 'pid' }],
      uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
      gidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
    },
  };
  const mapped = { userns: '/proc/1/ns/user', uid: 100000, gid: 100000, place: '/r/mapped' };
  const outside = overlay2Driver('/d/overlay2', 'a test asks', () => false).mountSteps({
    mountId: 'm',
    lower: 'l/A',
    mapped,
  });
  const input = {
    config,
    facts: FACTS,
    kinds: new Map(),
    readyMountPoints: new Set<string>(),
    rootIsMount: true,
    outside,
  };
  return initList(compilePlan({ ...input, monitor: { runDirectory: '/r/c' }, setup: [], cleanup: [] }));
}

const at = (steps: readonly Step[], is: (step: Step) => boolean) => {
  const index = steps.findIndex(is);
  assert.notEqual(index, -1, 'the step is in the list');
  return index;
};

test('plan with a user namespace: it is made first and alone, and the maps are written from outside', () => {
  const steps = plan();
  const made = at(steps, (step) => step.op === 'unshare');
  assert.deepEqual(steps[made], { ...steps[made], flags: ['CLONE_NEWUSER'] });
  const outside = steps[made + 1];
  assert.ok(outside?.op === 'outside');
  const maps = outside.list.filter((step) => step.op === 'write').map((step) => [show(step.path), show(step.data)]);
  assert.deepEqual(maps, [
    ['/proc/{pid}/uid_map', '0 100000 65536\n'],
    ['/proc/{pid}/gid_map', '0 100000 65536\n'],
  ]);
});

test('plan with a user namespace: sources of binds and devices are opened before it, files in the root made as its root', () => {
  const steps = plan();
  const made = at(steps, (step) => step.op === 'unshare');
  const opened = steps.filter((step) => step.op === 'open_tree');
  assert.ok(opened.some((step) => step.path === '/secret/b') && opened.some((step) => step.path === '/dev/null'));
  assert.ok(steps.findLastIndex((step) => step.op === 'open_tree') < made);
  assert.equal(new Set(opened.map((step) => step.slot)).size, opened.length, 'each has a slot of its own');
  assert.ok(at(steps, (step) => step.op === 'setuid') < at(steps, (step) => step.op === 'mkdir'));
  assert.ok(!steps.some((step) => step.op === 'mknod'), 'nobody makes device nodes in it');
});

test('plan with a user namespace: message queues and IPC belong to its root', () => {
  const steps = plan();
  const ipc = at(steps, (step) => step.op === 'unshare' && step.flags.includes('CLONE_NEWIPC'));
  assert.ok(at(steps, (step) => step.op === 'setuid') < ipc);
});

test('plan with a user namespace: pipes are given away while that is allowed', () => {
  const steps = plan();
  const given = at(steps, (step) => step.op === 'chown_stdio');
  assert.deepEqual(steps[given], { ...steps[given], uid: 100033 });
  assert.ok(given < at(steps, (step) => step.op === 'unshare'));
});

test('plan with a user namespace: the mapped layers are gone from their place before anything could be removed there', () => {
  const outside = plan().find((step) => step.op === 'outside');
  assert.ok(outside?.op === 'outside');
  const order = outside.list.map((step) => step.op);
  assert.deepEqual(order.slice(-2), ['umount', 'rmdir']);
  assert.ok(!order.includes('remove_tree'));
  const ids = outside.list.filter((step) => step.op === 'setfsid').map(({ uid }) => uid);
  assert.deepEqual(ids, [100000, 0], 'the monitor is root again');
});

test('exec into a user namespace: joined first, and the process becomes its root before it opens a terminal', () => {
  const maps = parseRemap('ann', FILES);
  const user = { uid: 5, gid: 5 };
  const input = { pid: 9, monitor: 8, facts: FACTS, cgroupsPath: '/x', namespaces: ['mnt', 'user'] as const, maps };
  const steps = initList(compileEnter({ ...input, process: { user, args: ['sh'], cwd: '/', terminal: true } }));
  const joined = steps.find((step) => step.op === 'join');
  assert.deepEqual(joined?.op === 'join' && joined.flags, ['CLONE_NEWUSER', 'CLONE_NEWNS']);
  const root = at(steps, (step) => step.op === 'setuid' && step.uid === 0);
  assert.ok(root < at(steps, (step) => step.op === 'pty'));
  assert.ok(
    !steps.some((step) => step.op === 'prctl' && step.option[0] === 'PR_SET_DUMPABLE' && step.value !== 0),
    'nobody inside may trace it',
  );
});

test('plan with copied layers: the same short names from where the copies are, and nothing is mapped', () => {
  const shifted = { home: '/d/shifted/100000.100000-ab', uid: 100000, gid: 100000 };
  const steps = overlay2Driver('/d/overlay2', 'a test asks', () => false).mountSteps({
    mountId: 'm',
    lower: 'l/A:l/B',
    shifted,
  });
  const order = steps.map((step) => step.op);
  assert.deepEqual(order, ['mkdir', 'chdir', 'prctl', 'setfsid', 'mount', 'setfsid', 'prctl', 'chdir']);
  const mount = steps.find((step) => step.op === 'mount')!;
  const data = 'lowerdir=l/A:l/B,upperdir=../../overlay2/m/diff,workdir=../../overlay2/m/work';
  assert.deepEqual([show(mount.target), show(mount.data)], ['/d/overlay2/m/merged', data]);
});

const MAPS = { uids: mapOf([[100000, 1000]]), gids: mapOf([[200000, 1000]]) };

test('owners: ids go out and come back, and one that the map does not have is nobody', () => {
  const [out, back] = [ownersOutside(MAPS), ownersInside(MAPS)];
  for (const id of [0, 33, 999]) assert.deepEqual([back.uid(out.uid(id)), back.gid(out.gid(id))], [id, id]);
  assert.deepEqual([out.uid(1000), out.gid(5000)], [2 ** 32 - 2, 2 ** 32 - 2]);
  assert.deepEqual([back.uid(out.uid(1000)), back.uid(0), back.gid(100000)], [65534, 65534, 65534]);
});

test('owners: file capabilities are those of the root of the namespace', () => {
  const plain = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  const out = shiftXattr('security.capability', plain, ownersOutside(MAPS));
  assert.equal(out.toString('hex'), '0100000300200000000000000000000000000000a0860100');
  assert.deepEqual(shiftXattr('security.capability', out, ownersInside(MAPS)), plain);
  const first = Buffer.from('010000010020000000000000', 'hex');
  assert.equal(shiftXattr('security.capability', first, ownersOutside(MAPS)).length, 24);
  for (const odd of ['', '01', '0100000a0020000000000000', `${plain.toString('hex')}00`]) {
    const value = Buffer.from(odd, 'hex');
    assert.deepEqual(shiftXattr('security.capability', value, ownersOutside(MAPS)), value);
  }
});

test('owners: access lists name the users and groups of outside', () => {
  // user::rwx user:33:rw- group::r-- group:44:r-- mask::rw- other::---
  const entry = (tag: number, permissions: number, id: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(tag, 0);
    bytes.writeUInt16LE(permissions, 2);
    bytes.writeUInt32LE(id, 4);
    return bytes;
  };
  const none = 0xffff_ffff;
  const list = (user: number, group: number) =>
    Buffer.concat([
      Buffer.from([2, 0, 0, 0]),
      entry(1, 7, none),
      entry(2, 6, user),
      entry(4, 4, none),
      entry(8, 4, group),
      entry(16, 6, none),
      entry(32, 0, none),
    ]);
  for (const name of ['system.posix_acl_access', 'system.posix_acl_default']) {
    assert.deepEqual(shiftXattr(name, list(33, 44), ownersOutside(MAPS)), list(100033, 200044));
    assert.deepEqual(shiftXattr(name, list(100033, 200044), ownersInside(MAPS)), list(33, 44));
  }
  assert.deepEqual(shiftXattr('user.other', list(33, 44), ownersOutside(MAPS)), list(33, 44));
});
