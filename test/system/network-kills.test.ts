/**
 * Whatever is killed at whatever moment while containers come and go in networks: what the next start leaves of addresses, ports, cables,
 * rules and resolvers belongs to containers that run, and after the last one there is nothing. TSBOX_KILLS says how many kills, TSBOX_SEED
 * repeats a run as far as time allows.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { openEngine } from '../../src/engine/open.ts';
import { portElement } from '../../src/plan/nft-table.ts';
import type { ContainerRecord } from '../../src/spec/container.ts';
import { listContainers } from '../../src/store/containers.ts';
import { leasedPort, leases } from '../../src/store/network-leases.ts';
import { readRunNetwork } from '../../src/store/network-run.ts';
import { containerState, readRun } from '../../src/store/state.ts';
import { readFollowed } from '../../src/store/successor.ts';
import { requires } from '../requires.ts';
import { PATIENCE, type Sandbox, TSBOX } from './harness.ts';
import { leftovers } from './leftovers.ts';
import { left, networked, run } from './networks.ts';
import { generator } from './store-random.ts';
import { kill, pause, truth } from './truth.ts';

const KILLS = Number(process.env['TSBOX_KILLS'] ?? 8);
const SEED = Number(process.env['TSBOX_SEED'] ?? Math.floor(Math.random() * 1e9));
/** As long as a start takes on a busy machine. */
const MOMENT_MS = 250;
/** Calls by which tsbox, the executor or the resolver change something, and about how often one of them makes each. */
const CALLS: readonly (readonly [name: string, most: number])[] = [
  ['sendto', 12],
  ['sendmsg', 40],
  ['symlink', 6],
  ['rename', 8],
  ['unlink', 6],
  ['mkdir', 8],
  ['flock', 10],
  ['openat', 80],
  ['write', 60],
  ['mount', 20],
  ['bind', 8],
  ['socket', 10],
  ['setns', 3],
  ['clone', 3],
  ['execve', 2],
  ['rmdir', 6],
];

const random = generator(SEED);
const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
const below = (most: number) => Math.floor(random() * most);

/** Processes whose command line has `text`: those of tsbox have the run root there, or are the program itself. */
function processesWith(text: string): { pid: number; words: string[] }[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words.some((word) => word.includes(text)) ? [{ pid: Number(name), words }] : [];
    } catch {
      return [];
    }
  });
}

/** Of containers, by id. */
function resolvers(box: Sandbox): { pid: number; id: string }[] {
  return processesWith(box.runRoot)
    .filter(({ words }) => words[0]?.endsWith('/tsbox-resolver'))
    .map(({ pid, words }) => ({ pid, id: words[words.indexOf('--id') + 1] ?? '' }));
}

/** Executors and monitors of this namespace. */
function executors(): number[] {
  const own = readlinkSync('/proc/self/ns/net');
  return processesWith('tsbox-executor')
    .map(({ pid }) => pid)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`) === own;
      } catch {
        return false;
      }
    });
}

/** Whom to kill beside the command. */
function someone(box: Sandbox): number | undefined {
  const { store } = openEngine(box);
  const of = ({ ID }: ContainerRecord) => [
    readRun(store, ID)?.Monitor,
    readRun(store, ID)?.Pid,
    readFollowed(store, ID)?.Pid,
  ];
  const known = listContainers(store).filter(({ Name }) => Name !== '/bystander');
  const bystander = listContainers(store).find(({ Name }) => Name === '/bystander');
  const spared = bystander === undefined ? [] : of(bystander);
  const groups = [
    known.flatMap(of),
    executors().filter((pid) => !spared.includes(pid)),
    resolvers(box)
      .filter(({ id }) => id !== bystander?.ID)
      .map(({ pid }) => pid),
  ];
  return pick(groups.map((group) => group.filter((pid) => pid !== undefined)).filter((group) => group.length > 0))?.at(
    below(3),
  );
}

/** What there is of networks and belongs to no container that runs; and what a container that runs has not. */
function strays(box: Sandbox): string[] {
  const { store } = openEngine(box);
  const known = listContainers(store).map((record) => ({ ...record, now: containerState(store, record) }));
  const running = known.filter(({ now }) => now.Running && !now.Restarting);
  // One that waits to be started again has kept what it had.
  const ids = new Set(known.filter(({ now }) => now.Running).map(({ ID }) => ID));
  const held = leases(store);
  const cables = new Set(left().filter((name) => name.startsWith('veth')));
  const found = held.filter(({ id }) => !ids.has(id)).map(({ name, id }) => `lease ${name} of ${id}`);
  for (const { ID, Name } of running) {
    const { endpoints, ports } = readRunNetwork(store, ID);
    for (const { port } of endpoints) if (!cables.delete(port)) found.push(`${Name} has no cable ${port}`);
    const own = held.filter(({ id }) => id === ID).map(({ name }) => name);
    const addresses = endpoints.flatMap(({ networkId, address = '', address6 }) =>
      [address, address6].filter((one) => one !== undefined).map((one) => `${networkId},${one.replace(/\/.*/, '')}`),
    );
    const published = ports.map(({ protocol, hostAddress, hostPort }) => `${protocol},${hostAddress},${hostPort}`);
    const all = [...addresses, ...published].sort().join(' ');
    if (own.sort().join(' ') !== all) found.push(`${Name} has leased ${own.join(' ')}, and has ${all}`);
  }
  for (const name of cables) found.push(`cable ${name}`);
  for (const { id, pid } of resolvers(box)) if (!ids.has(id)) found.push(`resolver ${pid} of ${id}`);
  return [...found, ...strayPorts(held.map(({ name }) => name))];
}

/** Elements for published ports in the table that nobody has leased. */
function strayPorts(held: readonly string[]): string[] {
  const keys = new Set(held.flatMap((name) => leasedPort(name) ?? []).map((port) => portElement(port).key));
  const rules = run('nft', 'list', 'ruleset');
  return [...rules.matchAll(/([\da-f.:]+ \. )?(tcp|udp) \. (\d+) : [\da-f.:]+ \. \d+/g)]
    .map(([, at = '', protocol, port]) => `${at}${protocol} . ${port}`)
    .filter((key) => !keys.has(key))
    .map((key) => `rule for ${key}`);
}

/** Processes need a moment to go, and the kernel to take a namespace away. */
async function noStrays(box: Sandbox, said: string): Promise<void> {
  let seen: string[] = [];
  for (const end = performance.now() + PATIENCE * 30_000; performance.now() < end; await pause(20)) {
    seen = strays(box);
    if (seen.length === 0) return;
  }
  assert.deepEqual(seen, [], said);
}

interface Attempt {
  /** For the report of a failure. */
  how: string;
  child: ChildProcess;
  ended: Promise<unknown>;
}

function start(box: Sandbox, command: readonly string[]): Attempt {
  const [program, ...args] = command;
  const child = spawn(program!, args, { env: box.env, cwd: '/', stdio: 'ignore' });
  const ended = new Promise((fulfil) => child.on('close', fulfil).on('error', fulfil));
  return { how: '', child, ended };
}

/** Runs the command and has it, or another process of tsbox, killed. */
async function attempt(box: Sandbox, args: readonly string[]): Promise<string> {
  const kind = random();
  if (kind < 0.4) {
    const [name, most] = pick(CALLS)!;
    const inject = `inject=${name}:signal=SIGKILL:when=${1 + below(most)}`;
    const strace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${name}`, '-e', inject];
    const { child, ended } = start(box, [...strace, TSBOX, ...args]);
    // strace follows the monitor too, for as long as that lives: it lets go when it is told to end.
    await Promise.race([ended, pause(1500)]);
    child.kill('SIGTERM');
    await Promise.race([ended, pause(1000)]);
    child.kill('SIGKILL');
    await ended;
    return inject;
  }
  const { child, ended } = start(box, [TSBOX, ...args]);
  const moment = random() * MOMENT_MS;
  await pause(moment);
  if (kind < 0.65) child.kill('SIGKILL');
  else {
    kill(someone(box));
    await Promise.race([ended, pause(400)]);
    child.kill('SIGKILL');
  }
  await ended;
  return `after ${moment.toFixed(0)} ms ${kind < 0.65 ? 'the command' : 'another'}`;
}

test(`network faults: ${KILLS} kills, TSBOX_SEED=${SEED}`, { timeout: 120_000 + KILLS * 8_000 }, async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:ip', 'command:nft', 'command:strace')) return;
  const box = networked(t);
  const image = box.image();
  await box.quick(['network', 'create', '--subnet', '172.30.1.0/24', 'left']);
  const makeRight = () => box.said(['network', 'create', '--subnet', '172.30.2.0/24', '--ipv6', 'right']);
  await makeRight();
  box.ok(['run', '-d', '--name', 'bystander', '--network', 'left', '-p', '9999:80', image, 'sleep', '1000']);
  const { store } = openEngine(box);
  const names = () =>
    listContainers(store)
      .map(({ Name }) => Name.slice(1))
      .filter((one) => one !== 'bystander');
  for (let round = 0; round < KILLS; round++) {
    const name = `c${round}`;
    const one = pick(names()) ?? 'none';
    const network = pick(['left', 'right', 'bridge'])!;
    const publish = pick([
      [],
      ['-p', '80'],
      ['-p', `${9000 + below(6)}:80`],
      ['-p', '127.0.0.1:9010:80/udp', '-p', '81'],
    ])!;
    const words = ['--network', network, ...publish, '--name', name, image, 'sleep', '1000'];
    const args = pick([
      ['run', '-d', ...words],
      ['run', '-d', ...words],
      ['run', '--rm', ...words],
      [
        'run',
        '-d',
        '--restart',
        'always',
        '--network',
        network,
        ...publish,
        '--name',
        name,
        image,
        'sh',
        '-c',
        'sleep 0.05',
      ],
      ['start', one],
      ['network', 'connect', network, one],
      ['network', 'disconnect', network, one],
      ['stop', '-t', '0', one],
      ['restart', '-t', '0', one],
      ['rm', '-f', one],
      ['network', 'prune', '-f'],
    ])!;
    const said = `round ${round}: ${args.join(' ')}: ${await attempt(box, args)}, TSBOX_SEED=${SEED}`;
    await truth(box, said);
    // One that was killed in the middle is mended by the same command; that it can be too late is no matter.
    if (args[0] === 'network') await box.said(args);
    if (args[1] === 'prune') await makeRight();
    box.ok(['run', '--rm', image, 'true']);
    await noStrays(box, said);
    const known = names();
    if (known.length > 6) await box.said(['rm', '-f', ...known.slice(0, 4)]);
  }
  assert.equal(await box.quick(['inspect', '-f', '{{.State.Status}}', 'bystander']), 'running', 'who is not harmed');
  const ids = (await box.quick(['ps', '-aq', '--no-trunc'])).split('\n');
  const removed = await box.said(['rm', '-f', ...ids]);
  assert.deepEqual([removed.status, removed.stderr], [0, ''], `TSBOX_SEED=${SEED}`);
  for (let tries = 0; left().length > 0 && tries < 1000; tries++) await pause(20);
  assert.deepEqual(left(), [], `TSBOX_SEED=${SEED}`);
  assert.deepEqual(await leftovers(box.directory), [], `TSBOX_SEED=${SEED}`);
  for (let tries = 0; processesWith(box.directory).length > 0 && tries < 1000; tries++) await pause(20);
  assert.deepEqual(processesWith(box.directory), [], `TSBOX_SEED=${SEED}`);
  assert.ok(!existsSync(join(box.runRoot, 'leases')), `TSBOX_SEED=${SEED}`);
  await box.quick(['network', 'prune', '-f']);
  assert.equal(await box.quick(['network', 'ls', '--format', '{{.Name}}']), 'bridge\nhost\nnone');
});

/** Calls by which tsbox itself changes files, links and rules. */
const CHANGES = [
  'sendto',
  'sendmsg',
  'symlink',
  'rename',
  'unlink',
  'write',
  'setns',
  'flock',
  'clone',
  'clone3',
  'vfork',
];

type Call = readonly [name: string, number: number];

/** Those of the main thread of a command that changes something of networks or of the container. */
async function callsOf(box: Sandbox, args: readonly string[]): Promise<Call[]> {
  const log = join(box.directory, 'calls');
  const words = ['strace', '-f', '-yy', '--seccomp-bpf', '-qq', '-o', log, '-e', `trace=${CHANGES}`, TSBOX, ...args];
  const { child, ended } = start(box, words);
  await ended;
  assert.equal(child.exitCode, 0, args.join(' '));
  const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
  const main = lines[0]!.slice(0, lines[0]!.indexOf(' '));
  const counts = new Map<string, number>();
  return lines.flatMap((line): Call[] => {
    const name = new RegExp(`^${main} +(\\w+)\\(`).exec(line)?.[1];
    if (name === undefined) return [];
    const number = (counts.get(name) ?? 0) + 1;
    counts.set(name, number);
    const counted = line.includes(box.directory) || line.includes('NETLINK') || !['write', 'sendto'].includes(name);
    return counted ? [[name, number]] : [];
  });
}

async function killAt(box: Sandbox, args: readonly string[], [name, number]: Call): Promise<void> {
  const inject = ['-e', `trace=${name}`, '-e', `inject=${name}:signal=SIGKILL:when=${number}`];
  const { child, ended } = start(box, ['strace', '-f', '-qq', '-o', '/dev/null', ...inject, TSBOX, ...args]);
  await ended;
  assert.ok(child.signalCode === 'SIGKILL' || child.exitCode === 0, `${name} ${number}: ${child.exitCode}`);
}

test(`network faults: connect and disconnect are killed at a system call, TSBOX_SEED=${SEED}`, {
  timeout: 120_000 + KILLS * 8_000,
}, async (t) => {
  if (!requires(t, 'root', 'overlay', 'command:ip', 'command:nft', 'command:strace')) return;
  const box = networked(t);
  const image = box.image();
  await box.quick(['network', 'create', '--subnet', '172.30.1.0/24', 'left']);
  await box.quick(['network', 'create', '--subnet', '172.30.2.0/24', '--ipv6', 'right']);
  box.ok(['run', '-d', '--name', 'one', '--network', 'left', '-p', '9999:80', image, 'sleep', '1000']);
  const pid = await box.quick(['inspect', '-f', '{{.State.Pid}}', 'one']);
  const inside = () =>
    run('nsenter', '-t', pid, '-n', 'ip', '-o', 'address', 'show', 'scope', 'global').match(/eth\d+ +inet [\d.]+/g);
  const both = ['eth0    inet 172.30.1.2', 'eth1    inet 172.30.2.2'];
  const [connect, disconnect] = [
    ['network', 'connect', '--alias', 'uno', 'right', 'one'],
    ['network', 'disconnect', 'right', 'one'],
  ];
  const calls = { connect: await callsOf(box, connect), disconnect: await callsOf(box, disconnect) };
  const all = Math.max(calls.connect.length, calls.disconnect.length);
  for (let round = 0; round < Math.min(all, Math.ceil(KILLS / 4)); round++) {
    const next = (list: readonly Call[]) => (KILLS / 4 >= all ? list[round % list.length]! : pick(list)!);
    for (const [args, call, missing, expected] of [
      [connect, next(calls.connect), /already exists in network/, both],
      [disconnect, next(calls.disconnect), /is not connected to network/, both.slice(0, 1)],
    ] as const) {
      const said = `${args[1]} killed at ${call.join(' ')}`;
      await killAt(box, args, call);
      const again = await box.said(args);
      assert.ok(again.status === 0 || missing.test(again.stderr), `${said}: ${again.stderr}`);
      assert.deepEqual(inside(), expected, said);
      await noStrays(box, said);
      assert.equal(
        await box.quick(['inspect', '-f', '{{len .NetworkSettings.Networks}}', 'one']),
        `${expected.length}`,
        said,
      );
    }
  }
  t.diagnostic(`${calls.connect.length} calls of connect, ${calls.disconnect.length} of disconnect`);
});
