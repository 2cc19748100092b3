/** Who we are: root of the host, root of a user namespace, or an ordinary user with subordinate ids of his own.
 *  @see user_namespaces(7), subuid(5), newuidmap(1) */
import { readFileSync, statSync } from 'node:fs';
import { mapText, type UserMaps, userMaps } from '../spec/id-map.ts';
import { requireBuiltFile } from './built-file.ts';
import { spawnProcess, waitPid } from './process.ts';
import { lgetxattr } from './xattr.ts';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

let hostRoot: boolean | undefined;

/** Root with all rights that there are; root of a user namespace is not. */
export function isHostRoot(): boolean {
  hostRoot ??= process.geteuid?.() === 0 && /^\s*0\s+0\s+4294967295\s*$/.test(read('/proc/self/uid_map'));
  return hostRoot;
}

/** May files get other owners than the caller? Not as an ordinary user, and not in a namespace of one id. */
export function maySetOwners(): boolean {
  return process.geteuid?.() === 0 && (isHostRoot() || !/^\s*0\s+\d+\s+1\s*$/.test(read('/proc/self/gid_map')));
}

/** Root of a user namespace other than the host's. */
export function isNamespaceRoot(): boolean {
  return process.geteuid?.() === 0 && !isHostRoot();
}

const HELPER_PATHS = ['/usr/bin', '/bin', '/usr/local/bin', '/usr/sbin', '/sbin'];

/** What is wrong with newuidmap(1) or newgidmap(1); undefined when both are there and may do what they are for. */
export function helperProblem(): string | undefined {
  for (const name of ['newuidmap', 'newgidmap']) {
    const path = HELPER_PATHS.map((directory) => `${directory}/${name}`).find((one) =>
      statSync(one, { throwIfNoEntry: false }),
    );
    if (path === undefined) return `${name} is not installed`;
    const { mode, uid } = statSync(path);
    const privileged = (uid === 0 && (mode & 0o4000) !== 0) || lgetxattr(path, 'security.capability') !== undefined;
    if (!privileged) return `${path} is neither setuid nor has it capabilities`;
  }
  return undefined;
}

let maps: UserMaps | undefined;

/** The maps of an ordinary user's namespaces, worked out once. @throws ERR_TSBOX_SPEC when a line of his is no range */
export function ownMaps(): UserMaps {
  if (maps !== undefined) return maps;
  const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  const line = read('/etc/passwd')
    .split('\n')
    .map((one) => one.split(':'))
    .find(([, , id]) => id === String(uid));
  // Not everybody is in /etc/passwd; newuidmap asks who he is by itself.
  const names = [line?.[0] ?? process.env['USER'] ?? '', String(uid)].filter((name) => name !== '');
  const files = { subuid: read('/etc/subuid'), subgid: read('/etc/subgid') };
  maps = userMaps({ uid, gid, names }, files, helperProblem() === undefined);
  return maps;
}

/** A command that runs `args` as root of a new user namespace with our own maps, and a mount namespace.
 *  @param pid a process whose user namespace is joined instead
 *  @throws ERR_TSBOX_EXECUTOR when the program for it was not built */
export function asNamespaceRoot(args: readonly string[], pid?: number): string[] {
  const program = requireBuiltFile('tsbox-userns');
  if (pid !== undefined) return [program, 'join', String(pid), ...args];
  const { uids, gids } = ownMaps();
  const words = (text: string) => text.trim().replaceAll('\n', ' ');
  return [program, words(mapText(uids)), words(mapText(gids)), ...args];
}

/** Removes a tree of files that belong to our subordinate ids. @returns whether it is gone */
export function removeAsNamespaceRoot(path: string): boolean {
  const args = asNamespaceRoot(['/bin/rm', '-rf', '--one-file-system', '--', path]);
  const env = ['PATH=/usr/local/bin:/usr/bin:/bin'];
  const pid = spawnProcess({ path: args[0]!, args, env, descriptors: [[2, 2]] });
  return waitPid(pid, true) === 0;
}
