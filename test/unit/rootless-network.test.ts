import assert from 'node:assert/strict';
import test from 'node:test';
import { type CarrierInput, carrierCleanup, carrierSteps, pastaPorts } from '../../src/plan/rootless-network.ts';
import type { PublishedPort } from '../../src/spec/network.ts';

const port = (hostAddress: string, hostPort: number, containerPort = 80, protocol: 'tcp' | 'udp' = 'tcp') =>
  ({ protocol, hostAddress, hostPort, containerPort }) satisfies PublishedPort;

const input = (carrier: CarrierInput['carrier'], ports: readonly PublishedPort[]): CarrierInput => ({
  carrier,
  keeper: '/k',
  lock: '/r/lock',
  socket: '/r/s',
  interface: 'eth0',
  ports,
});

/** Words of the program that is run from outside. */
function words(given: CarrierInput): string[] {
  const [outside] = carrierSteps(given);
  assert.ok(outside?.op === 'outside');
  const [run] = outside.list;
  assert.ok(run?.op === 'run');
  return run.args.map((arg) =>
    [arg]
      .flat()
      .map((part) => (typeof part === 'string' ? part : `{${part.hole}}`))
      .join(''),
  );
}

test('rootless network: ports as pasta takes them', () => {
  const ports = [
    port('0.0.0.0', 8080),
    port('::', 8080),
    port('127.0.0.1', 8081),
    port('0.0.0.0', 8082),
    port('::', 53, 53, 'udp'),
  ];
  assert.deepEqual(pastaPorts('-t', ports, 'tcp'), [
    '-t',
    '8080:80',
    '-t',
    '127.0.0.1/8081:80',
    '-t',
    '0.0.0.0/8082:80',
  ]);
  assert.deepEqual(pastaPorts('-u', ports, 'udp'), ['-u', '::/53:53']);
  assert.deepEqual(pastaPorts('-t', [], 'tcp'), ['-t', 'none']);
});

test('rootless network: the program has the namespaces of the process, and its end is waited for', () => {
  const pasta = words(input('pasta', [port('0.0.0.0', 8080)]));
  assert.deepEqual(pasta.slice(0, 5), ['/k', '{pid}', '/r/lock', '--', 'pasta']);
  assert.deepEqual(pasta.slice(-4), ['--userns', '/proc/{pid}/ns/user', '--netns', '/proc/{pid}/ns/net']);
  for (const flag of ['--no-map-gw', '--foreground']) assert.ok(pasta.includes(flag), flag);
  const [wait] = carrierCleanup(input('pasta', []));
  assert.deepEqual(wait?.op === 'run' && wait.args, ['/k', '--wait', '/r/lock']);
});

test('rootless network: slirp4netns is asked for each port', () => {
  const slirp = words(input('slirp4netns', [port('127.0.0.1', 8080)]));
  assert.deepEqual(slirp.slice(2, 6), [
    '/r/lock',
    '--ask',
    '/r/s',
    '{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":8080,"guest_addr":"10.0.2.100","guest_port":80}}',
  ]);
  assert.ok(slirp.includes('--disable-host-loopback'));
  assert.ok(!words(input('slirp4netns', [])).some((word) => word.includes('api-socket')));
});
