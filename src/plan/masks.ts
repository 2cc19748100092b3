/** What of /proc and /sys a container must not see or change. Pure. @see runtime-spec config-linux.md, Masked and Readonly Paths */
import type { PathKind } from './mounts.ts';
import type { Step } from './step.ts';

const MASK_WHY = 'it tells about the host, or changes it: covered';

function openNull(slot: number): Step {
  return {
    op: 'open_device',
    slot,
    path: '/dev/null',
    major: 1,
    minor: 3,
    why: 'to cover a file with; no link to another file is taken for it',
  };
}

function maskFile(path: string, slot: number): Step {
  return {
    op: 'move_mount',
    slot,
    target: path,
    flags: [],
    why: MASK_WHY,
    onError: { ENOENT: 'skip', ENOTDIR: 'skip' },
  };
}

function maskDirectory(path: string): Step {
  return {
    op: 'mount',
    source: 'tmpfs',
    target: path,
    type: 'tmpfs',
    flags: ['MS_RDONLY'],
    data: '',
    why: MASK_WHY,
    onError: { ENOENT: 'skip', ENOTDIR: 'skip' },
  };
}

function readOnly(path: string): Step[] {
  return [
    {
      op: 'mount',
      source: path,
      target: path,
      type: '',
      flags: ['MS_BIND', 'MS_REC'],
      data: '',
      why: 'a mount of its own, so that it can be made read-only',
      onError: { ENOENT: 'skip' },
    },
    {
      op: 'mount_setattr',
      target: path,
      at: ['AT_RECURSIVE'],
      set: ['MOUNT_ATTR_RDONLY'],
      clear: [],
      propagation: [],
      why: 'to be read and not to be written',
      onError: { ENOENT: 'skip' },
    },
  ];
}

export interface MaskSteps {
  /** When /dev is as it was made. */
  open: Step[];
  /** When all mounts are there. */
  cover: Step[];
}

/** `kinds` says what a path is on the host, whose /proc and /sys the container's resemble; of an unknown path both forms are tried, and
 *  the kernel takes the one that fits. What the host does not have is left out.
 *  @param slot the first one that is free */
export function maskSteps(
  masked: readonly string[],
  readonly: readonly string[],
  kinds: ReadonlyMap<string, PathKind>,
  slot: number,
): MaskSteps {
  const steps: MaskSteps = { open: [], cover: [] };
  for (const path of readonly) if (kinds.get(path) !== 'absent') steps.cover.push(...readOnly(path));
  for (const path of masked) {
    const kind = kinds.get(path);
    if (kind === 'absent') continue;
    if (kind !== 'directory') {
      const own = slot + steps.open.length;
      steps.open.push(openNull(own));
      steps.cover.push(maskFile(path, own));
    }
    if (kind !== 'file') steps.cover.push(maskDirectory(path));
  }
  return steps;
}
