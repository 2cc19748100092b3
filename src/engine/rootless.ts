/** tsbox as an ordinary user: where things are, what the host does not let him do, and work in a user namespace of his. */
import { accessSync, constants, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { SyscallError, TsboxError } from '../errors.ts';
import { asNamespaceRoot, helperProblem, ownMaps } from '../sys/own-ids.ts';
import { execve, spawnProcess, waitPid } from '../sys/process.ts';
import type { ContainerRequest, EngineOptions } from './api.ts';
import { checkRootlessNetwork } from './rootless-network.ts';

const FAILED = 125;

type Read = (path: string) => string | undefined;

function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The user's own data root. @see XDG Base Directory Specification */
export function userDataRoot(env: NodeJS.ProcessEnv): string {
  const data = env['XDG_DATA_HOME'];
  if (data?.startsWith('/') === true) return `${data}/tsbox`;
  const home = env['HOME'];
  if (home?.startsWith('/') === true) return `${home}/.local/share/tsbox`;
  throw new TsboxError('ERR_TSBOX_USAGE', 'find a data root: HOME is not set', { hint: 'Give one with --data-root.' });
}

/** The user's own run root: below $XDG_RUNTIME_DIR, or /tmp/tsbox-UID when there is none. That is made here and must be his alone:
 *  whoever else could write there could take the place of his containers' monitors. */
export function userRunRoot(env: NodeJS.ProcessEnv, uid: number): string {
  const runtime = env['XDG_RUNTIME_DIR'];
  if (runtime?.startsWith('/') === true && isOwn(runtime, uid)) return `${runtime}/tsbox`;
  if (isOwn(`/run/user/${uid}`, uid)) return `/run/user/${uid}/tsbox`;
  const path = `/tmp/tsbox-${uid}`;
  try {
    mkdirSync(path, 0o700);
  } catch {
    // it is there, or the look below says what is wrong
  }
  if (isOwn(path, uid)) return path;
  throw new TsboxError('ERR_TSBOX_CONFLICT', `use ${path} as run root: it is not a directory of this user alone`, {
    hint: 'Give another one with --run-root, or set XDG_RUNTIME_DIR.',
  });
}

function isOwn(path: string, uid: number): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && stat.uid === uid && (stat.mode & 0o022) === 0;
}

/** Why this host makes no user namespaces for an ordinary user, and the command that mends it; undefined when nothing speaks against it.
 *  @param read file contents without the final newline */
export function userNamespaceProblem(read: Read = readFile): { problem: string; hint: string } | undefined {
  const sysctl = (name: string) => read(`/proc/sys/${name.replaceAll('.', '/')}`);
  if (sysctl('user.max_user_namespaces') === '0') {
    return {
      problem: 'user namespaces are turned off (user.max_user_namespaces is 0)',
      hint: 'As root: sysctl -w user.max_user_namespaces=15000 (and in /etc/sysctl.d/ to keep it).',
    };
  }
  if (sysctl('kernel.unprivileged_userns_clone') === '0') {
    return {
      problem: 'only root may make user namespaces (kernel.unprivileged_userns_clone is 0)',
      hint: 'As root: sysctl -w kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d/ to keep it).',
    };
  }
  return undefined;
}

/** @throws ERR_TSBOX_UNSUPPORTED with the command that mends it */
export function checkUserNamespaces(): void {
  const found = userNamespaceProblem();
  if (found === undefined) return;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `run without root: ${found.problem}`, {
    exitCode: FAILED,
    hint: found.hint,
  });
}

/** What only root may ask for. @throws ERR_TSBOX_UNSUPPORTED also when this host makes no user namespaces for others */
export function checkRequested(userns: string, request: ContainerRequest): void {
  checkUserNamespaces();
  checkRootlessNetwork(request);
  const refused = (what: string, hint: string) =>
    new TsboxError('ERR_TSBOX_UNSUPPORTED', what, { exitCode: FAILED, hint });
  if (userns !== '') {
    throw refused(
      `user namespace ${userns}: only root may choose one`,
      'Without root a container has the user namespace of its user: he is root there, and his subordinate ids are the others.',
    );
  }
  const asRoot = 'Run tsbox as root, for example with sudo.';
  if (request.privileged === true) throw refused('--privileged: only root has the rights of the host to give', asRoot);
  const { pid = '', ipc = '' } = request;
  if (pid !== '') throw refused(`--pid ${pid}: a container of an ordinary user has processes of its own only`, asRoot);
  if (!['', 'private', 'none'].includes(ipc)) {
    throw refused(`--ipc ${ipc}: a container of an ordinary user has shared memory of its own only`, asRoot);
  }
}

/** What an ordinary user can have done about a step that the kernel refused; undefined when it is not about his being one. */
export function rootlessHint(call: string, errno: string, message: string, read: Read = readFile): string | undefined {
  // A program of the host says it in its own words.
  if (errno === 'EAGAIN' || message.includes('Resource temporarily unavailable')) return undefined;
  const refused = errno === 'EPERM' || errno === 'EACCES';
  const restricted = read('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1';
  if (refused && restricted && ['unshare', 'mount', 'write', 'run', 'setns', 'pivot_root'].includes(call)) {
    return 'AppArmor takes the rights away from user namespaces of ordinary users. As root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (and in /etc/sysctl.d/ to keep it).';
  }
  if (call === 'unshare' && (refused || errno === 'ENOSPC')) {
    return (
      userNamespaceProblem(read)?.hint ??
      'See "sysctl user.max_user_namespaces", and whether tsbox itself runs in a container.'
    );
  }
  if (call === 'run' && /new[ug]idmap/.test(message)) {
    return "The lines in /etc/subuid and /etc/subgid must be this user's own. As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER";
  }
  if (call === 'run' && /: \/dev\/fuse: /.test(message)) {
    return 'The storage driver fuse needs /dev/fuse. As root: modprobe fuse; chmod 0666 /dev/fuse. Or do without: --storage-driver overlay2 (of the kernel) or vfs (copies).';
  }
  if (call === 'run' && /tsbox-keeper/.test(message)) return carrierHint(message.slice(message.lastIndexOf(']: ')));
  if (call === 'mount' && refused && /"overlay"/.test(message)) {
    return 'This kernel lets only root mount overlays: that changed with Linux 5.11. Run tsbox as root, or do without: --storage-driver fuse or vfs.';
  }
  return undefined;
}

function hasTun(): boolean {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** By what pasta or slirp4netns said. */
function carrierHint(message: string): string | undefined {
  if (/failed to (get netlink|open tun) socket/i.test(message) && hasTun()) {
    return 'pasta(1) does that in a process of its own and does not say why it has none: see "ulimit -u" and pids.max of the cgroup.';
  }
  if (/\btun\b/i.test(message)) {
    return 'The network without root needs /dev/net/tun. As root: modprobe tun; chmod 0666 /dev/net/tun';
  }
  if (/bind|address already in use|hostfwd/i.test(message))
    return 'Another program has this port by now: see "ss -lntup".';
  if (/overlapping/i.test(message)) return 'This pasta publishes a port on one address only, or on all.';
  return undefined;
}

/** The error with a hint for an ordinary user, where there is one. */
export function explained(error: unknown): unknown {
  if (!(error instanceof SyscallError) || error.hint !== undefined) return error;
  const hint = rootlessHint(error.syscall, error.errnoName, error.message);
  if (hint === undefined) return error;
  const details = { hint, cause: error, ...(error.exitCode === undefined ? {} : { exitCode: error.exitCode }) };
  return new TsboxError(error.code, error.message, details);
}

/** What a user without subordinate ids loses; undefined when he has them, or was told before.
 *  @param dataRoot where is kept that it was said */
export function singleIdNotice(dataRoot: string): string | undefined {
  const { single } = ownMaps();
  if (single === undefined) return undefined;
  const said = `${dataRoot}/single-id-said`;
  if (readFile(said) !== undefined) return undefined;
  try {
    mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
    writeFileSync(said, '');
  } catch {
    // said again the next time
  }
  const why = single === 'no ranges' ? 'this user has no lines in /etc/subuid and /etc/subgid' : helperProblem();
  const mend =
    single === 'no ranges'
      ? 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER'
      : "apt-get install uidmap (or your distribution's package of newuidmap)";
  return `${why}: all files of images belong to one user, and only root can run in a container. As root: ${mend}`;
}

/** Starts tsbox anew, with the same command line, as root of a user namespace of the caller's: there files may belong to his subordinate
 *  ids. Does not come back.
 *  @param pid a process of the caller's whose user namespace is joined; without it one is made */
export function enterUserNamespace(roots: { dataRoot: string; runRoot: string }, pid?: number): never {
  checkUserNamespaces();
  const args = asNamespaceRoot([process.execPath, '--', ...process.argv.slice(1)], pid);
  const env = {
    ...process.env,
    TSBOX_ROOT: roots.dataRoot,
    TSBOX_RUN_ROOT: roots.runRoot,
    // The root of a user namespace makes no bridges.
    TSBOX_BRIDGE: 'none',
  };
  execve(
    args[0]!,
    args,
    Object.entries(env).map(([name, value]) => `${name}=${value}`),
  );
  throw new Error('execve came back');
}

/** Runs a verb in a tsbox of its own that is root of a user namespace; what it prints goes to standard error. @returns whether it worked */
export function runInUserNamespace(options: EngineOptions, words: readonly string[]): boolean {
  checkUserNamespaces();
  const { maxBytes, maxRatio, maxEntries } = options.limits ?? {};
  const args = asNamespaceRoot([
    process.execPath,
    '--', // else Node takes an --env-file behind it for its own
    process.argv[1] ?? '',
    ...flag('--data-root', options.dataRoot),
    ...flag('--run-root', options.runRoot),
    ...flag('--storage-driver', options.storageDriver),
    ...(options.registryMirrors ?? []).flatMap((mirror) => ['--registry-mirror', mirror]),
    ...flag('--max-layer-size', maxBytes),
    ...flag('--max-layer-ratio', maxRatio),
    ...flag('--max-layer-entries', maxEntries),
    ...words,
  ]);
  const env = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const pid = spawnProcess({
    path: args[0]!,
    args,
    env,
    descriptors: [
      [2, 1],
      [2, 2],
    ],
  });
  return waitPid(pid, true) === 0;
}

function flag(name: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [name, String(value)];
}

/** Pulls an image; its progress and its errors go to standard error. @throws ERR_TSBOX_REGISTRY when that did not work */
export function pullInUserNamespace(
  options: EngineOptions,
  image: string,
  platform: string | undefined,
  quiet: boolean,
): void {
  const words = ['pull', ...(quiet ? ['--quiet'] : []), ...flag('--platform', platform), image];
  if (runInUserNamespace(options, words)) return;
  throw new TsboxError('ERR_TSBOX_REGISTRY', `pull ${image}: it was not pulled`, { exitCode: FAILED });
}
