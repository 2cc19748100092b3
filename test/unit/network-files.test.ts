/** The files of /etc that a container's network gives it. What is expected was seen in containers of Docker 20.10. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { networkFiles } from '../../src/network/files.ts';
import { upstreams } from '../../src/network/resolv-conf.ts';
import type { Endpoint } from '../../src/spec/network.ts';

const HOST = {
  hosts: '127.0.0.1 localhost\n127.0.0.1 box\n',
  resolvConf: [
    '# my comment',
    'nameserver 127.0.0.53',
    'search corp.example a.example',
    'options edns0 ndots:2',
    'nameserver 10.1.2.3',
    'nameserver ::1',
    'nameserver fe80::1%eth0',
    'nameserver 2001:db8::1',
    '',
  ].join('\n'),
};

const LOCAL = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

function endpoint(address: string, names: string[], more: Partial<Endpoint> = {}): Endpoint {
  const gateway = address.replace(/\.\d+\/\d+$/, '.1');
  const fixed = { networkId: 'f0', network: 'n', interface: 'eth0', port: 'veth0', mac: '02:42:ac:11:00:02' };
  return { ...fixed, address, gateway, names, ...more };
}

const DEFAULT = [endpoint('172.17.0.2/16', [])];
const MADE = [endpoint('172.18.0.2/16', ['c1', 'f999cb25f504'])];

type Input = Parameters<typeof networkFiles>[0];

function files(input: Partial<Input>) {
  return networkFiles({ mode: 'default', hostname: 'c', domainname: '', endpoints: DEFAULT, host: HOST, ...input });
}

const hosts = (input: Partial<Input>) => files(input).hosts.replace(LOCAL, '');

test('hosts: the own address with the full name and the short one', () => {
  assert.equal(files({}).hosts, `${LOCAL}172.17.0.2\tc\n`);
  assert.equal(hosts({ hostname: 'foo', domainname: 'example.com' }), '172.17.0.2\tfoo.example.com foo\n');
  assert.equal(hosts({ hostname: 'h.i', domainname: 'd.e' }), '172.17.0.2\th.i.d.e h\n');
  assert.equal(hosts({ hostname: 'foo.bar.com' }), '172.17.0.2\tfoo.bar.com foo\n');
});

test('hosts: a line for each address', () => {
  const two = [...DEFAULT, endpoint('172.18.0.2/16', ['c'], { address6: 'fd00::2/64' })];
  assert.equal(hosts({ endpoints: two }), '172.17.0.2\tc\n172.18.0.2\tc\nfd00::2\tc\n');
});

test('hosts: what was asked for comes first, then links', () => {
  const links = [{ address: '172.17.0.2', names: ['b', 'thost', 't1'] }];
  assert.equal(
    hosts({ extraHosts: ['a:1.2.3.4', 'v6:2001:db8::9', 'g:host-gateway'], links }),
    '1.2.3.4\ta\n2001:db8::9\tv6\n172.17.0.1\tg\n172.17.0.2\tb thost t1\n172.17.0.2\tc\n',
  );
});

test('hosts: those of the host in its network, but for additions', () => {
  const host = { mode: 'host', endpoints: [] };
  assert.equal(files(host).hosts, HOST.hosts);
  assert.equal(files({ ...host, extraHosts: ['a:1.2.3.4'] }).hosts, `${LOCAL}1.2.3.4\ta\n`);
  assert.equal(hosts({ ...host, extraHosts: ['a:host-gateway'] }), '127.0.0.1\ta\n');
});

test('hosts: host-gateway is refused where there is no way to the host', () => {
  const none = { mode: 'none', endpoints: [], extraHosts: ['a:host-gateway'] };
  assert.throws(() => files(none), { message: 'unable to derive the IP value for host-gateway' });
  assert.equal(hosts({ ...none, hostGateway: '172.17.0.1' }), '172.17.0.1\ta\n');
});

const resolv = (input: Partial<Input>) => files(input).resolvConf;

test('resolv.conf: no servers that only the host reaches, nor of an IP that the container has not', () => {
  const plain = '# my comment\nsearch corp.example a.example\noptions edns0 ndots:2\nnameserver 10.1.2.3\n';
  assert.equal(resolv({}), plain);
  assert.equal(resolv({ mode: 'none', endpoints: [] }), plain);
  const both = [endpoint('172.17.0.2/16', [], { address6: 'fd00::2/64' })];
  assert.equal(resolv({ endpoints: both }), `${plain}nameserver 2001:db8::1\n`);
});

test('resolv.conf: of the host’s network it is the host’s own, and what was asked for counts', () => {
  const host = { mode: 'host', endpoints: [] };
  assert.equal(resolv(host), HOST.resolvConf);
  const asked = { dns: ['9.9.9.9'], dnsSearch: ['x.y'], dnsOptions: ['ndots:3'] };
  assert.equal(resolv({ ...host, ...asked }), 'search x.y\nnameserver 9.9.9.9\noptions ndots:3\n');
});

test('resolv.conf: each of servers, search and options may be asked for alone', () => {
  const search = 'search corp.example a.example\n';
  const options = 'options edns0 ndots:2\n';
  assert.equal(resolv({ dns: ['9.9.9.9'] }), `${search}nameserver 9.9.9.9\n${options}`);
  assert.equal(resolv({ dnsSearch: ['x', '.', 'y'] }), `search x . y\nnameserver 10.1.2.3\n${options}`);
  assert.equal(resolv({ dnsSearch: ['.'] }), `nameserver 10.1.2.3\n${options}`);
  assert.equal(resolv({ dnsOptions: [''] }), `${search}nameserver 10.1.2.3\n`);
});

test('resolv.conf: a host without a server of use gives public ones', () => {
  const host = { ...HOST, resolvConf: 'nameserver 127.0.0.1' };
  assert.equal(resolv({ host }), 'nameserver 8.8.8.8\nnameserver 8.8.4.4\n');
  assert.match(resolv({ host: { ...HOST, resolvConf: 'search x' } }), /^search x\nnameserver 8\.8\.8\.8\n/);
});

test('resolv.conf: in a network with names the resolver is the only server', () => {
  const search = 'search corp.example a.example\n';
  assert.equal(resolv({ endpoints: MADE }), `${search}nameserver 127.0.0.11\noptions edns0 ndots:2\n`);
  assert.equal(
    resolv({ endpoints: MADE, dns: ['9.9.9.9'], dnsSearch: ['.'], dnsOptions: ['foo:bar'] }),
    'nameserver 127.0.0.11\noptions foo:bar ndots:0\n',
  );
  const host = { ...HOST, resolvConf: 'nameserver 10.1.2.3\n' };
  assert.equal(resolv({ endpoints: [...DEFAULT, ...MADE], host }), 'nameserver 127.0.0.11\noptions ndots:0\n');
});

test('the resolver asks the host’s servers, those on loopback too', () => {
  const all = ['127.0.0.53', '10.1.2.3', '::1', 'fe80::1%eth0', '2001:db8::1'];
  assert.deepEqual(upstreams([], HOST.resolvConf), all);
  assert.deepEqual(upstreams(['9.9.9.9'], HOST.resolvConf), ['9.9.9.9']);
  assert.deepEqual(upstreams([], '# nameserver 1.2.3.4\n'), ['8.8.8.8', '8.8.4.4']);
});
