import assert from 'node:assert/strict';
import test from 'node:test';
import { networkRequest } from '../../src/cli/network-values.ts';

const asked = (flags: Parameters<typeof networkRequest>[0], network = 'none') => networkRequest(flags, network);

function refused(flags: Parameters<typeof networkRequest>[0], message: string, network?: string): void {
  assert.throws(() => asked(flags, network), { message, exitCode: 125 });
}

test('--add-host: name and address by colon or equals sign, IPv6 in brackets or not', () => {
  const given = ['a:1.2.3.4', 'b=::1', 'c:[2001:db8::9]', 'd:::1', 'e=host-gateway', 'HOST:1.2.3.5'];
  const kept = ['a:1.2.3.4', 'b:::1', 'c:2001:db8::9', 'd:::1', 'e:host-gateway', 'HOST:1.2.3.5'];
  assert.deepEqual(asked({ 'add-host': given }), { extraHosts: kept });
});

test('--add-host: what is none is refused in Docker’s words', () => {
  const bad = (value: string, why: string) =>
    refused({ 'add-host': [value] }, `invalid argument "${value}" for "--add-host" flag: ${why}`);
  for (const value of ['', 'foo', ':1.2.3.4', 'c:foo=::1']) bad(value, `bad format for add-host: "${value}"`);
  bad('foo:', 'invalid IP address in add-host: ""');
  bad('foo:1.2.3', 'invalid IP address in add-host: "1.2.3"');
  bad('a:b:1.2.3.4', 'invalid IP address in add-host: "b:1.2.3.4"');
  bad('foo:fe80::1%eth0', 'invalid IP address in add-host: "fe80::1%eth0"');
});

test('--dns, --dns-search: addresses in their usual form, domains without the last dot', () => {
  const { dns, dnsSearch } = asked({ dns: [' 1.2.3.4', '0:0:0:0:0:0:0:1'], 'dns-search': ['.', 'y.', ' a.b-c '] });
  assert.deepEqual(
    [dns, dnsSearch],
    [
      ['1.2.3.4', '::1'],
      ['.', 'y', 'a.b-c'],
    ],
  );
  for (const value of ['foo', '', '001.2.3.4', 'fe80::1%eth0']) {
    refused(
      { dns: [value] },
      `invalid argument "${value}" for "--dns" flag: IP address is not correctly formatted: ${value}`,
    );
  }
  for (const value of ['', 'a b', '-foo', 'a..b', '1.2', `${'a'.repeat(255)}`]) {
    refused(
      { 'dns-search': [value] },
      `invalid argument "${value}" for "--dns-search" flag: ${value} is not a valid domain`,
    );
  }
});

test('--link: a container, and an alias if wanted', () => {
  assert.deepEqual(asked({ link: ['a', 'a:b'] }), { links: ['a', 'a:b'] });
  refused({ link: [''] }, 'invalid argument "" for "--link" flag: empty string specified for links');
  refused({ link: ['a:b:c'] }, 'invalid argument "a:b:c" for "--link" flag: bad format for links: a:b:c');
});

test('--network-alias: only in networks that somebody has made', () => {
  assert.deepEqual(asked({ 'network-alias': ['x'] }, 'mine'), { networkAliases: ['x'] });
  for (const network of ['default', 'bridge', 'none', 'host', 'container:x']) {
    refused({ 'network-alias': ['x'] }, 'network-scoped aliases are only supported for user-defined networks', network);
  }
});
