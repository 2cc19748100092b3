/** The hosts of a measurement of networks: tsbox in the network namespace of the benchmark, docker in one of its own, each with a client. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, REPOSITORY, startNetworkedDocker, startTsbox } from './engines.ts';
import { run } from './measure.ts';

export const IMAGE = 'busybox:offline';
const ROOTFS = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

/** An engine whose containers have networks, and another host that reaches it by a cable. */
export interface Host {
  readonly engine: Engine;
  /** In the network namespace of the other host. */
  readonly client: Inside;
  /** The engine's host as that one calls it. */
  readonly address: string;
  close(): Promise<void>;
}

/** What a command has to begin with to be run in a network namespace. */
export type Inside = readonly ['nsenter', ...string[]];

/** @param pid of a process there */
export const inside = (pid: number): Inside => ['nsenter', '--target', String(pid), '--net', '--'];

/** The engine's own command line. @returns what it prints */
export function say({ program, env }: Engine, ...args: string[]): string {
  return run({ argv: [...program, ...args], env }).stdout.trim();
}

async function otherHost(): Promise<ChildProcess> {
  const child = spawn('unshare', ['--net', 'sleep', '1000000'], { stdio: 'ignore' });
  const own = readlinkSync('/proc/self/ns/net');
  while (readlinkSync(`/proc/${child.pid}/ns/net`) === own) await sleep(5);
  return child;
}

/** @param pid of a process in the network namespace of the engine's host @param number of the cable's subnet */
async function withClient(engine: Engine, pid: number, number: number): Promise<Host> {
  const child = await otherHost();
  const [here, there] = [inside(pid), inside(child.pid!)];
  const address = `10.${number}.0.1`;
  const commands: [string, ...string[]][] = [
    [...here, 'ip', 'link', 'add', 'client', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(child.pid)],
    [...here, 'ip', 'address', 'add', `${address}/24`, 'dev', 'client'],
    [...here, 'ip', 'link', 'set', 'client', 'up'],
    [...there, 'ip', 'address', 'add', `10.${number}.0.2/24`, 'dev', 'eth0'],
    [...there, 'ip', 'link', 'set', 'eth0', 'up'],
  ];
  for (const argv of commands) run({ argv });
  run({ argv: [...engine.program, 'import', ROOTFS, IMAGE], env: engine.env });
  const close = async () => {
    const left = say(engine, 'ps', '--all', '--quiet').split('\n').filter(Boolean);
    if (left.length > 0) say(engine, 'rm', '--force', ...left);
    child.kill('SIGKILL');
    await engine.close();
  };
  return { engine, client: there, address, close };
}

/** In the namespace of the benchmark itself. */
export async function tsboxHost(work: string): Promise<Host | string> {
  const engine = await startTsbox(work);
  if (typeof engine === 'string') return engine;
  spawnSync('ip', ['link', 'set', 'lo', 'up']);
  return withClient({ ...engine, env: { ...engine.env, TSBOX_BRIDGE: 'tsbox0' } }, process.pid, 8);
}

export async function dockerHost(work: string): Promise<Host | string> {
  const engine = await startNetworkedDocker(work);
  return typeof engine === 'string' ? engine : withClient(engine, engine.daemons[0]!, 9);
}
