/** `network ...` beside a real docker, and what it does to links: all in a network namespace that this file's process makes for itself. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { CLONE } from '../../src/spec/linux.ts';
import { linkInfo } from '../../src/sys/netlink.ts';
import { unshare } from '../../src/sys/process.ts';
import { requires } from '../requires.ts';
import { besideDocker, type Said } from './beside-docker.ts';
import { sandbox } from './harness.ts';

process.env['TSBOX_BRIDGE'] = 'none';
const isRoot = process.geteuid?.() === 0;
if (isRoot) {
  unshare(CLONE.CLONE_NEWNET);
  ip('link set lo up');
}

function ip(words: string): void {
  const { status, stderr } = spawnSync('ip', words.split(' '), { encoding: 'utf8' });
  assert.equal(status, 0, `ip ${words}: ${stderr}`);
}

/** Where docker was quicker with the same subnet tsbox warns of its bridge. */
const OF_THE_OTHER = /^WARNING: subnet \S+ hides \S+ \(route through br-ID\)\n?/gm;

/** Without ids, and without a line that newer command lines of docker add. */
function plain({ status, stdout, stderr }: Said): Said {
  const named = (text: string) => text.replace(/\b([0-9a-f]{64}|[0-9a-f]{12})\b/g, 'ID');
  const said = named(stderr).replace(OF_THE_OTHER, '');
  return { status, stdout: named(stdout), stderr: said.replace(/\n?exit status 1$/, '') };
}

const sorted = (said: Said): Said => ({ ...said, stdout: said.stdout.split('\n').sort().join('\n') });

test('network: create, ls, inspect, rm, prune and their errors are in the words of docker', async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:dockerd', 'command:ip')) return;
  const pair = await besideDocker(t);
  ip('link add d0 type bridge');
  ip('address add 172.17.0.1/16 dev d0');
  ip('link set d0 up');
  const both = (...args: string[]) => pair.compare('network', ...args);
  const same = async (...args: string[]) => {
    const [docker, tsbox] = (await both(...args)).map(plain);
    assert.deepEqual(tsbox, docker, args.join(' '));
  };
  const option = (name: string, value: string) => ['create', '-o', `com.docker.network.${name}=${value}`];
  for (const line of [
    'ls',
    // Each with a subnet: both are asked at once, and docker's bridge is a route that tsbox's choice would go around.
    'create --subnet 10.5.0.0/24 --gateway 10.5.0.1 one',
    'create --subnet 10.3.0.0/30 v10',
    'create --subnet 10.5.1.0/24 --gateway 10.5.1.1 --internal --label a=b --label c v9',
  ]) {
    await same(...line.split(' '));
  }
  await same(
    ...option('bridge.name', 'brx'),
    '-o',
    'com.docker.network.driver.mtu=1400',
    '--subnet',
    '10.5.2.0/24',
    '--gateway',
    '10.5.2.1',
    'opt',
  );
  const refused = [
    'one',
    'bridge',
    '-d host xx',
    '-d foo xx',
    '--subnet foo xx',
    '--gateway 10.0.0.1 xx',
    '--subnet 10.1.0.0/24 --gateway 10.2.0.1 xx',
    '--subnet 10.1.0.0/24 --ip-range 10.2.0.0/25 xx',
    '--subnet 10.1.0.0/24 --subnet 10.1.0.0/16 xx',
    '--subnet 10.1.0.0/24 --subnet 10.2.0.0/24 xx',
    '--subnet 10.4.0.0/31 xx',
    '--subnet 10.3.0.0/16 xx',
  ].map((line) => ['create', ...line.split(' ')]);
  const wrong = [
    option('bridge.name', 'brx'),
    option('bridge.enable_icc', 'maybe'),
    option('driver.mtu', 'foo'),
    option('driver.mtu', '-5'),
    option('bridge.host_binding_ipv4', 'foo'),
  ].map((words) => [...words, 'xx']);
  const looks = [
    'ls',
    'ls --no-trunc',
    'ls -q -f driver=bridge',
    'ls -f type=builtin --format {{.Name}}',
    'ls -f type=foo',
    'ls -f dangling=1 --format {{.Name}}',
    'ls -f dangling=foo',
    'ls -f name=^o --format {{.Name}}',
    // Docker's order of several labels is chance.
    'ls -f label=a=b --format {{.Name}}:{{.Driver}}:{{.Scope}}:{{.IPv6}}:{{.Internal}}',
    'inspect -f {{.Name}}:{{.Internal}}:{{.Options}} one nosuch host',
    'inspect --verbose -f {{.Name}}:{{.Containers}} v9',
    'ls -f scope=local --format {{.Name}}',
    'ls -f scope=swarm -q',
    'prune -f --filter until=24h',
    'prune -f --filter label=a=c',
    'rm host',
  ].map((line) => line.split(' '));
  const table = ['ls', '--format', 'table {{.Name}}\t{{.IPv6}}\t{{.Internal}}\t{{.ID}}'];
  await Promise.all([...refused, ['create', ''], ...wrong, ...looks, table].map((words) => same(...words)));
  const shown = (await both('inspect', 'one', 'v9', 'opt', 'host', 'none')).map(({ stdout }) =>
    (JSON.parse(stdout) as object[]).map((one) => ({ ...one, Id: '', Created: '' })),
  );
  assert.deepEqual(shown[1], shown[0]);
  await same('prune', '-f', '--filter', 'label=a=b', '--filter', 'label=c');
  await same('create', '--subnet', '10.5.1.0/24', '--label', 'a', 'v9');
  for (const unwanted of ['label!=a', 'until=2100-01-01']) {
    const kept = ['--filter', 'label=a', '--filter', unwanted];
    await same('prune', '-f', ...kept);
  }
  await same('rm', 'one', 'nosuch', 'v9');
  const pruned = (await both('prune', '-f')).map(plain).map(sorted);
  assert.deepEqual(pruned[1], pruned[0]);
  await same('ls');
  await pair.both('network', 'create', 'two');
  const system = (await pair.compare('system', 'prune', '-f')).map(plain);
  assert.deepEqual(system[1], system[0]);
  const told = (said: Said) =>
    said.stdout
      .replace(/^\S+ /gm, '')
      .replace(/ [0-9a-f]{64} /g, ' ID ')
      .split('\n')
      .sort();
  const soon = String(Math.ceil(Date.now() / 1000) + 1); // docker's own `now` may lie before what has just happened
  const events = (await pair.compare('events', '--since', '10m', '--until', soon, '--filter', 'type=network')).map(
    told,
  );
  assert.deepEqual(events[1], events[0]);
});

test('network: several that are made at once have subnets of their own', async (t) => {
  if (!requires(t, 'root', 'command:ip')) return;
  const box = sandbox(t);
  const names = ['n0', 'n1', 'n2', 'n3', 'n0'];
  const made = await Promise.all(names.map((name) => box.start(['network', 'create', name]).done));
  assert.deepEqual(made.map(({ status }) => status).sort(), [0, 0, 0, 0, 1]);
  const shown = await box.quick([
    'network',
    'inspect',
    '-f',
    '{{range .IPAM.Config}}{{.Subnet}}{{end}}',
    'n0',
    'n1',
    'n2',
    'n3',
  ]);
  assert.equal(new Set(shown.split('\n')).size, 4, shown);
});

test('network: rm and prune take the bridge away, but none that was there before', async (t) => {
  if (!requires(t, 'root', 'command:ip')) return;
  const box = sandbox(t);
  const id = await box.quick(['network', 'create', 'one']);
  const bridge = `br-${id.slice(0, 12)}`;
  ip(`link add ${bridge} type bridge`);
  await box.quick(['network', 'rm', 'one']);
  assert.equal(linkInfo(bridge), undefined);
  ip('link add kept0 type bridge');
  ip('link add veth0 type veth peer name veth1');
  const named = (name: string) => ['network', 'create', '-o', `com.docker.network.bridge.name=${name}`, `net-${name}`];
  await box.quick(named('kept0'));
  await box.quick(named('made0'));
  ip('link add made0 type bridge');
  const refused = await box.said(named('veth0'));
  assert.match(refused.stderr, /use interface veth0: it is there and no bridge/);
  assert.equal(await box.quick(['network', 'prune', '-f']), 'Deleted Networks:\nnet-kept0\nnet-made0\n');
  assert.equal(linkInfo('made0'), undefined);
  assert.equal(linkInfo('kept0')?.kind, 'bridge');
});

test("network: the default one's bridge goes with prune, its record and its subnet stay", async (t) => {
  if (!requires(t, 'root', 'command:ip')) return;
  const box = sandbox(t);
  const tsbox = async (...args: string[]) => box.quick(['--bridge', 'mine0', 'network', ...args]);
  const before = await tsbox('inspect', 'bridge');
  const [{ IPAM }] = JSON.parse(before) as [{ IPAM: { Config: [{ Gateway: string }] } }];
  ip('link add mine0 type bridge');
  ip(`address add ${IPAM.Config[0].Gateway}/16 dev mine0`);
  assert.equal(await tsbox('prune', '-f'), '');
  assert.equal(linkInfo('mine0'), undefined);
  assert.equal(await tsbox('inspect', 'bridge'), before);
});
