/** The nodes and links that every container has in /dev. Pure. @see runtime-spec config-linux.md, Default Devices */
import { S } from '../spec/linux.ts';
import type { OciDevice } from '../spec/oci-runtime.ts';
import { type MountSteps, makeDirectories, type PathKind } from './mounts.ts';
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

/** Those that every container has, unless another was asked for in its place, and those that were asked for. */
function wantedDevices(devices: readonly OciDevice[]): { path: string; source: string; why: string }[] {
  const asked = devices.map(({ path, source = path }) => ({ path, source, why: `the device ${path} was asked for` }));
  const given = new Set(devices.map(({ path }) => path));
  const own = DEFAULT.map(([name, , , why]) => ({ path: `/dev/${name}`, source: `/dev/${name}`, why }));
  return [...own.filter(({ path }) => !given.has(path)), ...asked];
}

/** In a user namespace nobody makes device nodes: those of the host are bound instead.
 *  @param slot the first free one for an open tree */
export function deviceBinds(
  devices: readonly OciDevice[],
  kinds: ReadonlyMap<string, PathKind>,
  slot: number,
): MountSteps {
  const binds: MountSteps = { open: [], attach: [] };
  const ready = new Set(['/dev']);
  for (const [index, { path, source, why }] of wantedDevices(devices).entries()) {
    const at = slot + index;
    const parent = path.slice(0, path.lastIndexOf('/'));
    binds.open.push({
      op: 'open_tree',
      slot: at,
      path: source,
      flags: ['OPEN_TREE_CLONE'],
      why: `take hold of the host's ${source}`,
    });
    binds.attach.push(
      ...makeDirectories(parent, `a place for ${path}`, ready),
      { op: 'write', path, data: '', flags: ['O_CREAT'], mode: 0o644, why: 'a file to mount on' },
      { op: 'move_mount', slot: at, target: path, flags: [], why },
    );
    ready.add(parent);
  }
  binds.attach.push(...linkSteps(kinds));
  return binds;
}

/** Device nodes of the configuration beside the default ones.
 *  @param kinds says whether this kernel has /proc/kcore; what is not known is taken to be there */
export function deviceSteps(devices: readonly OciDevice[], kinds: ReadonlyMap<string, PathKind>): Step[] {
  const given = new Set(devices.map(({ path }) => path));
  const own = DEFAULT.filter(([name]) => !given.has(`/dev/${name}`));
  const steps: Step[] = own.map(([name, major, minor, why]) => ({
    op: 'mknod',
    path: `/dev/${name}`,
    mode: S.S_IFCHR | 0o666,
    major,
    minor,
    why,
  }));
  const ready = new Set(['/dev']);
  for (const device of devices) {
    const { path, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
    const mode = TYPES[device.type] | (fileMode & 0o7777);
    const parent = path.slice(0, path.lastIndexOf('/'));
    steps.push(...makeDirectories(parent, `a place for ${path}`, ready));
    ready.add(parent);
    const why = `the device ${path} was asked for`;
    steps.push({ op: 'mknod', path, mode, major, minor, why, onError: { EEXIST: 'skip' } });
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
