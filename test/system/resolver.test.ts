/**
 * tsbox-resolver by itself: a namespace stands for the host, one within it for the container, and files for what others have in their
 * networks. Servers of outside are the test's own.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CLONE } from '../../src/spec/linux.ts';
import type { Endpoint } from '../../src/spec/network.ts';
import { builtFile } from '../../src/sys/built-file.ts';
import { unshare } from '../../src/sys/process.ts';
import { requires } from '../requires.ts';
import { PATIENCE } from './harness.ts';
import { type NameServer, nameServer, type Says } from './name-server.ts';

const run = promisify(execFile);
const OWN = 'a0'.repeat(32);

interface Place {
  runRoot: string;
  container: ChildProcess;
  /** What one container has; undefined: it is gone. */
  write(id: string, endpoints: Partial<Endpoint>[] | undefined): void;
  /** Starts it. @returns its process number */
  resolver(...args: string[]): Promise<number>;
  dig(...args: string[]): Promise<string>;
}

let entered = false;

/** The test's process goes into a network namespace of its own, once. */
function ownNetwork(): void {
  if (entered) return;
  unshare(CLONE.CLONE_NEWNET);
  assert.equal(spawnSync('ip', ['link', 'set', 'lo', 'up']).status, 0);
  entered = true;
}

function endpoint(names: string[], address: string, more: Partial<Endpoint> = {}): Partial<Endpoint> {
  return { networkId: 'b1'.repeat(32), network: 'mine', interface: 'eth0', names, address, ...more };
}

async function childOf(runRoot: string): Promise<number> {
  for (let tries = 0; tries < 1000 * PATIENCE; tries++) {
    const { stdout } = spawnSync('pgrep', ['-f', `^\\S*tsbox-resolver .*--run-root ${runRoot} `], { encoding: 'utf8' });
    if (/^\d+\n$/.test(stdout)) return Number(stdout);
    await sleep(20);
  }
  throw new Error('no resolver');
}

async function place(context: TestContext): Promise<Place | undefined> {
  if (!requires(context, 'root', 'command:dig', 'command:ip', 'command:unshare', 'command:ps')) return undefined;
  ownNetwork();
  const runRoot = mkdtempSync(join(tmpdir(), 'tsb-names-'));
  const container = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(container.stdout!, 'data');
  context.after(() => {
    container.kill('SIGKILL');
    rmSync(runRoot, { recursive: true, force: true });
  });
  return {
    runRoot,
    container,
    write(id, endpoints) {
      const directory = join(runRoot, id);
      if (endpoints === undefined) {
        rmSync(directory, { recursive: true });
        return;
      }
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, 'network.json.new'), JSON.stringify({ endpoints, ports: [] }));
      renameSync(join(directory, 'network.json.new'), join(directory, 'network.json'));
    },
    async resolver(...args) {
      const words = ['--pid', String(container.pid), '--run-root', runRoot, '--id', OWN, ...args];
      const { status, stderr } = spawnSync(builtFile('tsbox-resolver')!, words, { encoding: 'utf8', timeout: 30_000 });
      assert.equal(status, 0, stderr);
      return childOf(runRoot);
    },
    async dig(...args) {
      const words = ['-t', String(container.pid), '-n', 'dig', '@127.0.0.11', '+tries=1', '+timeout=20', ...args];
      return (await run('nsenter', words)).stdout.trim();
    },
  };
}

async function server(context: TestContext, address: string, says: Says): Promise<NameServer> {
  const made = await nameServer(address, says);
  context.after(() => made.close());
  return made;
}

const sorted = (text: string) => text.split('\n').sort();

test('resolver: names, aliases, other networks, addresses and what is not there', async (context) => {
  const at = await place(context);
  if (at === undefined) return;
  const six = { address6: 'fd00::3/64' };
  at.write(OWN, [endpoint(['me', 'a0a0a0a0a0a0'], '172.18.0.2/16', { links: ['web:www', `${'c3'.repeat(32)}:byid`] })]);
  at.write('c3'.repeat(32), [endpoint(['web', 'c3c3c3c3c3c3', 'all'], '172.18.0.3/16', six)]);
  at.write('d4'.repeat(32), [endpoint(['db', 'd4d4d4d4d4d4', 'all', 'escapé"d'], '172.18.0.4/16')]);
  at.write('e5'.repeat(32), [
    endpoint(['far', 'all'], '172.19.0.9/16', { networkId: 'f1'.repeat(32), network: 'other' }),
  ]);
  await at.resolver('--no-forward');
  const short = (...args: string[]) => at.dig('+short', ...args);
  assert.equal(await short('web'), '172.18.0.3');
  assert.equal(await short('me'), '172.18.0.2');
  assert.equal(await short('a0a0a0a0a0a0'), '172.18.0.2');
  assert.equal(await short('db.mine'), '172.18.0.4');
  assert.equal(await short('www'), '172.18.0.3');
  assert.equal(await short('byid'), '172.18.0.3');
  assert.equal(await short('web', 'AAAA'), 'fd00::3');
  assert.equal(await short('-x', '172.18.0.4'), 'db.mine.');
  assert.equal(await short('-x', 'fd00::3'), 'web.mine.');
  assert.deepEqual(sorted(await short('all')), ['172.18.0.3', '172.18.0.4']);
  assert.deepEqual(sorted(await short('+tcp', 'ALL.')), ['172.18.0.3', '172.18.0.4']);
  const firsts = await Promise.all([1, 2, 3, 4].map(() => short('all')));
  assert.equal(new Set(firsts).size, 2, 'each is the first in turn');
  const whole = await at.dig('wEb');
  assert.match(whole, /status: NOERROR/);
  assert.match(whole, /^wEb\.\s+600\s+IN\s+A\s+172\.18\.0\.3$/m, 'the case of what was asked is kept');
  const nothing = /status: NOERROR[\s\S]*ANSWER: 0,/;
  assert.match(await at.dig('db', 'AAAA'), nothing);
  assert.match(await at.dig('db', 'MX'), nothing);
  for (const name of ['far', 'nobody', 'example.com']) assert.match(await at.dig(name), /status: SERVFAIL/);
  assert.match(await at.dig('-x', '172.19.0.9'), /status: SERVFAIL/);
});

test('resolver: what is written counts at once', async (context) => {
  const at = await place(context);
  if (at === undefined) return;
  const other = 'c3'.repeat(32);
  at.write(OWN, [endpoint(['me'], '172.18.0.2/16')]);
  await at.resolver('--no-forward');
  for (let round = 3; round < 9; round++) {
    at.write(other, [endpoint(['web'], `172.18.0.${round}/16`)]);
    assert.equal(await at.dig('+short', 'web'), `172.18.0.${round}`);
  }
  at.write(other, undefined);
  assert.match(await at.dig('web'), /status: SERVFAIL/);
  at.write(other, [endpoint(['web'], '172.19.0.3/16', { networkId: 'f1'.repeat(32), network: 'other' })]);
  assert.match(await at.dig('web'), /status: SERVFAIL/);
  at.write(OWN, [endpoint(['me'], '172.19.0.2/16', { networkId: 'f1'.repeat(32), network: 'other' })]);
  assert.equal(await at.dig('+short', 'web'), '172.19.0.3');
  const many = Array.from({ length: 200 }, (_, index) =>
    endpoint(['all'], `172.19.1.${index}/16`, { networkId: 'f1'.repeat(32) }),
  );
  at.write(other, many);
  const cut = await at.dig('+noedns', '+ignore', 'all');
  assert.match(cut, /flags: [a-z ]*\btc\b/);
  assert.equal((await at.dig('+short', '+noedns', 'all')).split('\n').length, 200, 'then over TCP');
});

test('resolver: everything else is asked from the host’s network, of one after the other', async (context) => {
  const at = await place(context);
  if (at === undefined) return;
  const big = Array.from({ length: 100 }, (_, index) => `10.9.0.${index}`);
  await server(context, '127.0.0.61', (name) => (name === 'slow.example' ? undefined : 2));
  const last = await server(context, '127.0.0.62', (name) =>
    name === 'big.example' ? big : name === 'no.example' ? 3 : name === 'silent.example' ? undefined : ['10.9.8.7'],
  );
  at.write(OWN, [endpoint(['me'], '172.18.0.2/16')]);
  // Nobody listens at the first, the second refuses all but one name, which it says nothing to.
  await at.resolver('--upstream', '127.0.0.60,127.0.0.61,127.0.0.62');
  for (const over of ['+notcp', '+tcp']) {
    assert.equal(await at.dig('+short', over, 'Out.Example'), '10.9.8.7', over);
    assert.match(await at.dig(over, 'no.example'), /status: NXDOMAIN/);
    assert.equal(await at.dig('+short', over, 'me'), '172.18.0.2');
    assert.equal((await at.dig('+short', over, 'big.example')).split('\n').length, 100, over);
  }
  assert.ok(last.asked.includes('udp Out.Example 1') && last.asked.includes('tcp Out.Example 1'), last.asked.join());
  assert.ok(!last.asked.some((line) => line.includes(' me ')), last.asked.join());
  const [slow, silent] = await Promise.all([at.dig('+short', 'slow.example'), at.dig('silent.example')]);
  assert.equal(slow, '10.9.8.7', 'after two seconds the next one');
  assert.match(silent, /status: SERVFAIL/);
});

test('resolver: a flood, nonsense and clients that stay neither stop it nor make it grow; it ends with the container', async (context) => {
  const at = await place(context);
  if (at === undefined) return;
  await server(context, '127.0.0.62', (name) => (name.startsWith('lost') ? undefined : ['10.9.8.7']));
  at.write(OWN, [endpoint(['me'], '172.18.0.2/16')]);
  const pid = await at.resolver('--upstream', '127.0.0.62');
  assert.equal(await at.dig('+short', 'out.example'), '10.9.8.7');
  const capabilities = /^Cap(?:Prm|Eff):\s+0+$/gm;
  assert.equal(readFileSync(`/proc/${pid}/status`, 'utf8').match(capabilities)?.length, 2);
  const flood = `
    const [{ createSocket }, { connect }] = [require('node:dgram'), require('node:net')];
    const query = (index) => Buffer.concat([Buffer.from([index >> 8, index & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9]), Buffer.from('lost' + String(index).padStart(5, '0')), Buffer.from([0, 0, 1, 0, 1])]);
    for (let index = 0; index < 40; index++) connect(53, '127.0.0.11').on('error', () => {});
    const socket = createSocket('udp4');
    let seed = 7;
    const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648);
    for (let index = 0; index < 3000; index++) {
      socket.send(query(index), 53, '127.0.0.11');
      socket.send(Buffer.from(Array.from({ length: random() % 64 }, () => random() >> 8 & 255)), 53, '127.0.0.11');
    }
    setTimeout(() => process.exit(0), 1500);`;
  await run('nsenter', ['-t', String(at.container.pid), '-n', process.execPath, '-e', flood]);
  assert.equal(await at.dig('+short', 'me'), '172.18.0.2');
  assert.equal(await at.dig('+short', '+tcp', 'me'), '172.18.0.2');
  let given = '';
  for (const end = Date.now() + 30_000 * PATIENCE; given === '' && Date.now() < end; await sleep(100)) {
    given = await at.dig('+short', 'out.example');
  }
  assert.equal(given, '10.9.8.7', 'when the servers have been given up');
  const kilobytes = Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
  context.diagnostic(`after the flood: ${kilobytes} KB`);
  assert.ok(kilobytes < 1024, `${kilobytes} KB`);
  at.container.kill('SIGKILL');
  await once(at.container, 'exit');
  const isGone = () => spawnSync('kill', ['-0', String(pid)]).status !== 0;
  for (let tries = 0; tries < 1000 * PATIENCE && !isGone(); tries++) await sleep(20);
  assert.ok(isGone());
});
