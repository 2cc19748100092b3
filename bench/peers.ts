/**
 * Who is measured: tsbox and what it is compared with. Each gets its own store in the work directory and the same root file system,
 * and nothing of what is installed here is changed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, run } from './measure.ts';

export interface Peer {
  readonly name: string;
  readonly version: string;
  /** Start to exit of `true`. */
  readonly command: Command;
  /** Processes that work for it besides what the command starts. */
  readonly daemons: readonly number[];
  close(): Promise<void>;
}

/** Prepares a peer in a directory of its own. @returns a sentence instead when it cannot take part */
export type Prepare = (work: string) => Promise<Peer | string>;

export const REPOSITORY = resolve(import.meta.dirname, '..');
const ROOTFS = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');
const IMAGE = 'busybox:offline';
const RUN_TRUE = ['run', '--rm', '--network', 'none', IMAGE, 'true'] as const;

/** Where a command is; Debian's /usr/sbin is not in everybody's PATH. */
function which(name: string): string | undefined {
  const path = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  return path
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find(existsSync);
}

const firstLine = (text: string) => text.split('\n')[0]!.trim();
const nothing = async () => {};

export const tsbox: Prepare = async (work) => {
  const program = join(REPOSITORY, 'bin/tsbox');
  if (!existsSync(program)) return 'bin/tsbox is missing: make build';
  const env = { ...process.env, TSBOX_ROOT: join(work, 'data'), TSBOX_RUN_ROOT: join(work, 'run') };
  run({ argv: [program, 'import', ROOTFS, IMAGE], env });
  const version = firstLine(run({ argv: [program, '--version'], env }).stdout).replace('tsbox version ', '');
  return { name: 'tsbox', version, command: { argv: [program, ...RUN_TRUE], env }, daemons: [], close: nothing };
};

/** Cgroups that docker and podman make for themselves and leave behind. They are only removed when nobody is in them. */
const DOCKER_PARENT = 'tsbox-bench';
const PODMAN_PARENT = 'libpod_parent';

async function startDockerd(dockerd: string, work: string): Promise<ChildProcess> {
  const at = (name: string) => join(work, name);
  mkdirSync(work, { recursive: true });
  writeFileSync(at('daemon.json'), '{}');
  const daemon = spawn(
    dockerd,
    [
      ...['--config-file', at('daemon.json'), '--data-root', at('data'), '--exec-root', at('exec')],
      ...['--pidfile', at('pid'), '--host', `unix://${at('socket')}`, '--cgroup-parent', DOCKER_PARENT],
      ...['--bridge=none', '--iptables=false', '--ip6tables=false'],
    ],
    { stdio: 'ignore', env: { ...process.env, PATH: `${process.env['PATH']}${delimiter}/usr/sbin${delimiter}/sbin` } },
  );
  for (let tries = 0; tries < 300 && daemon.exitCode === null; tries++) {
    if (spawnSync('docker', ['--host', `unix://${at('socket')}`, 'ps']).status === 0) return daemon;
    await sleep(100);
  }
  daemon.kill();
  throw new Error('dockerd does not answer');
}

/** The daemon and, as its child, its containerd. */
function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    return readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8');
  });
  return [pid, ...new Set([children, ...threads].join(' ').split(/\s+/).filter(Boolean).map(Number))];
}

function removeCgroups(name: string): void {
  const base = '/sys/fs/cgroup';
  const own = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .map((line) => line.split(':')[2] ?? '');
  const hierarchies = [base, ...readdirSync(base).map((hierarchy) => join(base, hierarchy))];
  for (const hierarchy of hierarchies) {
    // The peers put their cgroups at the root of some hierarchies, and below the own cgroup in others.
    for (const path of new Set(['', ...own])) {
      try {
        rmdirSync(join(hierarchy, path, name));
      } catch {
        // not there
      }
    }
  }
}

export const docker: Prepare = async (work) => {
  const dockerd = which('dockerd');
  if (dockerd === undefined || which('docker') === undefined) return 'docker is not installed';
  const daemon = await startDockerd(dockerd, work);
  const client = ['docker', '--host', `unix://${join(work, 'socket')}`] as const;
  const close = async () => {
    const ended = new Promise((fulfil) => daemon.once('close', fulfil));
    daemon.kill('SIGTERM');
    await ended;
    removeCgroups(DOCKER_PARENT);
  };
  try {
    run({ argv: [...client, 'import', ROOTFS, IMAGE] });
    const version = run({
      argv: [...client, 'version', '--format', '{{.Server.Version}} (client {{.Client.Version}})'],
    }).stdout.trim();
    const command: Command = { argv: [...client, ...RUN_TRUE] };
    return { name: 'docker', version, command, daemons: family(daemon.pid!), close };
  } catch (error) {
    await close();
    throw error;
  }
};

/** Podman's own defaults ask for limits that not every host grants, and for a cgroup manager that may not be there. */
const PODMAN_CONFIGURATION = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

export const podman: Prepare = async (work) => {
  if (which('podman') === undefined || which('runc') === undefined) return 'podman (with runc) is not installed';
  mkdirSync(work, { recursive: true });
  const configuration = join(work, 'containers.conf');
  writeFileSync(configuration, PODMAN_CONFIGURATION);
  const env = { ...process.env, CONTAINERS_CONF: configuration };
  const roots = ['--root', join(work, 'data'), '--runroot', join(work, 'run'), '--tmpdir', join(work, 'tmp')];
  const program = ['podman', '--runtime', 'runc', ...roots] as const;
  run({ argv: [...program, 'import', ROOTFS, IMAGE], env });
  const version = run({ argv: ['podman', '--version'], env })
    .stdout.trim()
    .replace('podman version ', '');
  const close = async () => {
    spawnSync('umount', [join(work, 'data/overlay')], { stdio: 'ignore' });
    removeCgroups(PODMAN_PARENT);
  };
  return { name: 'podman', version, command: { argv: [...program, ...RUN_TRUE], env }, daemons: [], close };
};

/** A bare runtime: no image, no layers, no network of its own to set up, only a bundle that somebody else has made. */
export const runc: Prepare = async (work) => {
  const program = which('runc');
  if (program === undefined) return 'runc is not installed';
  const bundle = join(work, 'bundle');
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  run({ argv: ['tar', '--extract', '--file', ROOTFS, '--directory', join(bundle, 'rootfs')] });
  run({ argv: [program, 'spec', '--bundle', bundle] });
  const path = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { process: { args: string[]; terminal: boolean } };
  config.process.args = ['true'];
  config.process.terminal = false;
  writeFileSync(path, JSON.stringify(config));
  const version = firstLine(run({ argv: [program, '--version'] }).stdout).replace('runc version ', '');
  const argv = [program, '--root', join(work, 'state'), 'run', '--bundle', bundle, 'bench'] as const;
  return { name: 'runc', version, command: { argv }, daemons: [], close: nothing };
};

/** What measuring itself costs. */
export const bare: Prepare = async () => {
  const program = which('true')!;
  return { name: 'no container', version: '', command: { argv: [program] }, daemons: [], close: nothing };
};
