/** The default network and those that a user makes, with real traffic between network namespaces of the test's own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { requires } from '../requires.ts';
import { runRootOf, type Sandbox, until } from './harness.ts';
import { left, neighbour, networked, run, serve, serverWords, shell, whoAmI } from './networks.ts';

const NEEDS = ['root', 'overlay', 'command:ip', 'command:nft', 'command:nc.openbsd'] as const;

const addressOf = (box: Sandbox, name: string, network = 'bridge') =>
  box.ok(['inspect', '--format', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name]);

/** What a tcp port says. */
const call = (...target: readonly string[]) => ['nc', '-w', '10', ...target];

/** The same where nobody is to answer: within two seconds. */
const callInVain = (...target: readonly string[]) => ['nc', '-w', '2', ...target];

/** The same for a host. */
const dial = (...target: readonly string[]) => ['nc.openbsd', '-w', '10', ...target];
const dialInVain = (...target: readonly string[]) => ['nc.openbsd', '-w', '2', ...target];

test('bridge: addresses, the way out, and nothing left behind', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const internet = await neighbour(t, 'internet', '10.9.0.1/24', '10.9.0.2/24');
  run('ip', 'route', 'add', 'default', 'via', '10.9.0.2');
  run('ip', 'link', 'set', 'to-internet', 'mtu', '1420');
  await whoAmI(internet, 7);
  const image = box.image();
  const script = 'ip addr show eth0; ip route; nc -w 10 10.9.0.2 7; cat /etc/hosts';
  const shown = box.ok(['run', '--rm', '--name', 'one', '--hostname', 'inside', image, 'sh', '-c', script]);
  assert.match(shown, /inet 172\.17\.0\.2\/16 brd 172\.17\.255\.255/);
  assert.doesNotMatch(shown, /inet6/, 'a network without IPv6');
  assert.match(shown, /eth0.* mtu 1420 /, "as the host's way out");
  assert.match(shown, /default via 172\.17\.0\.1 dev eth0/);
  assert.match(shown, /^::ffff:10\.9\.0\.1$/m, 'the server sees the host');
  assert.match(shown, /^172\.17\.0\.2\tinside$/m);
  await until('the cable to be gone', () => left().length === 0);
  assert.deepEqual(runRootOf(box), ['network.lock']);
  assert.match(run('ip', '-4', 'address', 'show', 'tsbox0'), /172\.17\.0\.1\/16/, 'the bridge stays');
  assert.match(
    box.ok(['run', '--rm', image, 'ip', 'link', 'show', 'eth0']),
    / mtu 1420 /,
    'with a bridge that is there',
  );
});

test('bridge: a dry run tells all of it and changes nothing', (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  const tree = () => shell(`find ${box.directory} -printf '%p %s %T@\\n' | sort`);
  // The first one may make the directories of the store.
  box.ok(['run', '--dry-run', '--network', 'none', image, 'true']);
  const before = tree();
  const shown = box.ok(['run', '--dry-run', '--publish', '8080:80', image, 'true']);
  assert.match(
    shown,
    /ip link add veth[0-9a-f]+ mtu 1500 type veth peer name eth0 netns \{pid\} address 02:42:ac:11:00:02/,
  );
  assert.match(shown, /ip route add default via 172\.17\.0\.1/);
  assert.match(shown, /nft add element inet tsbox-[0-9a-f]{8} ports4/);
  assert.equal(tree(), before);
  assert.deepEqual(left(), []);
  assert.doesNotMatch(run('ip', 'link'), /tsbox0/);
});

test('bridge: containers reach each other, the lowest free address is given, and given back', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  for (const name of ['aa', 'bb', 'cc']) box.ok(['run', '--detach', '--name', name, image, ...serverWords(name)]);
  await serve(box, 'bb');
  assert.deepEqual(
    ['aa', 'bb', 'cc'].map((name) => addressOf(box, name)),
    ['172.17.0.2', '172.17.0.3', '172.17.0.4'],
  );
  assert.equal(box.ok(['exec', 'aa', ...call('172.17.0.3', '80')]), 'bb');
  box.ok(['rm', '--force', 'bb']);
  assert.equal(
    box.ok(['run', '--rm', image, 'sh', '-c', "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'"]),
    'inet 172.17.0.3',
  );
  box.ok(['restart', '--time', '0', 'cc']);
  assert.equal(addressOf(box, 'cc'), '172.17.0.3');
  assert.match(box.ok(['inspect', '--format', '{{json .NetworkSettings}}', 'cc']), /"MacAddress":"02:42:ac:11:00:03"/);
});

test('ports: from another host, from the host itself, from the container itself', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const client = await neighbour(t, 'client', '10.9.0.1/24', '10.9.0.2/24');
  const image = box.image();
  const ports = ['--publish', '8080:80', '--publish', '127.0.0.1:8081:80', '--publish', '10.9.0.1:8082:80'];
  box.ok(['run', '--detach', '--name', 'web', ...ports, '--publish', '80', image, ...serverWords('web')]);
  await serve(box, 'web');
  const given = box.ok(['port', 'web', '80']).match(/\d+$/gm) ?? [];
  const [random = ''] = given.filter((port) => !['8080', '8081', '8082'].includes(port));
  for (const port of ['8080', '8082', random]) assert.equal(client.run(...dial('10.9.0.1', port)), 'web\n', port);
  for (const port of ['8080', '8081', random])
    assert.equal(run('nc.openbsd', '-w', '10', '127.0.0.1', port), 'web\n', port);
  assert.notEqual(client.try(...dialInVain('10.9.0.1', '8081')).stdout, 'web\n', 'published on the loopback only');
  assert.equal(box.ok(['exec', 'web', ...call('10.9.0.1', '8080')]), 'web', 'its own published port');
  assert.equal(box.ok(['exec', 'web', ...call('172.17.0.1', '8080')]), 'web', 'by way of the gateway');
  client.run('ip', 'route', 'add', '172.17.0.0/16', 'via', '10.9.0.1');
  assert.notEqual(
    client.try(...dialInVain('172.17.0.2', '80')).stdout,
    'web\n',
    'what is not published is not reached',
  );
  const taken = box.tsbox(['run', '--rm', '--publish', '8080:80', image, 'true']);
  assert.equal(taken.status, 125);
  assert.match(taken.stderr, /8080/);
  box.ok(['rm', '--force', 'web']);
  assert.notEqual(client.try(...dialInVain('10.9.0.1', '8080')).stdout, 'web\n');
  await until('nothing to be left', () => left().length === 0);
});

test('ports: udp, and a port that a program of the host has', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const client = await neighbour(t, 'client', '10.9.0.1/24', '10.9.0.2/24');
  const image = box.image();
  box.ok(['run', '--detach', '--name', 'sink', '--publish', '5353:53/udp', image, 'sleep', '600']);
  // The fixture has nothing that takes datagrams: a program of the host does it, in the container's network.
  const pid = box.ok(['inspect', '--format', '{{.State.Pid}}', 'sink']);
  const sink = spawn('nsenter', ['--target', pid, '--net', 'nc.openbsd', '-u', '-l', '-d', '53']);
  t.after(() => sink.kill('SIGKILL'));
  let got = '';
  sink.stdout.on('data', (data: Buffer) => {
    got += data.toString();
  });
  for (const end = Date.now() + 30_000; got === '' && Date.now() < end; await setTimeout(50)) {
    client.try('sh', '-c', 'echo hello | nc.openbsd -u -w 1 10.9.0.1 5353');
  }
  assert.match(got, /^hello\n/);
  assert.match(box.ok(['ps', '--format', '{{.Ports}}']), /0\.0\.0\.0:5353->53\/udp/);
  const server = spawn('nc.openbsd', ['-l', '127.0.0.1', '8090'], { stdio: 'ignore' });
  t.after(() => server.kill('SIGKILL'));
  await until('a server of the host', () => shell('ss -ltn').includes(':8090'));
  const refused = box.tsbox(['run', '--rm', '--publish', '8090:80', image, 'true']);
  assert.equal(refused.status, 125);
  assert.match(refused.stderr, /8090.*(already|in use)/);
});

test('networks: apart from each other, two for one container, none that leads out of an internal one', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const internet = await neighbour(t, 'internet', '10.9.0.1/24', '10.9.0.2/24');
  run('ip', 'route', 'add', 'default', 'via', '10.9.0.2');
  await whoAmI(internet, 7);
  const image = box.image();
  box.ok(['network', 'create', '--subnet', '172.30.1.0/24', 'left']);
  box.ok(['network', 'create', '--subnet', '172.30.2.0/24', '--internal', 'right']);
  box.ok([
    'run',
    '--detach',
    '--name',
    'lefty',
    '--network',
    'left',
    '--ip',
    '172.30.1.7',
    image,
    ...serverWords('lefty'),
  ]);
  box.ok(['run', '--detach', '--name', 'righty', '--network', 'right', image, ...serverWords('righty')]);
  await serve(box, 'lefty', 'righty');
  assert.equal(addressOf(box, 'lefty', 'left'), '172.30.1.7');
  const reaches = (from: string, ...target: readonly string[]) =>
    box.tsbox(['exec', from, ...call(...target)]).stdout.trim();
  const reachesInVain = (from: string, ...target: readonly string[]) =>
    box.tsbox(['exec', from, ...callInVain(...target)]).stdout.trim();
  assert.equal(reachesInVain('lefty', '172.30.2.2', '80'), '', 'another network');
  assert.equal(reaches('lefty', '10.9.0.2', '7'), '::ffff:10.9.0.1');
  assert.equal(reachesInVain('righty', '10.9.0.2', '7'), '', 'internal');
  box.ok(['network', 'connect', 'right', 'lefty']);
  assert.equal(reaches('lefty', '172.30.2.2', '80'), 'righty');
  assert.equal(reaches('lefty', '10.9.0.2', '7'), '::ffff:10.9.0.1', 'it keeps its way out');
  box.ok(['network', 'disconnect', 'right', 'lefty']);
  assert.equal(reachesInVain('lefty', '172.30.2.2', '80'), '');
  // Out of the network with the way out: another one is the way, also to its published port.
  box.ok(['network', 'create', '--subnet', '172.30.4.0/24', 'other']);
  box.ok([
    'run',
    '--detach',
    '--name',
    'moved',
    '--network',
    'other',
    '--publish',
    '8087:80',
    image,
    ...serverWords('moved'),
  ]);
  await serve(box, 'moved');
  box.ok(['network', 'connect', 'left', 'moved']);
  box.ok(['network', 'disconnect', 'other', 'moved']);
  assert.equal(reaches('moved', '10.9.0.2', '7'), '::ffff:10.9.0.1');
  assert.equal(internet.run(...dial('10.9.0.1', '8087')), 'moved\n');
  box.ok(['network', 'disconnect', 'left', 'moved']);
  assert.notEqual(internet.try(...dialInVain('10.9.0.1', '8087')).stdout, 'moved\n');
  box.ok(['network', 'connect', 'other', 'moved']);
  assert.equal(internet.run(...dial('10.9.0.1', '8087')), 'moved\n');
  assert.equal(box.tsbox(['network', 'connect', 'bridge', '--ip', '172.17.0.9', 'moved']).status, 1);
  box.ok([
    'network',
    'create',
    '--opt',
    'com.docker.network.bridge.enable_icc=false',
    '--subnet',
    '172.30.5.0/24',
    'apart',
  ]);
  for (const name of ['a1', 'a2']) {
    box.ok(['run', '--detach', '--name', name, '--network', 'apart', '--publish', '80', image, ...serverWords(name)]);
  }
  await serve(box, 'a2');
  assert.equal(reachesInVain('a1', '172.30.5.3', '80'), '', 'in one network, and apart');
  assert.equal(reaches('a1', '10.9.0.2', '7'), '::ffff:10.9.0.1');
  assert.match(box.tsbox(['network', 'rm', 'left']).stderr, /has active endpoints/);
  const full = box.tsbox(['run', '--rm', '--network', 'left', '--ip', '172.30.1.7', image, 'true']);
  assert.deepEqual([full.status, /already in use/.test(full.stderr)], [125, true]);
});

test('networks: a connect that fails has changed nothing', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  box.ok(['run', '--detach', '--name', 'web', '--publish', '8087:80', image, ...serverWords('web')]);
  await serve(box, 'web');
  box.ok(['network', 'create', 'mine']);
  await box.quick(['network', 'disconnect', 'bridge', 'web']);
  const id = await box.quick(['inspect', '--format', '{{.Id}}', 'web']);
  const hosts = join(box.dataRoot, 'containers', id, 'hosts');
  const state = () => ({
    account: readFileSync(join(box.runRoot, id, 'network.json'), 'utf8'),
    leases: readdirSync(join(box.runRoot, 'leases')),
    left: left(),
    rules: run('nft', 'list', 'ruleset').match(/tcp \. \d+ : .*/g),
    inside: box.ok(['exec', 'web', 'ip', '-o', 'link']),
  });
  // Cables of the test before go when the kernel clears their namespaces away.
  await until('nothing but a table to be left', () => left().length === 1);
  const before = state();
  assert.equal(before.rules, null, 'its port leads nowhere');
  // The hosts file is written when the cable is there and the port leads somewhere.
  renameSync(hosts, `${hosts}.aside`);
  mkdirSync(hosts);
  const refused = await box.said(['network', 'connect', 'mine', 'web']);
  assert.deepEqual([refused.status, /EISDIR/.test(refused.stderr)], [1, true], refused.stderr);
  assert.deepEqual(state(), before);
  rmdirSync(hosts);
  renameSync(`${hosts}.aside`, hosts);
  await box.quick(['network', 'connect', 'mine', 'web']);
  assert.equal(run('nc.openbsd', '-w', '10', '127.0.0.1', '8087'), 'web\n');
});

test('networks: IPv6, with a subnet of its own', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const client = await neighbour(t, 'client', '10.9.0.1/24', '10.9.0.2/24');
  run('ip', 'address', 'add', '2001:db8::1/64', 'dev', 'to-client', 'nodad');
  client.run('ip', 'address', 'add', '2001:db8::2/64', 'dev', 'eth0', 'nodad');
  await whoAmI(client, 7);
  const image = box.image();
  box.ok(['network', 'create', '--ipv6', 'six']);
  box.ok([
    'run',
    '--detach',
    '--name',
    'one',
    '--network',
    'six',
    '--publish',
    '8080:80',
    image,
    ...serverWords('one'),
  ]);
  await serve(box, 'one');
  const address = box.ok(['inspect', '--format', '{{.NetworkSettings.Networks.six.GlobalIPv6Address}}', 'one']);
  assert.match(address, /^fd[0-9a-f:]+::2$/);
  assert.equal(box.ok(['exec', 'one', ...call('2001:db8::2', '7')]), '2001:db8::1', 'the host stands for it');
  assert.equal(client.run(...dial('2001:db8::1', '8080')), 'one\n');
});

test('networks: full, and what somebody has taken away is made again', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  box.ok(['network', 'create', '--subnet', '172.30.3.0/30', 'small']);
  box.ok([
    'run',
    '--detach',
    '--name',
    'first',
    '--network',
    'small',
    '--publish',
    '8085:80',
    image,
    ...serverWords('first'),
  ]);
  await serve(box, 'first');
  const full = box.tsbox(['run', '--rm', '--network', 'small', image, 'true']);
  assert.equal(full.status, 125);
  assert.match(full.stderr, /no available IPv4 addresses.*small/);
  run('nft', 'delete', 'table', 'inet', tableOf());
  box.ok(['run', '--rm', image, 'true']);
  assert.equal(
    run('nc.openbsd', '-w', '10', '127.0.0.1', '8085'),
    'first\n',
    'the port of who runs is in the new table',
  );
  box.ok(['rm', '--force', 'first']);
  const [bridge] = run('ip', '-o', 'link', 'show', 'type', 'bridge').match(/br-[0-9a-f]+/) ?? [];
  run('ip', 'link', 'delete', bridge!);
  box.ok(['run', '--rm', '--network', 'small', image, 'true']);
  assert.ok(run('ip', '-o', 'link').includes(bridge!));
});

const tableOf = () => /table inet (\S+)/.exec(run('nft', 'list', 'tables'))![1]!;

test('bridge: a monitor that is killed keeps nothing for long', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  box.ok(['run', '--detach', '--name', 'killed', '--publish', '8086:80', image, ...serverWords('killed')]);
  const id = box.ok(['inspect', '--format', '{{.Id}}', 'killed']);
  const { Monitor } = JSON.parse(shell(`cat ${box.runRoot}/${id}/state.json`));
  process.kill(Monitor, 'SIGKILL');
  await until('the monitor to be gone', () => !existsSync(`/proc/${Monitor}`));
  box.ok(['run', '--rm', '--publish', '8086:80', image, 'true']);
  box.ok(['rm', '--force', 'killed']);
  await until('nothing to be left', () => left().length === 0);
  assert.ok(!existsSync(join(box.runRoot, 'leases')));
});

test('bridge: many at once have an address and ports each', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  const count = Number(process.env['TSBOX_NETWORK_CONTAINERS'] ?? 12);
  const words = ['run', '--detach', '--publish', '80', '--publish', '127.0.0.1::53/udp', image, 'sleep', '600'];
  const timeout = 30_000 + count * 1_000;
  const started = Array.from({ length: count }, () => box.start(words, { timeout }).done);
  for (const { status, stderr } of await Promise.all(started)) assert.equal(status, 0, stderr);
  const leases = readdirSync(join(box.runRoot, 'leases'));
  const kind = (pattern: RegExp) => new Set(leases.filter((name) => pattern.test(name))).size;
  assert.deepEqual([kind(/^[0-9a-f]{64},/), kind(/^tcp,/), kind(/^udp,/)], [count, count, count]);
  const ids = (await box.quick(['ps', '--quiet'])).split('\n');
  const shown = async (template: string) =>
    new Set((await box.quick(['inspect', '--format', template, ...ids])).split('\n')).size;
  assert.equal(await shown('{{.NetworkSettings.IPAddress}}'), count);
  assert.equal(await shown('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'), count);
  assert.equal(await shown('{{(index (index .NetworkSettings.Ports "53/udp") 0).HostPort}}'), count);
  assert.equal(run('ip', '-o', 'link', 'show', 'master', 'tsbox0').trim().split('\n').length, count);
  const rules = run('nft', 'list', 'ruleset');
  assert.equal(rules.match(/^\s+(meta nfproto ipv[46] )?dnat /gm)?.length, 4, `no rule is there twice:\n${rules}`);
  assert.equal(rules.match(/ : 172\.17\.\d+\.\d+ \. (80|53)\b/g)?.length, 2 * count);
  const removed = await box.start(['rm', '--force', ...ids], { timeout }).done;
  assert.equal(removed.status, 0, removed.stderr);
  await until('nothing to be left', () => left().length === 0);
});

test('ports: which meet, of containers and of the host', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  for (const at of ['10.9.1.1/24', '10.9.2.1/24']) run('ip', 'address', 'add', at, 'dev', 'lo');
  const held = ['10.9.1.1:7001:80', '7002:80', '127.0.0.1:7003:80/udp'].flatMap((port) => ['--publish', port]);
  box.ok(['run', '--detach', '--name', 'first', ...held, image, 'sleep', '600']);
  const listen = (...words: readonly string[]) => {
    const child = spawn('nc.openbsd', ['-l', ...words], { stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
  };
  listen('127.0.0.1', '7011');
  listen('-u', '10.9.1.1', '7012');
  listen('-6', '::1', '7013');
  const both = 'require("net").createServer().listen({ host: "::", port: 7014 })';
  const server = spawn(process.execPath, ['-e', both], { stdio: 'ignore' });
  t.after(() => server.kill('SIGKILL'));
  await until('servers of the host', () => (shell('ss -ltnu').match(/:701[1-4]\b/g) ?? []).length === 4);
  const refused = [
    '10.9.1.1:7001:80',
    '7001:80',
    '127.0.0.1:7002:80',
    '7003:80/udp',
    '127.0.0.1:7011:80',
    '7011:80',
    '7012:80/udp',
    '10.9.1.1:7012:80/udp',
    '7014:80',
    '127.0.0.1:7014:80',
  ];
  const tries = refused.map(async (port) => ({
    port,
    ...(await box.start(['run', '--rm', '--publish', port, image, 'true']).done),
  }));
  for (const { port, status, stderr } of await Promise.all(tries)) {
    assert.deepEqual([status, /port is already allocated/.test(stderr)], [125, true], `${port}: ${stderr}`);
  }
  const free = [
    '10.9.2.1:7001:80',
    '7001:80/udp',
    '127.0.0.1:7003:80',
    '10.9.2.1:7003:80/udp',
    '7013:80',
    '7011:80/udp',
  ];
  box.ok(['run', '--rm', ...free.flatMap((port) => ['--publish', port]), image, 'true']);
  // Of several that ask for the same at the same time one has it.
  const asked = Array.from({ length: 4 }, () => box.start(['run', '-d', '-p', '7020:80', image, 'sleep', '600']).done);
  const said = await Promise.all(asked);
  assert.deepEqual(said.map(({ status }) => status).sort(), [0, 125, 125, 125]);
  for (const { status, stderr } of said)
    if (status !== 0) assert.match(stderr, /7020 failed: port is already allocated/);
});

test('names: by name, by alias and from the outside; a network that comes later brings them', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const box = networked(t);
  const image = box.image();
  box.ok(['network', 'create', 'mine']);
  box.ok([
    'run',
    '--detach',
    '--name',
    'db',
    '--network',
    'mine',
    '--network-alias',
    'store',
    '--hostname',
    'db',
    image,
    ...serverWords('db'),
  ]);
  await serve(box, 'db');
  box.ok(['run', '--detach', '--name', 'app', '--network', 'mine', image, 'sleep', '600']);
  assert.equal(box.ok(['exec', 'app', 'cat', '/etc/resolv.conf']).includes('nameserver 127.0.0.11'), true);
  for (const name of ['db', 'store', 'db.mine']) assert.equal(box.ok(['exec', 'app', ...call(name, '80')]), 'db', name);
  box.ok(['run', '--detach', '--name', 'late', image, 'sleep', '600']);
  assert.notEqual(box.tsbox(['exec', 'late', ...callInVain('db', '80')]).stdout, 'db\n', 'another network');
  box.ok(['network', 'connect', '--alias', 'latecomer', 'mine', 'late']);
  assert.equal(box.ok(['exec', 'late', ...call('db', '80')]), 'db');
  assert.match(box.ok(['exec', 'app', 'nslookup', 'latecomer']), new RegExp(addressOf(box, 'late', 'mine')));
  box.ok(['rename', 'db', 'data']);
  assert.equal(box.ok(['exec', 'app', ...call('data', '80')]), 'db', 'by its new name');
  assert.equal(box.ok(['exec', 'app', ...call('db', '80')]), 'db', 'by its host name, which was its name by chance');
  box.ok(['rename', 'app', 'application']);
  assert.equal(box.tsbox(['exec', 'late', 'nslookup', 'app']).status, 1, 'not by its old one');
  box.ok(['rename', 'application', 'app']);
  assert.equal(box.ok(['ps', '--filter', 'network=mine', '--format', '{{.Names}}']), 'late\napp\ndata');
  box.ok(['run', '--detach', '--name', 'joined', '--network', 'container:app', image, 'sleep', '600']);
  assert.equal(box.ok(['exec', 'joined', ...call('data', '80')]), 'db');
  assert.equal(box.ok(['exec', 'joined', 'cat', '/etc/hosts']), box.ok(['exec', 'app', 'cat', '/etc/hosts']));
  assert.match(box.ok(['network', 'inspect', 'mine']), /"Name": "late"/);
  box.ok(['rm', '--force', 'data', 'app', 'late', 'joined']);
  await until('nothing to be left', () => left().length === 0);
  box.ok(['network', 'rm', 'mine']);
});
