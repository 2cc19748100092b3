/** Addresses and subnets: Node's own parser is the judge. */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import test from 'node:test';
import {
  addressBytes,
  contains,
  formatAddress,
  formatSubnet,
  lastOf,
  overlap,
  parseAddress,
  parseSubnet,
} from '../../src/spec/ip.ts';

test('ip: what is an address, as Node says', () => {
  const [v4, v6] = [
    [
      '0.0.0.0',
      '255.255.255.255',
      '172.17.0.2',
      '1.2.3',
      '1.2.3.4.5',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3.4/8',
      ' 1.2.3.4',
      '',
    ],
    [
      '::',
      '::1',
      'fd00::1',
      '1:2:3:4:5:6:7:8',
      '1:2:3:4:5:6:7::',
      '::1:2:3:4:5:6:7:8',
      '1::2::3',
      ':1',
      '1:',
      '1:2:3:4:5:6:7',
      '12345::',
    ].concat(['::ffff:1.2.3.4', '1:2:3:4:5:6:1.2.3.4', '1.2.3.4::', '::1.2.3.256', 'g::', ':::', '1::8:', 'FD00::A']),
  ];
  for (const text of [...v4, ...v6]) {
    assert.equal(parseAddress(text)?.version ?? 0, isIP(text), text);
  }
  assert.equal(parseAddress('fe80::1%eth0'), undefined);
});

test('ip: printed as RFC 5952 has it', () => {
  for (const [given, printed] of [
    ['172.17.0.2', '172.17.0.2'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['::ffff:1.2.3.4', '::ffff:102:304'],
  ] as const) {
    const { version, value } = parseAddress(given)!;
    assert.equal(formatAddress(version, value), printed);
  }
});

test('ip: subnets', () => {
  const subnet = (text: string) => parseSubnet(text)!;
  assert.equal(formatSubnet(subnet('172.17.5.9/16')), '172.17.0.0/16');
  assert.equal(formatSubnet(subnet('fd00:1::99/64')), 'fd00:1::/64');
  assert.equal(formatAddress(4, lastOf(subnet('172.17.0.0/16'))), '172.17.255.255');
  assert.ok(
    contains(subnet('10.0.0.0/30'), parseAddress('10.0.0.3')!) &&
      !contains(subnet('10.0.0.0/30'), parseAddress('10.0.0.4')!),
  );
  assert.ok(
    overlap(subnet('172.16.0.0/12'), subnet('172.31.0.0/16')) && !overlap(subnet('10.0.0.0/9'), subnet('10.128.0.0/9')),
  );
  assert.ok(overlap(subnet('0.0.0.0/0'), subnet('10.128.0.0/9')) && !overlap(subnet('::/0'), subnet('10.128.0.0/9')));
  for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '/8', '10.0.0.0/', '10.0.0.0/-1'])
    assert.equal(parseSubnet(text), undefined, text);
  assert.deepEqual([...addressBytes('172.17.0.2')], [172, 17, 0, 2]);
  assert.equal(addressBytes('fd00::1').toString('hex'), 'fd000000000000000000000000000001');
});
