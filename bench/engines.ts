/**
 * The engines that are compared, each with a store in a directory of its own: docker with a daemon of its own, podman with roots of its
 * own and runc as its runtime. Nothing of what is installed here is changed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './measure.ts';

export interface Engine {
  readonly name: string;
  readonly version: string;
  /** What each of its commands starts with; the verbs are the same for all. */
  readonly program: readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
  /** What `pull` and `push` need for a registry that speaks http. */
  readonly http: readonly string[];
  /** Processes that work for it besides what a command starts. */
  readonly daemons: readonly number[];
  close(): Promise<void>;
  /** Ends it at once, where nothing that it leaves mounted matters. */
  abandon(): Promise<void>;
}

/** Starts an engine in a directory of its own. @returns a sentence instead when it cannot take part */
export type Start = (work: string) => Promise<Engine | string>;

export const REPOSITORY = resolve(import.meta.dirname, '..');

const EVERYWHERE = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;

/** Where a command is; Debian's /usr/sbin is not in everybody's PATH. */
export function which(name: string): string | undefined {
  return EVERYWHERE.split(delimiter)
    .map((directory) => join(directory, name))
    .find(existsSync);
}

export const firstLine = (text: string) => text.split('\n')[0]!.trim();
export const nothing = async () => {};

export const startTsbox: Start = async (work) => {
  const program = join(REPOSITORY, 'bin/tsbox');
  if (!existsSync(program)) return 'bin/tsbox is missing: make build';
  const env = {
    ...process.env,
    TSBOX_ROOT: join(work, 'data'),
    TSBOX_BRIDGE: 'none',
    TSBOX_RUN_ROOT: join(work, 'run'),
  };
  const version = firstLine(run({ argv: [program, '--version'], env }).stdout).replace('tsbox version ', '');
  return { name: 'tsbox', version, program: [program], env, http: [], daemons: [], close: nothing, abandon: nothing };
};

/** Cgroups that docker and podman make for themselves and leave behind. They are only removed when nobody is in them. */
const DOCKER_PARENT = 'tsbox-bench';
const PODMAN_PARENT = 'libpod_parent';

/** @param networked with a bridge and rules, in a network namespace that is its own */
async function startDockerd(dockerd: string, work: string, networked: boolean): Promise<ChildProcess> {
  const at = (name: string) => join(work, name);
  mkdirSync(at('tmp'), { recursive: true });
  writeFileSync(at('daemon.json'), '{}');
  const alone = ['--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', dockerd];
  const daemon = spawn(
    networked ? 'unshare' : dockerd,
    [
      ...(networked ? alone : []),
      ...['--config-file', at('daemon.json'), '--data-root', at('data'), '--exec-root', at('exec')],
      ...['--pidfile', at('pid'), '--host', `unix://${at('socket')}`, '--cgroup-parent', DOCKER_PARENT],
      ...(networked ? [] : ['--bridge=none', '--iptables=false', '--ip6tables=false']),
      '--storage-driver=overlay2',
    ],
    { stdio: 'ignore', env: { ...process.env, PATH: EVERYWHERE, TMPDIR: at('tmp') } },
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

const dockerStart =
  (networked: boolean): Start =>
  async (work) => {
    const dockerd = which('dockerd');
    if (dockerd === undefined || which('docker') === undefined) return 'docker is not installed';
    const daemon = await startDockerd(dockerd, work, networked);
    const program = ['docker', '--host', `unix://${join(work, 'socket')}`] as const;
    const env = { ...process.env, TMPDIR: join(work, 'tmp') };
    const end = async (kill: () => void) => {
      const ended = new Promise((fulfil) => daemon.once('close', fulfil));
      kill();
      await ended;
      removeCgroups(DOCKER_PARENT);
    };
    const close = () => end(() => daemon.kill('SIGTERM'));
    try {
      const version = run({
        argv: [...program, 'version', '--format', '{{.Server.Version}} (client {{.Client.Version}})'],
      }).stdout.trim();
      const daemons = family(daemon.pid!);
      const abandon = () => end(() => daemons.forEach((pid) => void process.kill(pid, 'SIGKILL')));
      return { name: 'docker', version, program, env, http: [], daemons, close, abandon };
    } catch (error) {
      await close();
      throw error;
    }
  };

export const startDocker = dockerStart(false);

/** With a network namespace of its own, which is that of the first of `daemons`. */
export const startNetworkedDocker = dockerStart(true);

/** Podman's own defaults ask for limits that not every host grants, and for a cgroup manager that may not be there. */
const PODMAN_CONFIGURATION = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

export const startPodman: Start = async (work) => {
  if (which('podman') === undefined || which('runc') === undefined) return 'podman (with runc) is not installed';
  mkdirSync(join(work, 'scratch'), { recursive: true });
  const configuration = join(work, 'containers.conf');
  writeFileSync(configuration, PODMAN_CONFIGURATION);
  // Layers on their way are kept in TMPDIR, by default in /var/tmp.
  const env = { ...process.env, CONTAINERS_CONF: configuration, TMPDIR: join(work, 'scratch') };
  const roots = ['--root', join(work, 'data'), '--runroot', join(work, 'run'), '--tmpdir', join(work, 'tmp')];
  const program = ['podman', '--runtime', 'runc', '--storage-driver', 'overlay', ...roots] as const;
  const version = run({ argv: ['podman', '--version'], env })
    .stdout.trim()
    .replace('podman version ', '');
  const close = async () => {
    spawnSync('umount', [join(work, 'data/overlay')], { stdio: 'ignore' });
    removeCgroups(PODMAN_PARENT);
  };
  return { name: 'podman', version, program, env, http: ['--tls-verify=false'], daemons: [], close, abandon: close };
};
