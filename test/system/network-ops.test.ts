/** What network operations do that is seen from outside of their list; and what src/sys tells about networks. In a namespace of its own. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { SyscallError } from '../../src/errors.ts';
import type { Step } from '../../src/plan/step.ts';
import { interpret } from '../../src/runtime/interpret.ts';
import { errnoNumber } from '../../src/spec/errno.ts';
import { lock } from '../../src/sys/lock.ts';
import {
  addAddress,
  addLink,
  addRoute,
  addressesOf,
  linkInfo,
  routes,
  setMaster,
  wayOut,
} from '../../src/sys/netlink.ts';
import { changeRules, tableExists } from '../../src/sys/nftables.ts';
import { linkUp, unshare } from '../../src/sys/process.ts';
import { EXECUTOR, finish, launch, piped, run, shell, spawning } from '../executor.ts';
import { requires } from '../requires.ts';

const why = 'for a test';
const CLONE_NEWNET = 0x40000000;
const needs = [`file:${EXECUTOR}`, 'root', 'command:nft'] as const;

// Everything here, and what it starts, is in a network of its own.
before(() => {
  if (process.getuid?.() !== 0) return;
  unshare(CLONE_NEWNET);
  linkUp('lo');
});

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-network-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const link = { type: 'veth', peer: '', netns: '', mac: '', mtu: 0 };

test('network: links, addresses and routes are told as they are', (t) => {
  if (!requires(t, 'root')) return;
  assert.equal(linkInfo('no-such'), undefined);
  addLink({ ...link, name: 'br0', type: 'bridge', mac: '02:42:00:00:00:01' });
  addLink({ ...link, name: 'port0', peer: 'eth0', mac: '02:42:ac:11:00:02', mtu: 1400 });
  setMaster('port0', 'br0');
  for (const name of ['br0', 'port0', 'eth0']) linkUp(name);
  const [bridge, port, eth0] = ['br0', 'port0', 'eth0'].map(linkInfo);
  assert.deepEqual([bridge?.kind, bridge?.mac, bridge?.up], ['bridge', '02:42:00:00:00:01', true]);
  assert.deepEqual([port?.kind, port?.master, port?.mtu], ['veth', bridge?.index, 1400]);
  assert.deepEqual([eth0?.mac, eth0?.master, eth0?.mtu], ['02:42:ac:11:00:02', undefined, 1400]);
  addAddress('eth0', '172.17.0.2/16');
  addAddress('eth0', 'fd00:1::2/64');
  const addresses = addressesOf(linkInfo('eth0')!).filter((address) => !address.startsWith('fe80'));
  assert.deepEqual(addresses, ['172.17.0.2/16', 'fd00:1::2/64']);
  addRoute('default', '172.17.0.1', 'eth0');
  addRoute('default', 'fd00:1::1', 'eth0');
  assert.equal(wayOut(), 'eth0');
  const found = routes()
    .filter(({ to, device }) => device === 'eth0' && !to.startsWith('fe80'))
    .map(({ version, to, via }) => [version, to, via]);
  assert.deepEqual(found, [
    [4, '0.0.0.0/0', '172.17.0.1'],
    [4, '172.17.0.0/16', undefined],
    [6, 'fd00:1::/64', undefined],
    [6, '::/0', 'fd00:1::1'],
  ]);
});

test('network: a refusal has the words of the kernel, or of nft', async (t) => {
  if (!requires(t, ...needs)) return;
  const step: Step = { op: 'link_add', ...link, name: 'x', type: 'nosuch', why };
  assert.throws(() => interpret([step]), /add the link x: Unknown device type: EOPNOTSUPP/);
  const [failed] = (await finish(launch({ monitor: [step] }))).failed;
  assert.deepEqual([failed?.errno, failed?.detail], [errnoNumber('EOPNOTSUPP'), 'Unknown device type']);
  const rule: Step = { op: 'nft', commands: 'add rule inet nowhere no accept', why };
  assert.throws(() => interpret([rule]), /Could not process rule: No such file or directory: ENOENT/);
  const [said] = (await finish(launch({ monitor: [rule] }))).failed;
  assert.deepEqual(
    [said?.errno, said?.detail],
    [errnoNumber('ENOENT'), 'Error: Could not process rule: No such file or directory'],
  );
});

test('network: a table is there from its making to its end', (t) => {
  if (!requires(t, ...needs)) return;
  assert.equal(tableExists('tsbox'), false);
  changeRules('add table inet tsbox');
  assert.equal(tableExists('tsbox'), true);
  assert.equal(tableExists('tsbo'), false);
  interpret([{ op: 'nft_delete', table: 'tsbox', set: '', key: new Uint8Array(), why }]);
  assert.equal(tableExists('tsbox'), false);
});

/** Runs one step in one of the two interpreters. @returns the errno of its refusal, 0 without one */
const INTERPRETERS: Readonly<Record<string, (step: Step) => Promise<number>>> = {
  typescript: async (step) => {
    try {
      interpret([step]);
      return 0;
    } catch (error) {
      if (error instanceof SyscallError) return error.errno;
      throw error;
    }
  },
  executor: async (step) => {
    const { failed } = await finish(launch({ cleanup: [step] }));
    return failed.at(-1)?.errno ?? 0;
  },
};

for (const [name, runs] of Object.entries(INTERPRETERS)) {
  test(`network: last does its list for the last one only (${name})`, async (t) => {
    if (!requires(t, ...needs)) return;
    const directory = temporary(t);
    const at = (file: string) => join(directory, file);
    const mark: Step = { op: 'write', path: at('mark'), data: 'x', flags: ['O_CREAT'], mode: 0o644, why };
    const last = (...list: Step[]): Step => ({ op: 'last', lock: at('lock'), directory: at('leases'), list, why });
    assert.equal(await runs(last(mark)), 0, 'without the directory there is nothing to do');
    assert.ok(existsSync(at('lock')) && !existsSync(at('mark')));
    mkdirSync(at('leases'));
    mkdirSync(at('alive'));
    symlinkSync('../alive', at('leases/one'));
    symlinkSync('../dead', at('leases/two'));
    assert.equal(await runs(last(mark)), 0);
    assert.deepEqual([readdirSync(at('leases')), existsSync(at('mark'))], [['one'], false]);
    rmSync(at('alive'), { recursive: true });
    const failing: Step = { op: 'rmdir', path: at('no-such'), why };
    assert.equal(await runs(last(mark, failing, { ...mark, path: at('after') } as Step)), errnoNumber('ENOENT'));
    assert.deepEqual(['leases', 'mark', 'after'].map(at).map(existsSync), [false, true, false]);
    // A file is nobody's lease, and stays.
    mkdirSync(at('leases'));
    writeFileSync(at('leases/file'), '');
    assert.equal(await runs(last(failing)), 0);
    lock(at('lock')).release();
  });
}

for (const [name, runs] of Object.entries(INTERPRETERS)) {
  test(`together: a list up to its first error, whatever list it is in (${name})`, async (t) => {
    if (!requires(t, ...needs)) return;
    const directory = temporary(t);
    const make = (file: string): Step => ({ op: 'mkdir', path: join(directory, file), mode: 0o755, why });
    const together = (...list: Step[]): Step => ({ op: 'together', list, why });
    assert.equal(await runs(together(make('a'), make('b'))), 0);
    assert.equal(await runs(together(make('c'), make('no/such'), make('d'))), errnoNumber('ENOENT'));
    assert.deepEqual(readdirSync(directory).sort(), ['a', 'b', 'c']);
  });
}

test('network: last tells which of its steps failed, and waits for the lock', async (t) => {
  if (!requires(t, ...needs)) return;
  const directory = temporary(t);
  const at = (file: string) => join(directory, file);
  mkdirSync(at('leases'));
  writeFileSync(at('lock'), '');
  const held = lock(at('lock'));
  const list: Step[] = [
    { op: 'mkdir', path: at('one'), mode: 0o755, why },
    { op: 'rmdir', path: at('no-such'), why },
  ];
  const after: Step = { op: 'mkdir', path: at('after'), mode: 0o755, why };
  const launched = launch({ cleanup: [{ op: 'last', lock: at('lock'), directory: at('leases'), list, why }, after] });
  for (const end = Date.now() + 30_000; !waits(launched.child.pid) && Date.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(existsSync(at('leases')) && !existsSync(at('one')), 'it waits');
  held.release();
  const { failed } = await finish(launched);
  const ENOENT = errnoNumber('ENOENT');
  assert.deepEqual(
    failed.map(({ list: number, index, errno, nested }) => [number, index, errno, nested]),
    [
      [2, 1, ENOENT, false],
      [1, 0, ENOENT, true],
    ],
  );
  assert.ok(existsSync(at('one')) && existsSync(at('after')), 'the cleanup list goes on');
});

/** Does this process wait for a lock? */
function waits(pid: number | undefined): boolean {
  return new RegExp(`-> FLOCK .* ${pid} `).test(readFileSync('/proc/locks', 'utf8'));
}

/** Whether a port can be had now. */
async function free(address: string, port: number): Promise<boolean> {
  const server = createServer();
  const bound = new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ host: address, port, ipv6Only: address === '::' }, () => resolve(true));
  });
  const is = await bound;
  if (is) await new Promise((resolve) => server.close(resolve));
  return is;
}

const bind = (protocol: string, address: string, port: number): Step => ({
  op: 'bind_port',
  protocol,
  address,
  port,
  why,
});

test("network: a port that is bound is nobody else's until the cleanup is through", async (t) => {
  if (!requires(t, ...needs)) return;
  const directory = temporary(t);
  const fds = 'ls -l /proc/self/fd | grep -c socket:; echo ready; read -r line';
  const launched = launch({
    monitor: [
      bind('tcp', '0.0.0.0', 8080),
      bind('tcp', '::', 8080),
      bind('udp', '127.0.0.1', 5353),
      piped('STDIN_OPEN'),
      spawning(shell(fds)),
    ],
    cleanup: [{ op: 'mkdir', path: join(directory, 'cleaned'), mode: 0o755, why }],
  });
  await launched.until(({ stdout }) => Buffer.concat(stdout).includes('ready'));
  assert.deepEqual(
    [await free('0.0.0.0', 8080), await free('127.0.0.1', 8080), await free('::', 8080)],
    [false, false, false],
  );
  assert.equal(await free('0.0.0.0', 8081), true);
  const refused = connect(8080, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED', 'nobody answers there');
  const datagram = createSocket('udp4');
  datagram.bind(5353, '127.0.0.1');
  assert.equal(((await once(datagram, 'error')) as [NodeJS.ErrnoException])[0].code, 'EADDRINUSE');
  const second = await finish(launch({ monitor: [bind('tcp', '127.0.0.1', 8080)] }));
  assert.deepEqual([second.failed[0]?.errno, second.code], [errnoNumber('EADDRINUSE'), 125]);
  launched.send('stdin', Buffer.from('\n'));
  await launched.until(({ exit }) => exit !== undefined);
  assert.equal(await free('0.0.0.0', 8080), true, 'free as soon as the end is told');
  const result = await finish(launched);
  assert.equal(result.stdout, '0\nready\n', 'the container has none of the sockets');
  assert.deepEqual([result.code, result.failed], [0, []]);
});

test('network: bind_port takes no other protocols, and a port whose last connections wait for their end', async (t) => {
  if (!requires(t, ...needs)) return;
  const errno = async (step: Step) => (await finish(launch({ monitor: [step] }))).failed[0]?.errno;
  assert.equal(await errno(bind('sctp', '0.0.0.0', 80)), errnoNumber('EPROTONOSUPPORT'));
  assert.equal(await errno(bind('tcp', '0.0.0.0', 0)), errnoNumber('EINVAL'));
  assert.equal(await errno(bind('tcp', '0.0.0', 80)), errnoNumber('EINVAL'));
  assert.equal(await errno(bind('tcp', '192.0.2.1', 80)), errnoNumber('EADDRNOTAVAIL'));
  // The side that closes first waits.
  const server = createServer((socket) => socket.end()).listen(8090, '127.0.0.1');
  await once(server, 'listening');
  const client = connect(8090, '127.0.0.1');
  client.resume();
  await once(client, 'close');
  await new Promise((resolve) => server.close(resolve));
  const result = await finish(run([shell('true')], { before: [bind('tcp', '127.0.0.1', 8090)] }));
  assert.deepEqual([result.code, result.failed], [0, []]);
});
