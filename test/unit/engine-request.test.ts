import assert from 'node:assert/strict';
import test from 'node:test';
import type { ContainerRequest } from '../../src/engine/api.ts';
import { parseBind } from '../../src/engine/binds.ts';
import { checkMounts } from '../../src/engine/container-mounts.ts';
import { mergeConfig, processEnv } from '../../src/engine/merge.ts';
import { resolveUser } from '../../src/engine/user.ts';
import { parseCapabilities, tweakCapabilities } from '../../src/spec/capabilities.ts';
import { parseSignal, signalName } from '../../src/spec/signals.ts';

const ID = 'f0'.repeat(32);

function request(overrides: Partial<ContainerRequest> = {}): ContainerRequest {
  return {
    image: 'x',
    command: [],
    env: [],
    labels: {},
    tty: false,
    openStdin: false,
    attached: true,
    autoRemove: false,
    readonlyRootfs: false,
    volumes: [],
    network: 'none',
    capAdd: [],
    capDrop: [],
    securityOpt: [],
    pull: 'missing',
    ...overrides,
  };
}

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\n# note\nann:x:1000:100::/home/ann:/bin/sh\nbare:x:1001:1001::: \n';
const GROUP = 'root:x:0:\nusers:x:100:bob\nwheel:x:10:root,ann\nstaff:x:50:ann,ann\n';

test('user: empty is root, with the groups that name root', () => {
  assert.deepEqual(resolveUser('', PASSWD, GROUP), { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' });
});

test('user: a name brings its group, its supplementary groups and its home', () => {
  assert.deepEqual(resolveUser('ann', PASSWD, GROUP), {
    uid: 1000,
    gid: 100,
    additionalGids: [100, 10, 50],
    home: '/home/ann',
  });
});

test('user: a number that passwd has is that user, one that it has not is nobody in particular', () => {
  assert.equal(resolveUser('1000', PASSWD, GROUP).home, '/home/ann');
  assert.deepEqual(resolveUser('4242', PASSWD, GROUP), { uid: 4242, gid: 0, additionalGids: [0], home: '/' });
});

test('user: a group that is named leaves no other supplementary ones', () => {
  assert.deepEqual(resolveUser('ann:users', PASSWD, GROUP), {
    uid: 1000,
    gid: 100,
    additionalGids: [100],
    home: '/home/ann',
  });
  assert.equal(resolveUser('ann:77', PASSWD, GROUP).gid, 77);
  assert.equal(resolveUser('ann:77:50', PASSWD, GROUP).gid, 77, 'as runc: of a third part nobody asks');
});

test('user: an unknown name, an unknown group, a number out of range are refused', () => {
  assert.throws(() => resolveUser('-1', PASSWD, GROUP), /uids and gids must be in range 0-2147483647/);
  assert.throws(() => resolveUser('eve', PASSWD, GROUP), /unable to find user eve: no matching entries in passwd file/);
  assert.throws(
    () => resolveUser('ann:eve', PASSWD, GROUP),
    /unable to find group eve: no matching entries in group file/,
  );
  assert.throws(() => resolveUser('99999999999', PASSWD, GROUP), /range/);
  assert.throws(() => resolveUser('eve', '', ''), /no matching entries/);
});

test("merge: arguments replace the image's command and follow its entrypoint", () => {
  const image = { Entrypoint: ['/entry'], Cmd: ['a', 'b'] };
  const both = (overrides: Partial<ContainerRequest>) => {
    const { Entrypoint, Cmd } = mergeConfig(ID, request(overrides), image);
    return [Entrypoint, Cmd];
  };
  assert.deepEqual(both({}), [['/entry'], ['a', 'b']]);
  assert.deepEqual(both({ command: ['c'] }), [['/entry'], ['c']]);
  assert.deepEqual(both({ entrypoint: '/other' }), [['/other'], null]);
  assert.deepEqual(both({ entrypoint: '', command: ['c'] }), [null, ['c']]);
  assert.throws(() => both({ entrypoint: '' }), /no command specified/);
});

test("merge: the user's variables win over the image's, the last one of a name counts", () => {
  const config = mergeConfig(ID, request({ command: ['x'], env: ['A=1', 'B=2', 'A=3'] }), { Env: ['A=0', 'C=4'] });
  assert.deepEqual(config.Env, ['A=3', 'B=2', 'C=4']);
});

test('merge: labels of the user win; a relative working directory is refused', () => {
  const config = mergeConfig(ID, request({ command: ['x'], labels: { a: '1' } }), { Labels: { a: '0', b: '2' } });
  assert.deepEqual(config.Labels, { a: '1', b: '2' });
  assert.throws(() => mergeConfig(ID, request({ command: ['x'], workdir: 'tmp' }), {}), /absolute path/);
});

test('environment: defaults come first, HOME only when nobody set it, TERM only with a terminal', () => {
  const config = mergeConfig(ID, request({ command: ['x'], env: ['HOME=/h'] }), {});
  assert.ok(processEnv(config, '/root').includes('HOME=/h'));
  assert.equal(
    processEnv(config, '/root').some((one) => one.startsWith('TERM=')),
    false,
  );
  const plain = mergeConfig('f0f0f0f0f0f0', request({ command: ['x'] }), { Env: ['PATH=/p'] });
  assert.deepEqual(processEnv(plain, '/root', [], true), [
    'PATH=/p',
    `HOSTNAME=${ID.slice(0, 12)}`,
    'TERM=xterm',
    'HOME=/root',
  ]);
});

test('binds: source, destination, mode and propagation', () => {
  assert.deepEqual(parseBind('/a/../b:/c/:ro,rslave'), {
    Type: 'bind',
    Source: '/b',
    Destination: '/c',
    Mode: 'ro,rslave',
    RW: false,
    Propagation: 'rslave',
    Spec: {
      Type: 'bind',
      Source: '/a/../b',
      Target: '/c/',
      ReadOnly: true,
      BindOptions: { Propagation: 'rslave' },
    },
  });
});

test('binds: what cannot be mounted is refused by name', () => {
  assert.throws(() => parseBind('/a:b'), /mount path must be absolute/);
  assert.throws(() => parseBind('/a:/'), /destination can't be '\/'/);
  assert.throws(() => parseBind('/a:/b:sideways'), /invalid mode: sideways/);
  assert.throws(() => parseBind('name:/b:rshared'), /field BindOptions must not be specified/);
  assert.throws(() => parseBind('/a:/b:nocopy'), /field VolumeOptions must not be specified/);
  assert.throws(() => parseBind('/a:ro'), /invalid volume specification: '\/a:ro'/);
  const asked = { volumes: ['/a:/x', '/b:/x/'] };
  assert.throws(() => checkMounts(asked), /Duplicate mount point: \/x/);
  assert.throws(() => checkMounts({ volumes: ['../a:/b'] }), /create ..\/a: "..\/a" includes invalid characters/);
});

test('capabilities: add and drop, ALL on either side', () => {
  const host = ['CAP_CHOWN', 'CAP_NET_ADMIN', 'CAP_KILL'];
  assert.ok(tweakCapabilities(['net_admin'], [], host).includes('CAP_NET_ADMIN'));
  assert.equal(tweakCapabilities([], ['KILL'], host).includes('CAP_KILL'), false);
  assert.deepEqual(tweakCapabilities(['CAP_KILL'], ['ALL'], host), ['CAP_KILL']);
  assert.deepEqual(tweakCapabilities(['ALL'], ['CHOWN'], host), ['CAP_KILL', 'CAP_NET_ADMIN']);
  assert.ok(tweakCapabilities(['CHOWN'], ['CHOWN'], host).includes('CAP_CHOWN'), 'adding wins');
  assert.throws(() => tweakCapabilities(['FLY'], [], host), /invalid CapAdd: unknown capability: "CAP_FLY"/);
  assert.throws(() => parseCapabilities(['CAP_ALL'], 'CapDrop'), /invalid CapDrop: unknown capability: "CAP_ALL"/);
  assert.deepEqual(parseCapabilities(['net_admin', 'CAP_KILL', 'KILL'], 'CapAdd'), ['CAP_KILL', 'CAP_NET_ADMIN']);
  assert.equal(parseCapabilities([], 'CapAdd'), null);
});

test('signals: names with and without SIG, numbers, realtime; others are refused', () => {
  assert.deepEqual(['TERM', 'sigterm', '15', 'RTMIN+3', 'SIGRTMAX-1'].map(parseSignal), [15, 15, 15, 37, 63]);
  for (const bad of ['', '0', '65', 'SIGNONE', 'RTMIN+31', '-9'])
    assert.throws(() => parseSignal(bad), /invalid signal/);
  assert.equal(signalName(9), 'SIGKILL');
});
