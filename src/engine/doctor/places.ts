/** Where tsbox keeps things, what it calls, and how much of it. Pure. */
import type { DoctorFacts, Finding, RootFacts } from '../../spec/doctor.ts';
import { finding } from './kernel.ts';

const GIB = 2 ** 30;
const [LITTLE_SPACE, FEW_INODES, FEW_FILES, FEW_WATCHES] = [2 * GIB, 100_000, 1024, 128];

export function placeFindings(facts: DoctorFacts): Finding[] {
  const { data, run } = facts.roots;
  return [
    executor(facts),
    writable('data', 'data root', data),
    ...(data.writable ? [fileSystem(facts), space(data)] : []),
    writable('run', 'run root', run),
    ...tools(facts),
    ...libraries(facts),
    ...limits(facts),
  ];
}

function executor({ executor: { path, version, expected } }: DoctorFacts): Finding {
  const [id, what] = ['tsbox.executor', 'executor'];
  if (path === undefined) return finding(id, 'error', what, 'is not built', 'make build');
  if (version === expected) return finding(id, 'ok', what, `speaks version ${expected} of the plan`);
  const says = version === undefined ? 'cannot be started' : `speaks version ${version} of the plan, tsbox ${expected}`;
  return finding(id, 'error', what, `${path} ${says}`, 'make clean build');
}

function writable(name: 'data' | 'run', what: string, root: RootFacts): Finding {
  const id = `${name}.root`;
  const missing = root.at === root.path ? '' : ', to be made';
  if (root.writable) return finding(id, 'ok', what, `${root.path}, on ${root.fileSystem}${missing}`);
  const flag = name === 'data' ? '--data-root DIRECTORY, or TSBOX_ROOT' : '--run-root DIRECTORY, or TSBOX_RUN_ROOT';
  return finding(id, 'error', what, `${root.at} is not writable for you`, `Run as root, or choose another: ${flag}.`);
}

function fileSystem({ roots, uid, fuse, overlay }: DoctorFacts): Finding {
  const { fileSystem: type, entryTypes, xattrs, path } = roots.data;
  const [id, what] = ['data.filesystem', 'its file system'];
  const fix = `Put ${path} on ext4, xfs (ftype=1), btrfs or tmpfs, or choose another data root.`;
  const bad = [
    ...(entryTypes === 'ok' || entryTypes === 'untried' ? [] : ['directory entries have no type (d_type)']),
    ...(xattrs === 'ok' || xattrs === 'untried' ? [] : [`no extended attributes (${xattrs})`]),
  ];
  const outcome = uid === 0 ? overlay.mount : overlay.inUserNamespace;
  const onOverlay = type === 'overlay' && outcome !== 'ok';
  // Root who may not mount an overlay may mount nothing. In a user namespace it is an old kernel that says so.
  const helped = uid !== 0 || outcome !== 'EPERM';
  if (onOverlay && !helped) bad.push('an overlay cannot be on an overlay');
  else if (onOverlay && bad.length === 0) {
    const driver = fuse === 'ok' ? 'fuse' : 'vfs';
    const says = `overlay, on which the kernel puts no other: containers get the storage driver ${driver}`;
    return finding(id, fuse === 'ok' ? 'note' : 'warning', what, says, fix);
  }
  if (bad.length === 0) return finding(id, 'ok', what, `${type}, with extended attributes and d_type`);
  return finding(id, 'error', what, `${type}: ${bad.join(', ')}`, fix);
}

function space({ freeBytes, freeInodes, at }: RootFacts): Finding {
  const [id, what] = ['data.space', 'its space'];
  const says = `${(freeBytes / GIB).toFixed(1)} GiB free`;
  if (freeBytes < LITTLE_SPACE) return finding(id, 'warning', what, `${says} at ${at}`, 'tsbox system prune');
  if (freeInodes > 0 && freeInodes < FEW_INODES) {
    return finding(id, 'warning', what, `${says}, but only ${freeInodes} inodes at ${at}`, 'tsbox system prune');
  }
  return finding(id, 'ok', what, says);
}

/** Program, what needs it, and the Debian package. */
const TOOLS: readonly (readonly [names: readonly string[], need: string, install: string])[] = [
  [['xz'], 'unpacks layers that xz packed', 'xz-utils'],
  [['bzip2'], 'unpacks layers that bzip2 packed', 'bzip2'],
  [['pasta', 'slirp4netns'], 'the network without root', 'passt'],
];

function tools({ tools: found }: DoctorFacts): Finding[] {
  return TOOLS.map(([names, need, install]) => {
    const path = names.map((name) => found[name]).find((one) => one !== undefined);
    const [id, what] = [`tools.${names[0]}`, names.join(' or ')];
    if (path !== undefined) return finding(id, 'ok', what, path);
    return finding(id, 'note', what, `not in PATH: ${need}`, `apt-get install ${install}`);
  });
}

const LIBRARIES: Readonly<Record<string, readonly [need: string, install: string]>> = {
  'libseccomp.so.2': ['compiles system call filters', 'libseccomp2'],
  'libnftables.so.1': ['publishes ports', 'libnftables1'],
};

function libraries({ libraries: found }: DoctorFacts): Finding[] {
  return Object.entries(LIBRARIES).map(([name, [need, install]]) => {
    const [id, what] = [`libraries.${name.split('.')[0]}`, name.split('.')[0]!];
    if (found[name] === 'ok') return finding(id, 'ok', what, need);
    return finding(id, 'note', what, `${name} is not there: it ${need}`, `apt-get install ${install}`);
  });
}

/** A limit of the session: `value` as it is when it is enough. `flag` is that of ulimit. */
function sessionLimit(id: string, what: string, flag: string, most: number, value: string): Finding {
  if (most === -1 || most >= FEW_FILES) return finding(id, 'ok', what, value);
  const fix = `ulimit ${flag} ${FEW_FILES}, in /etc/security/limits.conf`;
  return finding(id, 'warning', what, `${most} at the most`, fix);
}

function limits({ limits: { nofile, nproc }, sysctls, uid }: DoctorFacts): Finding[] {
  const [soft, hard, tasks] = [nofile[0], nofile[1], nproc[1]].map((n) => (n === -1 ? 'unlimited' : String(n)));
  const files = sessionLimit('limits.nofile', 'open files', '-n', nofile[1], `${soft}, ${hard} at the most`);
  const processes = sessionLimit('limits.nproc', 'processes', '-u', nproc[1], tasks!);
  const watches = Number(sysctls['fs/inotify/max_user_instances'] ?? FEW_WATCHES);
  const fix = `sysctl -w fs.inotify.max_user_instances=1024`;
  const inotify =
    watches < FEW_WATCHES
      ? finding('limits.inotify', 'note', 'inotify', `${watches} instances for all containers of a user`, fix)
      : finding('limits.inotify', 'ok', 'inotify', `${watches} instances`);
  return uid === 0 ? [files, inotify] : [files, processes, inotify];
}
