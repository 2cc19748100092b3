/** Ports: what `-p` and `--expose` mean, which of the host's are taken, how they are shown. What docker says was asked of docker. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { PublishedPort } from '../../src/spec/network.ts';
import { portSet, portsAsked } from '../../src/spec/ports.ts';
import { type HostPorts, pickPorts, portLines, portsColumn, portsShown } from '../../src/spec/published.ts';

const asked = (...publish: string[]) => portsAsked(publish, []).bindings;
const at = (HostPort: string, HostIp = '') => [{ HostIp, HostPort }];

test('ports: the forms of -p', () => {
  const forms: [string, object][] = [
    ['80', { '80/tcp': at('') }],
    [':80', { '80/tcp': at('') }],
    ['0:80', { '80/tcp': at('0') }],
    ['080:80', { '80/tcp': at('80') }],
    ['8080:80/', { '80/tcp': at('8080') }],
    ['8080:80/UDP', { '80/udp': at('8080') }],
    ['80/tcp/udp', { '80/tcp': at('') }],
    ['80/sctp', { '80/sctp': at('') }],
    ['127.0.0.1::80', { '80/tcp': at('', '127.0.0.1') }],
    ['[::1]:8080:80', { '80/tcp': at('8080', '::1') }],
    ['::1:8080:80', { '80/tcp': at('8080', '::1') }],
    ['[]:80:90', { '90/tcp': at('80') }],
    ['8000-8002:80', { '80/tcp': at('8000-8002') }],
    ['8-9-10:80', { '80/tcp': at('8-9') }],
    ['127.0.0.1:8000-8001:80-81/udp', { '80/udp': at('8000', '127.0.0.1'), '81/udp': at('8001', '127.0.0.1') }],
    ['80-81', { '80/tcp': at(''), '81/tcp': at('') }],
    ['published=8080,target=80,protocol=udp', { '80/udp': at('8080') }],
    ['target=80', { '80/tcp': at('') }],
  ];
  for (const [text, bindings] of forms) assert.deepEqual(asked(text), bindings, text);
  assert.deepEqual(asked('8080:80', '8081:80'), { '80/tcp': [...at('8080'), ...at('8081')] });
});

test('ports: what is none is refused in the words of docker', () => {
  for (const [text, message] of [
    ['', 'no port specified: <empty>'],
    ['8080:', 'no port specified: 8080:<empty>'],
    ['8080:/tcp', 'no port specified: 8080:/tcp<empty>'],
    ['published=8080', 'no port specified: 8080:/tcp<empty>'],
    ['foo,target=80', "invalid publish opts format (should be name=value but got 'foo')"],
    ['70000:80', 'invalid hostPort: 70000'],
    ['127.0.0.1:80', 'invalid hostPort: 127.0.0.1'],
    ['65536', 'invalid containerPort: 65536'],
    ['80:b', 'invalid containerPort: b'],
    ['+80', 'invalid containerPort: +80'],
    ['9-8:9-8', 'invalid containerPort: 9-8'],
    ['80-', 'invalid containerPort: 80-'],
    ['8080:0', 'invalid containerPort: 0'],
    ['80/foo', 'invalid proto: foo'],
    ['8000-8003:80-82', 'invalid ranges specified for container and host Ports: 80-82 and 8000-8003'],
    ['8000:80-82', 'invalid ranges specified for container and host Ports: 80-82 and 8000'],
    ['a:b:c:d', 'invalid IP address: a:b'],
    ['[::1%lo]::80', 'invalid IP address: ::1%lo'],
    ['001.2.3.4:80:80', 'invalid IP address: 001.2.3.4'],
    ['[::1:80:80', "invalid IP address [::1: address [::1:: missing ']' in address"],
  ] as const)
    assert.throws(() => asked(text), { message, code: 'ERR_TSBOX_USAGE', exitCode: 125 }, text);
});

test('ports: --expose', () => {
  const exposed = (...words: string[]) => portsAsked([], words).exposed;
  assert.deepEqual(exposed('80', '53-54/udp', '80', '81/'), ['80/tcp', '53/udp', '54/udp', '81/tcp']);
  assert.deepEqual(portsAsked(['1:80'], ['80', '81']).exposed, ['80/tcp', '81/tcp']);
  assert.deepEqual(Object.keys(portSet(['90/tcp', '53/udp', '90/tcp', '8/tcp'])), ['53/udp', '8/tcp', '90/tcp']);
  for (const [text, message] of [
    ['1:2', 'invalid port format for --expose: 1:2'],
    ['x', 'invalid range format for --expose: x, error: strconv.ParseUint: parsing "x": invalid syntax'],
    ['', 'invalid range format for --expose: , error: empty string specified for ports'],
    ['82-80', 'invalid range format for --expose: 82-80, error: invalid range specified for port: 82-80'],
    [
      '70000',
      'invalid range format for --expose: 70000, error: strconv.ParseUint: parsing "70000": value out of range',
    ],
  ] as const)
    assert.throws(() => exposed(text), { message }, text);
});

const host = (isFree: HostPorts['isFree'] = () => true, from = 0): HostPorts => ({
  addresses: ['0.0.0.0', '::'],
  range: [32768, 32771],
  from,
  isFree,
});
const picked = (words: string[], given = host()) =>
  pickPorts({ PortBindings: portsAsked(words, []).bindings }, given).map(
    ({ protocol, hostAddress, hostPort, containerPort }) => `${hostAddress} ${hostPort} ${containerPort}/${protocol}`,
  );

test('ports: on every address unless one is named, in the usual spelling', () => {
  assert.deepEqual(picked(['8080:80']), ['0.0.0.0 8080 80/tcp', ':: 8080 80/tcp']);
  assert.deepEqual(picked(['0.0.0.0:8080:80', '[0:0::0:1]:8080:80', '8080:80/udp'].slice(0, 2)), [
    '0.0.0.0 8080 80/tcp',
    '::1 8080 80/tcp',
  ]);
});

test('ports: who can have one only comes first, then the largest; tcp and udp do not meet', () => {
  assert.deepEqual(picked(['127.0.0.1:8000-8010:80', '127.0.0.1:8000-8010:81', '127.0.0.1:8000:8000']), [
    '127.0.0.1 8000 8000/tcp',
    '127.0.0.1 8001 81/tcp',
    '127.0.0.1 8002 80/tcp',
  ]);
  const all = pickPorts({ ExposedPorts: portSet(['90/tcp', '53/udp', '80/tcp']), PublishAllPorts: true }, host());
  assert.deepEqual(portsShown(all, undefined), {
    '53/udp': [...at('32768', '0.0.0.0'), ...at('32768', '::')],
    '80/tcp': [...at('32769', '0.0.0.0'), ...at('32769', '::')],
    '90/tcp': [...at('32768', '0.0.0.0'), ...at('32768', '::')],
  });
});

test('ports: one that is free on all the addresses; the search goes around', () => {
  const busy = host((_, address, port) => !(address === '::' && port === 32770), 0.5);
  assert.deepEqual(picked(['80', '81'], busy), [
    '0.0.0.0 32771 81/tcp',
    ':: 32771 81/tcp',
    '0.0.0.0 32768 80/tcp',
    ':: 32768 80/tcp',
  ]);
});

test('ports: an address of a version of IP that the container does not have is refused, and not left out', () => {
  const refused = (words: string[], addresses: string[], message: string) =>
    assert.throws(() => picked(words, { ...host(), addresses }), { message, code: 'ERR_TSBOX_UNSUPPORTED' });
  const end = 'address that leads out';
  refused(['[::1]:8080:80'], ['0.0.0.0'], `publish [::1]:8080: the container has no IPv6 ${end}`);
  refused(['127.0.0.1:8080:80'], ['::'], `publish 127.0.0.1:8080: the container has no IPv4 ${end}`);
  assert.deepEqual(picked(['8080:80'], { ...host(), addresses: ['0.0.0.0'] }), ['0.0.0.0 8080 80/tcp']);
  assert.deepEqual(picked(['1.2.3.4:8080:80'], { ...host(), addresses: ['127.0.0.1'] }), ['1.2.3.4 8080 80/tcp']);
});

test('ports: one that is taken is refused', () => {
  const refused = (words: string[], message: string, given?: HostPorts) =>
    assert.throws(() => picked(words, given), { message, code: 'ERR_TSBOX_CONFLICT', exitCode: 125 });
  const none = host(() => false);
  refused(['8080:80'], 'Bind for 0.0.0.0:8080 failed: port is already allocated', none);
  refused(['[::1]:8080:80'], 'Bind for [::1]:8080 failed: port is already allocated', none);
  refused(['80'], 'Bind for 0.0.0.0:32768-32771 failed: all ports are allocated', none);
  refused(['8080:80', '8080:81'], 'Bind for 0.0.0.0:8080 failed: port is already allocated');
  refused(['8080:80', '127.0.0.1:8080:81'], 'Bind for 127.0.0.1:8080 failed: port is already allocated');
  refused(
    ['1.2.3.4:8-9:80', '1.2.3.4:8-9:81', '1.2.3.4:8-9:82'],
    'Bind for 1.2.3.4:8-9 failed: all ports are allocated',
  );
  assert.throws(() => picked(['80/sctp']), { code: 'ERR_TSBOX_UNSUPPORTED' });
});

const port = (text: string): PublishedPort => {
  const [, hostAddress = '', hostPort = '', containerPort = '', protocol] = /^(\S+) (\d+) (\d+)\/(\w+)$/.exec(text)!;
  return {
    protocol: protocol as 'tcp',
    hostAddress,
    hostPort: Number(hostPort),
    containerPort: Number(containerPort),
  };
};
const both = (text: string) => [port(`0.0.0.0 ${text}`), port(`:: ${text}`)];

test('ports: as ps, port and inspect show them', () => {
  const many = [...both('90 90/tcp'), ...both('91 91/tcp'), port('127.0.0.1 92 92/tcp'), ...both('93 93/udp')];
  const exposed = portSet(['53/udp', '90/tcp', '80/tcp', '81/tcp']);
  assert.equal(
    portsColumn([...many, ...both('94 94/udp'), ...both('7 90/tcp')], portSet(['53/udp'])),
    '53/udp, 0.0.0.0:90-91->90-91/tcp, [::]:90-91->90-91/tcp, 127.0.0.1:92->92/tcp, 0.0.0.0:93-94->93-94/udp, ' +
      '[::]:93-94->93-94/udp, 0.0.0.0:7->90/tcp, [::]:7->90/tcp',
  );
  assert.equal(portsColumn([], exposed), '80-81/tcp, 53/udp, 90/tcp');
  const some = [
    ...both('8080 80/tcp'),
    ...both('8090 80/tcp'),
    port('::1 1 80/tcp'),
    ...both('8080 80/udp'),
    ...both('8 8/tcp'),
  ];
  assert.deepEqual(portLines(some), [
    '8/tcp -> 0.0.0.0:8',
    '8/tcp -> [::]:8',
    '80/tcp -> 0.0.0.0:8080',
    '80/tcp -> 0.0.0.0:8090',
    '80/tcp -> [::1]:1',
    '80/tcp -> [::]:8080',
    '80/tcp -> [::]:8090',
    '80/udp -> 0.0.0.0:8080',
    '80/udp -> [::]:8080',
  ]);
  assert.deepEqual(portLines(some, '80/udp'), ['0.0.0.0:8080', '[::]:8080']);
  assert.deepEqual(portsShown([port('127.0.0.1 1 80/tcp')], exposed), {
    '53/udp': null,
    '80/tcp': at('1', '127.0.0.1'),
    '81/tcp': null,
    '90/tcp': null,
  });
});
