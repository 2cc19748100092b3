/** The nodes and links that every container has in /dev. Pure. @see runtime-spec config-linux.md, Default Devices */
import { S } from '../spec/linux.ts';
import type { OciDevice } from '../spec/oci-runtime.ts';
import type { MountSteps, PathKind } from './mounts.ts';
import type { Step } from './step.ts';

const DEFAULT: readonly (readonly [name: string, major: number, minor: number, why: string])[] = [
  ['null', 1, 3, 'takes everything, gives nothing'],
  ['zero', 1, 5, 'gives zero bytes without end'],
  ['full', 1, 7, 'is always full: for testing ENOSPC'],
  ['random', 1, 8, 'random numbers'],
  ['urandom', 1, 9, 'random numbers'],
  ['tty', 5, 0, "the process's own terminal"],
];

const LINKS: readonly (readonly [path: string, target: string])[] = [
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
  ['/dev/ptmx', 'pts/ptmx'],
];

const TYPES = { c: S.S_IFCHR, u: S.S_IFCHR, b: S.S_IFBLK, p: S.S_IFIFO } as const;

/** In a user namespace nobody makes device nodes: those of the host are bound instead.
 *  @param slot the first free one for an open tree */
export function deviceBinds(
  devices: readonly OciDevice[],
  kinds: ReadonlyMap<string, PathKind>,
  slot: number,
): MountSteps {
  const binds: MountSteps = { open: [], attach: [] };
  const wanted = [
    ...DEFAULT.map(([name, , , why]) => [`/dev/${name}`, why] as const),
    ...devices.map(({ path }) => [path, `the device ${path} was asked for`] as const),
  ];
  for (const [index, [path, why]] of wanted.entries()) {
    const at = slot + index;
    binds.open.push({
      op: 'open_tree',
      slot: at,
      path,
      flags: ['OPEN_TREE_CLONE'],
      why: `take hold of the host's ${path}`,
    });
    binds.attach.push(
      { op: 'write', path, data: '', flags: ['O_CREAT'], mode: 0o644, why: 'a file to mount on' },
      { op: 'move_mount', slot: at, target: path, flags: [], why },
    );
  }
  binds.attach.push(...linkSteps(kinds));
  return binds;
}

/** Device nodes of the configuration beside the default ones.
 *  @param kinds says whether this kernel has /proc/kcore; what is not known is taken to be there */
export function deviceSteps(devices: readonly OciDevice[], kinds: ReadonlyMap<string, PathKind>): Step[] {
  const steps: Step[] = DEFAULT.map(([name, major, minor, why]) => ({
    op: 'mknod',
    path: `/dev/${name}`,
    mode: S.S_IFCHR | 0o666,
    major,
    minor,
    why,
  }));
  for (const device of devices) {
    const { path, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
    const mode = TYPES[device.type] | (fileMode & 0o7777);
    steps.push({ op: 'mknod', path, mode, major, minor, why: `the device ${path} was asked for` });
    if (uid !== 0 || gid !== 0) steps.push({ op: 'chown', path, uid, gid, why: 'its owner' });
  }
  return [...steps, ...linkSteps(kinds)];
}

function linkSteps(kinds: ReadonlyMap<string, PathKind>): Step[] {
  const steps: Step[] = [];
  const core = kinds.get('/proc/kcore') === 'absent' ? [] : [['/dev/core', '/proc/kcore'] as const];
  for (const [path, target] of [...LINKS, ...core]) {
    steps.push({ op: 'symlink', target, path, why: 'programs look for it here', onError: { EEXIST: 'skip' } });
  }
  return steps;
}
