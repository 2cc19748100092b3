/** The network of an ordinary user's containers, by pasta and slirp4netns: real traffic, in namespaces of the test's own. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { requires } from '../requires.ts';
import { until } from '../system/harness.ts';
import { dnsScript, HOST, INTERNET, type OwnNetwork, ownNetwork, run } from './own-network.ts';
import { type User, user } from './user.ts';

/** Asks the other host whom it sees, with the input open until the answer is there: were it at its end, nc would close its half at once, and
 *  a connection that the server closes at the same time Debian 12's pasta often forgets. nc would then wait for ever. */
const ASK =
  `mkfifo /in; nc ${INTERNET.address} 7 < /in > /out & exec 3> /in; ` +
  'for i in $(seq 200); do test -s /out && break; sleep 0.1; done; cat /out; kill $!; exec 3>&-';

const NEEDS = [
  'root',
  'overlay',
  'userns',
  'command:useradd',
  'command:newuidmap',
  'command:ip',
  'command:nc.openbsd',
  'command:curl',
  'command:pasta',
  'command:slirp4netns',
] as const;

/** Words of `run` for a web server that says `text` on port 80 of the container. */
const server = (text: string) => [
  'sh',
  '-c',
  `mkdir /w; echo ${text} > /w/index.html; httpd -p 80 -h /w; exec sleep 1000`,
];

function fetch(...args: readonly string[]): string {
  return spawnSync('curl', ['--silent', '--noproxy', '*', '--max-time', '5', ...args], { encoding: 'utf8' }).stdout;
}

const answers = (url: string, text: string) => until(url, () => fetch(url) === `${text}\n`);

/** Programs that carry containers of this user. */
function carriers({ uid }: User): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[0]!;
        const owner = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
        return owner === uid && /(^|\/)(pasta|slirp4netns|tsbox-keeper)$/.test(command);
      } catch {
        return false;
      }
    });
}

const noneLeft = (he: User) => until('the end of what carried it', () => carriers(he).length === 0);

test('rootless network', async (t) => {
  if (!requires(t, ...NEEDS)) return;
  const he = user(t);
  delete he.env['TSBOX_BRIDGE'];
  const network = await ownNetwork(t, he.directory);
  const image = he.image();
  network.startThere(process.execPath, '-e', dnsScript(INTERNET.address, '203.0.113.7'));
  // Who only tries whether somebody listens hangs up at once, and an error that nobody hears would end the server.
  const whoAmI = `require('net').createServer((s) => s.on('error', () => {}).end(s.remoteAddress + '\\n')).listen(7, '::')`;
  network.startThere(process.execPath, '-e', whoAmI);
  await until('a server on the other host', () => network.there('nc.openbsd', '-z', '127.0.0.1', '7').status === 0);
  await t.test('pasta is the default: the way out, names, the same addresses as the host', () => wayOut(he, image));
  await t.test('what the host alone reaches is not reached by the container', (c) => loopback(c, he, image));
  await t.test('a DNS server that only the host reaches is asked all the same', (c) => localDns(c, he, image, network));
  await t.test('published ports: from here and from afar, of both versions; free again', () =>
    published(he, image, network),
  );
  await t.test('a port in use, one that is of root', (c) => refusedPorts(c, he, image));
  await t.test('whoever is killed, nothing is left', () => killed(he, image));
  await t.test('slirp4netns: the way out, names, ports', () => slirp(he, image, network));
  await t.test('what only root has is refused by name', () => refused(he, image));
  await t.test('nothing installed: none, and what to install is said once', () => nothing(he, image));
});

function wayOut(he: User, image: string): void {
  const script = `${ASK}; nslookup some.where; ip address show eth0; cat /etc/hosts`;
  const shown = he.ok(['run', '--rm', '--hostname', 'inside', image, 'sh', '-c', script]);
  assert.match(shown, new RegExp(`^::ffff:${HOST.address}$`, 'm'), 'the other host sees this one');
  assert.match(shown, new RegExp(`inet6 ${HOST.address6}/64`));
  assert.match(shown, /203\.0\.113\.7/);
  assert.match(shown, new RegExp(`inet ${HOST.address}/24`));
  assert.match(shown, new RegExp(`^${HOST.address}\tinside$`, 'm'));
  const explained = he.tsbox(['run', '--rm', '--explain', image, 'true']).stderr;
  assert.match(
    explained,
    /run \[".*tsbox-keeper", "\{pid\}", .*"pasta", .*the container's connections as the user's own/,
  );
}

async function loopback(context: TestContext, he: User, image: string): Promise<void> {
  const other = spawn(process.execPath, [
    '-e',
    "require('net').createServer((s) => s.on('error', () => {}).end('host\\n')).listen(7071, '127.0.0.1')",
  ]);
  context.after(() => other.kill('SIGKILL'));
  const said = () => spawnSync('nc.openbsd', ['-w', '10', '127.0.0.1', '7071'], { encoding: 'utf8' }).stdout;
  await until('a server of the host', () => said() === 'host\n');
  for (const name of ['pasta', 'slirp4netns']) {
    const script = 'for a in 127.0.0.1 192.0.2.1 10.0.2.2; do nc -w 1 $a 7071 < /dev/null; done; echo end';
    assert.equal(he.ok(['run', '--rm', '--network', name, image, 'sh', '-c', script]), 'end');
    assert.equal(said(), 'host\n', 'the server was there all the time');
  }
}

async function localDns(context: TestContext, he: User, image: string, network: OwnNetwork): Promise<void> {
  const local = spawn(process.execPath, ['-e', dnsScript('127.0.0.1', '203.0.113.8')], { stdio: 'ignore' });
  context.after(() => local.kill('SIGKILL'));
  network.resolvConf('nameserver 127.0.0.1\nsearch lan\n');
  try {
    const script = 'cat /etc/resolv.conf; nslookup some.where';
    await until('the local server', () => he.ok(['run', '--rm', image, 'sh', '-c', script]).includes('203.0.113.8'));
    const shown = he.ok(['run', '--rm', '--network', 'slirp4netns', image, 'sh', '-c', script]);
    assert.match(shown, /^search lan\nnameserver 10\.0\.2\.3$/m);
    assert.match(shown, /203\.0\.113\.8/);
  } finally {
    network.resolvConf(`nameserver ${INTERNET.address}\n`);
  }
}

async function published(he: User, image: string, network: OwnNetwork): Promise<void> {
  const ports = ['-p', '8080:80', '-p', '127.0.0.1:8081:80', '-p', '5353:53/udp', '-P', '--expose', '82'];
  he.ok(['run', '-d', '--name', 'web', ...ports, image, ...server('hello')]);
  for (const url of ['http://127.0.0.1:8080', 'http://[::1]:8080', 'http://127.0.0.1:8081'])
    await answers(url, 'hello');
  const afar = (url: string, from: string, seconds = 3) =>
    network.there('curl', '--silent', '--max-time', `${seconds}`, '--interface', from, url);
  assert.equal(afar(`http://${HOST.address}:8080`, INTERNET.address, 15).stdout, 'hello\n');
  // Debian 12's pasta answers so for the first second or two only by IPv4.
  const six = `http://[${HOST.address6}]:8080`;
  await until('an answer by IPv6', () => afar(six, INTERNET.address6).stdout === 'hello\n');
  assert.notEqual(afar(`http://${HOST.address}:8081`, INTERNET.address).status, 0, 'that one is for the host alone');
  const pid = he.ok(['inspect', '--format', '{{.State.Pid}}', 'web']);
  // busybox has no nc for udp.
  const echo = `const s = require('dgram').createSocket('udp4').bind(53);
s.on('message', (m, from) => s.send(m, from.port, from.address));`;
  const inside = spawn('nsenter', ['--target', pid, '--net', '--', process.execPath, '-e', echo], { stdio: 'ignore' });
  try {
    // Debian 12's pasta brings no answer back to the host itself from a port with another number: it is asked from afar.
    const words = ['sh', '-c', `echo afar | nc.openbsd -u -w 1 -s ${INTERNET.address} ${HOST.address} 5353`];
    await until('a datagram and its answer', () => network.there(...words).stdout === 'afar\n');
  } finally {
    inside.kill('SIGKILL');
  }
  const random = he.ok(['port', 'web', '82']).split('\n');
  assert.match(random[0]!, /^0\.0\.0\.0:\d{5}$/);
  assert.equal(he.ok(['port', 'web', '80']), '0.0.0.0:8080\n127.0.0.1:8081\n[::]:8080');
  assert.match(
    he.ok(['ps', '--format', '{{.Ports}}']),
    /^0\.0\.0\.0:5353->53\/udp, \[::\]:5353->53\/udp, 0\.0\.0\.0:8080->80\/tcp, /,
  );
  const shown = JSON.parse(he.ok(['inspect', '--format', '{{json .NetworkSettings}}', 'web']));
  assert.deepEqual(shown.Ports['53/udp'], [
    { HostIp: '0.0.0.0', HostPort: '5353' },
    { HostIp: '::', HostPort: '5353' },
  ]);
  assert.equal(shown.Networks.pasta.IPAddress, HOST.address);
  // Each start has its port again, whatever became of the one before.
  he.ok(['restart', '-t', '0', 'web']);
  await answers('http://127.0.0.1:8080', 'hello');
  he.ok(['kill', 'web']);
  he.ok(['start', 'web']);
  await answers('http://127.0.0.1:8080', 'hello');
  he.ok(['rm', '-f', 'web']);
  assert.deepEqual(carriers(he), [], 'it waited for the end of pasta');
  assert.equal(fetch('http://127.0.0.1:8080'), '');
}

async function refusedPorts(context: TestContext, he: User, image: string): Promise<void> {
  const listener = spawn(process.execPath, [
    '-e',
    "require('net').createServer((s) => s.on('error', () => {})).listen(9090, '127.0.0.1')",
  ]);
  context.after(() => listener.kill('SIGKILL'));
  await until('a server of the host', () => spawnSync('nc.openbsd', ['-z', '127.0.0.1', '9090']).status === 0);
  for (const name of ['pasta', 'slirp4netns']) {
    const used = he.tsbox(['run', '--rm', '--network', name, '-p', '127.0.0.1:9090:80', image, 'echo', 'started']);
    assert.equal(used.status, 125);
    assert.match(used.stderr, /^tsbox: Bind for 127\.0\.0\.1:9090 failed: port is already allocated\nhint: /);
    assert.equal(used.stdout, '');
  }
  const low = he.tsbox(['run', '--rm', '-p', '80:80', image, 'true']);
  assert.match(low.stderr, /Bind for 0\.0\.0\.0:80 failed: EACCES .*\nhint: .*ip_unprivileged_port_start=80/);
  assert.equal(low.status, 125);
}

async function killed(he: User, image: string): Promise<void> {
  const kill = (name: string, signal: string) => run('kill', signal, name);
  for (const who of ['container', 'monitor', 'keeper']) {
    he.ok(['run', '-d', '--name', 'one', '-p', '8080:80', image, 'sleep', '1000']);
    const pid = he.ok(['inspect', '--format', '{{.State.Pid}}', 'one']);
    const [keeper] = carriers(he).filter((one) =>
      readFileSync(`/proc/${one}/cmdline`, 'latin1').includes('tsbox-keeper'),
    );
    const monitor = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]!;
    kill(who === 'container' ? pid : who === 'monitor' ? monitor : String(keeper), '-KILL');
    await noneLeft(he);
    he.ok(['rm', '-f', 'one']);
  }
}

async function slirp(he: User, image: string, network: OwnNetwork): Promise<void> {
  const slirped = ['--network', 'slirp4netns'];
  const script = `${ASK}; nslookup some.where; ip -4 address show eth0`;
  const shown = he.ok(['run', '--rm', ...slirped, image, 'sh', '-c', script]);
  assert.match(shown, new RegExp(`^::ffff:${HOST.address}$`, 'm'));
  assert.match(shown, /203\.0\.113\.7/);
  assert.match(shown, /inet 10\.0\.2\.100\/24/);
  he.ok([
    'run',
    '-d',
    '--name',
    'web',
    ...slirped,
    '-p',
    '8080:80',
    '-p',
    '127.0.0.1:8081:80',
    image,
    ...server('slirped'),
  ]);
  for (const url of ['http://127.0.0.1:8080', 'http://127.0.0.1:8081']) await answers(url, 'slirped');
  assert.equal(network.there('curl', '--silent', `http://${HOST.address}:8080`).stdout, 'slirped\n');
  assert.equal(he.ok(['port', 'web']), '80/tcp -> 0.0.0.0:8080\n80/tcp -> 127.0.0.1:8081');
  assert.equal(
    he.ok(['inspect', '--format', '{{.NetworkSettings.Networks.slirp4netns.IPAddress}}', 'web']),
    '10.0.2.100',
  );
  he.ok(['rm', '-f', 'web']);
  assert.deepEqual(carriers(he), []);
}

function refused(he: User, image: string): void {
  for (const [words, message] of [
    [['--network', 'mine'], /network mine: only root has networks in which containers meet\nhint: /],
    [['--network', 'container:one'], /network container:one: only root /],
    [['--ip', '10.0.0.1'], /--ip: only root /],
    [['--mac-address', '02:42:00:00:00:01'], /--mac-address: only root /],
    [['--network', 'slirp4netns', '-p', '[::1]:8080:80'], /publish \[::1\]:8080: slirp4netns has IPv4 only\nhint: /],
    [['-p', '127.0.0.1:8080:80', '-p', '[::1]:8080:80'], /Overlapping port specifier/],
    [['--add-host', 'host:host-gateway'], /host-gateway/],
  ] as const) {
    const { status, stderr } = he.tsbox(['run', '--rm', ...words, image, 'true']);
    assert.match(stderr, message);
    assert.equal(status, 125, words.join(' '));
  }
}

function nothing(he: User, image: string): void {
  for (const name of ['pasta', 'slirp4netns']) {
    run('mount', '--bind', '/dev/null', run('readlink', '-f', run('which', name).trim()).trim());
  }
  const first = he.tsbox(['run', '--rm', image, 'ls', '/sys/class/net']);
  assert.equal(first.stdout, 'lo\n');
  assert.match(first.stderr, /^WARNING: containers have no network without pasta.*apt-get install passt$/m);
  assert.equal(he.tsbox(['run', '--rm', image, 'true']).stderr, '');
  const asked = he.tsbox(['run', '--rm', '-p', '8080:80', image, 'true']);
  assert.match(
    asked.stderr,
    /--publish: without root it takes pasta\(1\) or slirp4netns\(1\)\nhint: .*apt-get install passt/,
  );
  assert.match(he.tsbox(['run', '--rm', '--network', 'pasta', image, 'true']).stderr, /pasta is not installed\nhint: /);
}
