/** What `network create` accepts, and the subnets that come of it. */
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  checkBridgeName,
  checkNetworkRequest,
  chooseSubnets,
  type NetworkRequest,
} from '../../src/network/network-request.ts';
import { parseSubnet } from '../../src/spec/ip.ts';
import type { NetworkRecord } from '../../src/spec/network.ts';
import type { TakenSubnet } from '../../src/spec/subnets.ts';

const request = (more: Partial<NetworkRequest> = {}): NetworkRequest => ({
  name: 'one',
  driver: 'bridge',
  subnets: [],
  gateways: [],
  ipRanges: [],
  internal: false,
  ipv6: false,
  labels: {},
  options: {},
  ...more,
});
const taken = (text: string, by: string): TakenSubnet => ({ subnet: parseSubnet(text)!, by });
const surroundings = {
  networks: [taken('172.17.0.0/16', 'network bridge')],
  host: [taken('10.1.0.0/16', 'route through eth0')],
  globalId: () => Buffer.from('0102030405', 'hex'),
};
const choose = (more: Partial<NetworkRequest>) => chooseSubnets(request(more), surroundings);

test('network create: subnets that nobody gave are free, and the gateway is the first address', () => {
  assert.deepEqual(choose({}), { config: [{ Subnet: '172.18.0.0/16', Gateway: '172.18.0.1' }], warnings: [] });
  assert.deepEqual(choose({ ipv6: true }).config, [
    { Subnet: '172.18.0.0/16', Gateway: '172.18.0.1' },
    { Subnet: 'fd01:203:405::/64', Gateway: 'fd01:203:405::1' },
  ]);
});

test('network create: a range and a gateway go to the subnet that they are in', () => {
  const given = {
    ipv6: true,
    subnets: ['fd00:1::/64', '172.28.3.9/16'],
    gateways: ['172.28.255.254', 'fd00:1::ff'],
    ipRanges: ['172.28.5.0/24'],
  };
  assert.deepEqual(choose(given).config, [
    { Subnet: '172.28.0.0/16', IPRange: '172.28.5.0/24', Gateway: '172.28.255.254' },
    { Subnet: 'fd00:1::/64', Gateway: 'fd00:1::ff' },
  ]);
});

test('network create: a random subnet that meets another is drawn again', () => {
  const ids = ['0000000000', '0102030405'].map((text) => Buffer.from(text, 'hex'));
  const networks = [taken('fd00::/64', 'network other')];
  const { config } = chooseSubnets(request({ ipv6: true }), { networks, host: [], globalId: () => ids.shift()! });
  assert.equal(config[1]?.Subnet, 'fd01:203:405::/64');
});

test('network create: the subnet of another network is refused by its name, a route of the host is warned of', () => {
  assert.throws(() => choose({ subnets: ['172.17.3.0/24'] }), {
    code: 'ERR_TSBOX_CONFLICT',
    message: 'Pool overlaps with other one on this address space',
    hint: '172.17.3.0/24 has addresses in common with 172.17.0.0/16 (network bridge).',
  });
  assert.deepEqual(choose({ subnets: ['10.0.0.0/8'] }).warnings, [
    'subnet 10.0.0.0/8 hides 10.1.0.0/16 (route through eth0)',
  ]);
});

test('network create: what does not fit together is refused', () => {
  const subnets = ['10.9.0.0/24'];
  const refused: [Partial<NetworkRequest>, RegExp][] = [
    [{ gateways: ['10.9.0.1'] }, /^every ip-range or gateway must have a corresponding subnet$/],
    [{ ipRanges: subnets }, /^every ip-range or gateway must have a corresponding subnet$/],
    [{ subnets: ['foo'] }, /^Invalid subnet foo : invalid CIDR address: foo$/],
    [{ subnets: ['10.9.0.0'] }, /invalid CIDR address/],
    [{ subnets: ['10.9.0.0/33'] }, /invalid CIDR address/],
    [{ subnets: ['10.9.0.0/31'] }, /No available addresses on this pool/],
    [{ subnets: ['fd00::/127'], ipv6: true }, /No available addresses on this pool/],
    [{ subnets: ['fd00::/64'] }, /is one of IPv6/],
    [{ subnets: ['10.9.0.0/24', '10.9.0.0/16'] }, /multiple overlapping subnet/],
    [{ subnets: ['10.9.0.0/24', '10.8.0.0/24'] }, /doesn't support multiple subnets/],
    [{ subnets, gateways: ['10.8.0.1'] }, /^no matching subnet for gateway 10.8.0.1$/],
    [{ subnets, gateways: ['x'] }, /^no matching subnet for gateway x$/],
    [{ subnets, gateways: ['10.9.0.0'] }, /Address already in use/],
    [{ subnets, gateways: ['10.9.0.255'] }, /Address already in use/],
    [{ subnets, ipRanges: ['10.8.0.0/25'] }, /^no matching subnet for range 10.8.0.0\/25$/],
    [{ subnets, ipRanges: ['10.9.0.0/16'] }, /^no matching subnet for range/],
    [{ subnets, ipRanges: ['x'] }, /^invalid CIDR address: x$/],
    [{ subnets: [...subnets, 'fd00::/64'], ipv6: true, gateways: ['10.9.0.1', '10.9.0.2'] }, /multiple gateways/],
  ];
  for (const [more, message] of refused) {
    assert.throws(() => choose(more), { code: 'ERR_TSBOX_USAGE', message }, JSON.stringify(more));
  }
});

test('network create: names, drivers and options', () => {
  const bridge = 'com.docker.network.bridge.';
  const option = (name: string, value: string) => ({ options: { [name]: value } });
  const refused: [Partial<NetworkRequest>, string, RegExp][] = [
    [{ name: ' ' }, 'ERR_TSBOX_USAGE', /^invalid name/],
    [{ name: 'a\u001b[1m' }, 'ERR_TSBOX_USAGE', /^invalid name: "a\\u001b/],
    [{ name: 'default' }, 'ERR_TSBOX_USAGE', /^operation is not permitted on predefined default network$/],
    [{ driver: 'host' }, 'ERR_TSBOX_CONFLICT', /^only one instance of "host" network is allowed$/],
    [{ driver: 'macvlan' }, 'ERR_TSBOX_UNSUPPORTED', /macvlan/],
    [{ driver: 'foo' }, 'ERR_TSBOX_NOT_FOUND', /^plugin "foo" not found$/],
    [option('foo', ''), 'ERR_TSBOX_UNSUPPORTED', /option "foo"/],
    [option('toString', ''), 'ERR_TSBOX_UNSUPPORTED', /option "toString"/],
    [option(`${bridge}name`, 'sixteen-bytes-xx'), 'ERR_TSBOX_USAGE', /at most 15 bytes/],
    [option(`${bridge}name`, '../x'), 'ERR_TSBOX_USAGE', /invalid interface name/],
    [option(`${bridge}name`, ''), 'ERR_TSBOX_USAGE', /invalid interface name/],
    [option(`${bridge}enable_icc`, 'x'), 'ERR_TSBOX_USAGE', /ParseBool: parsing "x"/],
    [option(`${bridge}host_binding_ipv4`, '::1'), 'ERR_TSBOX_USAGE', /nil ip/],
    [option('com.docker.network.driver.mtu', 'x'), 'ERR_TSBOX_USAGE', /Atoi: parsing "x"/],
    [option('com.docker.network.driver.mtu', '-5'), 'ERR_TSBOX_USAGE', /^invalid MTU number: -5$/],
    [option('com.docker.network.driver.mtu', '70000'), 'ERR_TSBOX_USAGE', /^invalid MTU number/],
  ];
  for (const [more, code, message] of refused) {
    assert.throws(() => checkNetworkRequest(request(more)), { code, message }, JSON.stringify(more));
  }
  checkNetworkRequest(request({ name: 'a b', ...option('com.docker.network.driver.mtu', '1400') }));
});

test('network create: an interface is that of one network', () => {
  const record = (ID: string, Options: Record<string, string>) =>
    ({ Name: ID, ID: ID.repeat(64), Driver: 'bridge', Options }) as NetworkRecord;
  const named = record('a', { 'com.docker.network.bridge.name': 'br-bbbbbbbbbbbb' });
  assert.throws(() => checkBridgeName(named, [record('b', {})]), { message: /networks have same bridge name$/ });
  checkBridgeName(named, [record('c', {}), { ...record('b', {}), Driver: 'host' }]);
});
