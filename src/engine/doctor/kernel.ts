/** What the kernel can do. Pure. */
import type { DoctorFacts, Finding, Level, Outcome } from '../../spec/doctor.ts';

/** System calls that a start makes, and since when Linux has them. */
const CALLS: readonly (readonly [name: string, since: string])[] = [
  ['clone3', '5.3'],
  ['pidfd_open', '5.3'],
  ['openat2', '5.6'],
  ['open_tree', '5.2'],
  ['close_range', '5.11'],
  ['mount_setattr', '5.12'],
];

export function kernelFindings(facts: DoctorFacts): Finding[] {
  const missing = CALLS.filter(([name]) => facts.calls[name] !== 'ok');
  const hidden = missing.some(([name]) => facts.calls[name] === 'EPERM');
  const calls: Finding =
    missing.length === 0
      ? finding('kernel.calls', 'ok', 'system calls', CALLS.map(([name]) => name).join(', '))
      : finding(
          'kernel.calls',
          'error',
          'system calls',
          `refused: ${missing.map(([name, since]) => `${name} (Linux ${since})`).join(', ')}`,
          hidden
            ? 'A seccomp filter hides them: tsbox runs in a container. Start that with --security-opt seccomp=unconfined.'
            : 'Use a kernel of 5.12 or later.',
        );
  return [
    finding('kernel.version', 'ok', 'kernel', `Linux ${facts.kernel}, ${facts.machine}`),
    calls,
    namespaces(facts),
    seccomp(facts),
    overlay(facts),
    idmapped(facts),
    fuse(facts),
  ];
}

function namespaces(facts: DoctorFacts): Finding {
  const refused = Object.entries(facts.namespaces).filter(([, outcome]) => outcome !== 'ok');
  const what = 'namespaces';
  const names = Object.keys(facts.namespaces).join(', ');
  if (refused.length === 0) return finding('kernel.namespaces', 'ok', what, names);
  const says = refused.map(([name, outcome]) => `${name}: ${outcome}`).join(', ');
  const absent = refused.every(([, outcome]) => outcome === 'EINVAL');
  const fix = absent
    ? 'This kernel was built without them; use one of the distribution.'
    : 'tsbox seems to run in a container: start that with --privileged, or run tsbox on the host.';
  return finding('kernel.namespaces', 'error', what, `cannot be made: ${says}`, fix);
}

function seccomp(facts: DoctorFacts): Finding {
  if (facts.calls['seccomp'] === 'ok') return finding('kernel.seccomp', 'ok', 'seccomp', 'system call filters work');
  const fix = 'Use a kernel with CONFIG_SECCOMP_FILTER, or run with --security-opt seccomp=unconfined.';
  return finding('kernel.seccomp', 'warning', 'seccomp', 'this kernel has no system call filters', fix);
}

function overlay({ overlay: { mount }, uid, roots, fuse: union }: DoctorFacts): Finding {
  const what = 'overlayfs';
  if (uid !== 0) return finding('kernel.overlay', 'ok', what, 'see user namespaces: without root it is mounted there');
  if (mount === 'ok') return finding('kernel.overlay', 'ok', what, `mounts in ${roots.data.at}`);
  if (mount === 'untried')
    return finding('kernel.overlay', 'note', what, `not tried: ${roots.data.at} is not writable`);
  const fix =
    mount === 'ENODEV'
      ? 'modprobe overlay'
      : 'Put the data root on ext4, xfs, btrfs or tmpfs: tsbox --data-root DIRECTORY, or TSBOX_ROOT.';
  const says = `cannot be mounted in ${roots.data.at}: ${mount}`;
  // Who may mount nothing may not mount a union either, nor a copy.
  if (mount === 'EPERM') return finding('kernel.overlay', 'error', what, says, fix);
  return withoutOverlay('kernel.overlay', what, says, fix, union);
}

/** What containers get instead. @param says why there is none @param union whether /dev/fuse can be opened */
export function withoutOverlay(id: string, what: string, says: string, fix: string, union: Outcome): Finding {
  if (union === 'ok') {
    return finding(id, 'note', what, `${says}; containers get the storage driver fuse, which is slower`, fix);
  }
  const copies = `${says}; each container gets a copy of all its files (storage driver vfs), which takes time and room`;
  return finding(id, 'warning', what, copies, fix);
}

function idmapped({ idmappedMounts, roots }: DoctorFacts): Finding {
  const what = 'idmapped mounts';
  if (idmappedMounts === 'ok')
    return finding('kernel.idmapped', 'ok', what, `on ${roots.data.fileSystem}, the data root`);
  if (idmappedMounts === 'untried')
    return finding('kernel.idmapped', 'note', what, 'not tried: needs root and unshare(1)');
  const says = `${roots.data.fileSystem} refuses them (${idmappedMounts}): user namespaces of root copy what a layer owns`;
  return finding(
    'kernel.idmapped',
    'note',
    what,
    says,
    'Put the data root on ext4, xfs or btrfs, with Linux 5.12 or later.',
  );
}

function fuse({ fuse: outcome }: DoctorFacts): Finding {
  const what = 'FUSE';
  if (outcome === 'ok') return finding('kernel.fuse', 'ok', what, '/dev/fuse can be opened');
  const fix = outcome === 'ENOENT' || outcome === 'ENODEV' ? 'modprobe fuse' : 'chmod 666 /dev/fuse';
  return finding(
    'kernel.fuse',
    'note',
    what,
    `/dev/fuse: ${outcome}; only the storage driver fuse needs it, where the kernel refuses an overlay`,
    fix,
  );
}

/** One finding; without a fix none is named. */
export function finding(id: string, level: Level, what: string, says: string, fix?: string): Finding {
  return { id, level, what, says, ...(fix !== undefined && { fix }) };
}
