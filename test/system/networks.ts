/**
 * Networks for tests: the test's process has a network namespace of its own, in which tsbox is at home, and beside it there are other
 * hosts, each a namespace with a cable to it. Nothing leaves them. The machine's own network is not touched.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { CLONE } from '../../src/spec/linux.ts';
import { linkUp, unshare } from '../../src/sys/process.ts';
import { type Sandbox, sandbox, until } from './harness.ts';

const before = readlinkSync('/proc/self/ns/net');
let isOwn = false;

/** From here on the test file's process and all that it starts are in a network namespace of their own. */
function enterOwnNetwork(): void {
  if (isOwn) return;
  unshare(CLONE.CLONE_NEWNET);
  assert.notEqual(readlinkSync('/proc/self/ns/net'), before);
  linkUp('lo');
  isOwn = true;
}

/** Runs a command of the host. @returns what it printed @throws AssertionError unless it exits with 0 */
export function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** A shell script in tsbox's own namespace. */
export const shell = (script: string) => run('sh', '-c', script);

export interface Host {
  pid: number;
  /** In its network namespace. */
  run(...command: readonly string[]): string;
  /** The same, when it may fail. */
  try(...command: readonly string[]): { status: number | null; stdout: string; stderr: string };
  start(...command: readonly string[]): ChildProcess;
}

/** Another host, `second` at the other end of a cable whose own end is `first`; both with their prefix. */
export async function neighbour(context: TestContext, name: string, first: string, second: string): Promise<Host> {
  const child = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
  context.after(() => {
    // At once: with its namespace it would go when the kernel finds the time, and the next test's cable has the same name.
    spawnSync('ip', ['link', 'delete', `to-${name}`]);
    child.kill('SIGKILL');
  });
  const pid = child.pid!;
  const own = readlinkSync('/proc/self/ns/net');
  await until('another network namespace', () => readlinkSync(`/proc/${pid}/ns/net`) !== own);
  const inside = (command: readonly string[]) => ['--target', String(pid), '--net', '--', ...command];
  const host: Host = {
    pid,
    run: (...command) => run('nsenter', ...inside(command)),
    try: (...command) => {
      const { status, stdout, stderr } = spawnSync('nsenter', inside(command), { encoding: 'utf8', timeout: 20_000 });
      return { status, stdout, stderr };
    },
    start(...command) {
      const started = spawn('nsenter', inside(command), { stdio: 'ignore' });
      context.after(() => started.kill('SIGKILL'));
      return started;
    },
  };
  run('ip', 'link', 'add', `to-${name}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid));
  run('ip', 'address', 'add', first, 'dev', `to-${name}`);
  run('ip', 'link', 'set', `to-${name}`, 'up');
  host.run('ip', 'link', 'set', 'lo', 'up');
  host.run('ip', 'address', 'add', second, 'dev', 'eth0');
  host.run('ip', 'link', 'set', 'eth0', 'up');
  return host;
}

/** What listens on `port` and answers each who calls with his own address. */
export async function whoAmI(host: Host, port: number): Promise<void> {
  const script = `require('net').createServer((s) => s.on('error', () => {}).end(s.remoteAddress + '\\n')).listen(${port}, '::')`;
  host.start(process.execPath, '-e', script);
  await until('a server on another host', () => host.try('nc.openbsd', '-z', '127.0.0.1', String(port)).status === 0);
}

/** A sandbox that has the default network, in a network namespace of its own. */
export function networked(context: TestContext): Sandbox {
  enterOwnNetwork();
  const box = sandbox(context);
  box.env['TSBOX_BRIDGE'] = 'tsbox0';
  // Its bridges stay, and its rules when the test fails: the next test begins without. Cables go with the namespaces of the containers,
  // when the kernel finds the time.
  context.after(() => {
    for (const cable of cables()) spawnSync('ip', ['link', 'delete', cable]);
    for (const [, link] of run('ip', '-o', 'link', 'show', 'type', 'bridge').matchAll(/^\d+: ([^:@]+)/gm)) {
      run('ip', 'link', 'delete', link!);
    }
    run('nft', 'flush', 'ruleset');
  });
  return box;
}

/** Words of `run` for a container that answers whoever calls its tcp port 80 with `text`. */
export function serverWords(text: string): string[] {
  return ['nc', '-ll', '-p', '80', '-e', 'echo', text];
}

/** Waits until the servers of these containers, one each on tcp port 80, take calls: `run --detach` comes back when they have been started. */
export async function serve(box: Sandbox, ...names: readonly string[]): Promise<void> {
  for (const name of names) {
    const pid = box.ok(['inspect', '--format', '{{.State.Pid}}', name]);
    const sockets = () =>
      ['tcp', 'tcp6'].map((version) => readFileSync(`/proc/${pid}/net/${version}`, 'utf8')).join('');
    // 80, and TCP_LISTEN.
    await until(`the server of ${name}`, () => /:0050 [0-9A-F]+:0000 0A /.test(sockets()));
  }
}

const cables = (): string[] => run('ip', '-o', 'link', 'show', 'type', 'veth').match(/veth[0-9a-f]+/g) ?? [];

/** What the kernel still has of networks in the test's namespace: tables of rules, and cables. */
export function left(): string[] {
  const tables = run('nft', 'list', 'tables').split('\n').filter(Boolean);
  return [...tables, ...cables()];
}
