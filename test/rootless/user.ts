/** An ordinary user who runs tsbox: made by the test, with subordinate ids or without, and gone with all that he has at its end. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { pause } from '../../src/sys/pause.ts';
import { type Account, account } from '../system/accounts.ts';
import type { CommandOptions, Result } from '../system/harness.ts';
import { PATIENCE, REPOSITORY, TSBOX } from '../system/harness.ts';
import { leftovers, removeLeftovers } from '../system/leftovers.ts';

const OVERLAYFS = 0x794c7630;
const ARCHIVE = join(REPOSITORY, 'rootfs-fixtures/build/busybox.tar');

/** `cgroup`: the directory of that in which the command starts. */
export type UserOptions = CommandOptions & { cgroup?: string };

/** Root moves the shell there before it becomes the user. */
const ENTER =
  'cgroup=$2; echo 0 > "$cgroup/cgroup.procs" && uid=$0 gid=$1 && shift 2 && exec setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"';

export interface User extends Account {
  /** His home; the data root is in it, at its default place, and the run root below `run`. */
  readonly home: string;
  /** His home is in it; open to everybody, and gone with him. */
  readonly directory: string;
  readonly dataRoot: string;
  readonly env: NodeJS.ProcessEnv;
  /** `tsbox ARGS...` as he. */
  tsbox(args: readonly string[], options?: UserOptions): Result;
  /** Like `tsbox`, for what must work. @returns stdout without its last line feed */
  ok(args: readonly string[], options?: UserOptions): string;
  start(args: readonly string[]): ChildProcess;
  /** Processes with an id of his. */
  processes(): number[];
  /** A shell command as he. */
  shell(script: string): string;
  /** A shell command as root, with the mounts that his commands see. */
  asRoot(script: string): void;
  /** The imported fixture: `busybox:offline`. */
  image(): string;
}

function temporaryDirectory(): string {
  const place = statfsSync(tmpdir()).type === OVERLAYFS && existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  return mkdtempSync(join(place, 'tsb-'));
}

/** Processes of these ids. */
function processesOf(ids: (uid: number) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return ids(Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]));
      } catch {
        return false; // it has ended
      }
    });
}

async function nobodyLeft(ids: (uid: number) => boolean): Promise<number[]> {
  for (const end = performance.now() + PATIENCE * 30_000; ; await new Promise((wake) => setTimeout(wake, 50))) {
    const left = processesOf(ids);
    if (left.length === 0 || performance.now() > end) return left;
  }
}

/** Keeps a mount namespace in which /dev/fuse is everybody's, as udev has it, until its input ends. */
const OWN_FUSE = 'mknod "$0" c 10 229 && chmod 666 "$0" && mount --bind "$0" /dev/fuse && echo && read line';

/** A process in a mount namespace of that kind. */
function withFuse(device: string): ChildProcess {
  const holder = spawn('unshare', ['--mount', 'sh', '-c', OWN_FUSE, device], { stdio: ['pipe', 'pipe', 'inherit'] });
  const mounted = () => readFileSync(`/proc/${holder.pid}/mountinfo`, 'utf8').includes(' /dev/fuse ');
  for (const end = performance.now() + PATIENCE * 30_000; !mounted() && performance.now() < end; ) pause(5);
  assert.ok(mounted(), 'no mount namespace with a /dev/fuse for everybody');
  return holder;
}

/** @param sizes of his ranges of subordinate ids; none: he has only himself
 *  @param cgroup where his commands start
 *  @param fuse whether he may open /dev/fuse, whatever the host has */
export function user(
  context: TestContext,
  sizes: readonly number[] = [65536],
  { cgroup: usual, fuse = false }: { cgroup?: string; fuse?: boolean } = {},
): User {
  const directory = temporaryDirectory();
  const holder = fuse ? withFuse(join(directory, 'fuse')) : undefined;
  const he = account(context, sizes, () => close());
  // By his name: what is left is told by it from what others have.
  const [home, run] = [join(directory, he.name), join(directory, 'run')];
  chmodSync(directory, 0o755);
  for (const path of [home, run]) {
    mkdirSync(path, 0o700);
    chownSync(path, he.uid, he.gid);
  }
  const env: NodeJS.ProcessEnv = {
    PATH: `${dirname(TSBOX)}:/usr/local/bin:/usr/bin:/bin`,
    HOME: home,
    USER: he.name,
    XDG_RUNTIME_DIR: run,
    NO_COLOR: '1',
    LANG: 'C.UTF-8',
    TSBOX_BRIDGE: 'none',
  };
  const identity = { uid: he.uid, gid: he.gid, cwd: home };
  const asHe = (command: string, args: readonly string[], cgroup = usual): [string, string[], object] => {
    const enter = ['-t', `${holder?.pid}`, '-m', 'setpriv', '--reuid', `${he.uid}`, '--regid', `${he.gid}`];
    if (holder !== undefined) return ['nsenter', [...enter, '--clear-groups', 'env', '-C', home, command, ...args], {}];
    if (cgroup === undefined) return [command, [...args], identity];
    return ['/bin/sh', ['-c', ENTER, `${he.uid}`, `${he.gid}`, cgroup, command, ...args], { cwd: home }];
  };
  const spawned = (command: string, args: readonly string[], options: UserOptions = {}): Result => {
    const [program, words, who] = asHe(command, args, options.cgroup);
    const { status, signal, stdout, stderr, error } = spawnSync(program, words, {
      ...who,
      env: { ...env, ...options.env },
      timeout: PATIENCE * (options.timeout ?? 60_000),
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 28,
      ...(options.input === undefined ? { stdio: ['ignore', 'pipe', 'pipe'] } : { input: options.input }),
    });
    if (error !== undefined) throw new Error(`${command} ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`);
    return { status, signal, stdout: stdout.toString(), stderr: stderr.toString(), bytes: stdout };
  };
  const tsbox = (args: readonly string[], options?: UserOptions) => spawned(TSBOX, args, options);
  const ok = (args: readonly string[], options?: UserOptions) => {
    const said = tsbox(args, options);
    assert.equal(
      said.status,
      0,
      `tsbox ${args.join(' ')}: ${said.signal ?? said.status}\n${said.stdout}${said.stderr}`,
    );
    return said.stdout.replace(/\n$/, '');
  };
  const own = (uid: number) =>
    uid === he.uid || he.starts.some((start, index) => uid >= start && uid < start + sizes[index]!);
  const dataRoot = join(home, '.local/share/tsbox');
  let imported = false;
  const close = async (): Promise<void> => {
    const ids = tsbox(['ps', '--all', '--quiet', '--no-trunc']).stdout.split('\n').filter(Boolean);
    const removed = ids.length === 0 ? undefined : tsbox(['rm', '--force', ...ids]);
    const left = [
      ...(removed === undefined || removed.status === 0 ? [] : [`rm --force: ${removed.stderr}`]),
      ...(await nobodyLeft(own)).map((pid) => `process ${pid}`),
      ...(await leftovers(home)),
      ...['containers', 'image/overlay2/layerdb/mounts'].flatMap((name) => listing(join(dataRoot, name))),
      ...listing(join(dataRoot, 'overlay2')).filter((path) => /-init$|-removing$|\.tmp-/.test(path)),
      // the journal of what happened stays
      ...listing(join(run, 'tsbox')).filter((path) => !path.endsWith('/events')),
    ];
    removeLeftovers(home, left);
    holder?.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
    assert.deepEqual(left, [], 'something was left behind');
  };
  return {
    ...he,
    home,
    directory,
    dataRoot,
    env,
    tsbox,
    ok,
    start(args) {
      const [program, words, who] = asHe(TSBOX, args);
      return spawn(program, words, { ...who, env });
    },
    processes: () => processesOf(own),
    shell: (script) => spawned('/bin/sh', ['-c', script]).stdout.trimEnd(),
    asRoot(script) {
      const mounts = holder === undefined ? [] : ['nsenter', '-t', `${holder.pid}`, '-m'];
      const [program = '', ...words] = [...mounts, 'sh', '-euc', script];
      const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
    },
    image() {
      if (!imported) ok(['import', '--change', 'CMD ["sh"]', ARCHIVE, 'busybox:offline']);
      imported = true;
      return 'busybox:offline';
    },
  };
}

function listing(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
}
