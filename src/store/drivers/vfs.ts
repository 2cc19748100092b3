/**
 * No union at all, for where neither the kernel's nor that from user space can be had: a container gets a copy of all its files when it is
 * made (engine/fill-tree.ts), which is its tree from then on. Only that has to be mounted, on itself.
 */
import { TsboxError } from '../../errors.ts';
import type { Step } from '../../plan/step.ts';
import { text } from '../../plan/text.ts';
import type { Driver, LayerMount } from './driver.ts';
import { overlay2Driver } from './overlay2.ts';

/** @param reason see {@link Driver} */
export function vfsDriver(home: string, reason: string): Driver {
  // What takes away a mount does not ask what it is.
  const { mergedPath, umountSteps, unplaceSteps } = overlay2Driver(home, reason);
  return {
    name: 'vfs',
    reason,
    mapsOwners: false,
    copies: true,
    mergedPath,
    umountSteps,
    unplaceSteps,
    mountSteps: (layer) => mountSteps(home, reason, layer),
    viewSteps() {
      throw needsUnion();
    },
  };
}

function needsUnion(): TsboxError {
  const hint =
    'Start it where the kernel has overlay or /dev/fuse can be opened, or say so: --storage-driver overlay2 or fuse. There "tsbox commit" makes an image of it, which runs everywhere.';
  const message = 'the container was made for a union of layers, which the storage driver vfs has not';
  return new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { hint, exitCode: 125 });
}

function mountSteps(home: string, reason: string, { mountId, whole }: LayerMount): Step[] {
  if (whole !== true) throw needsUnion();
  const merged = text`${home}/${mountId}/merged`;
  return [
    {
      op: 'mkdir',
      path: merged,
      mode: 0o700,
      why: "a place for the container's root",
      onError: { EEXIST: 'skip' },
    },
    {
      op: 'mount',
      source: text`${home}/${mountId}/diff`,
      target: merged,
      type: '',
      flags: ['MS_BIND'],
      data: '',
      why: `the container's own copy of all its files; what it writes goes there. Storage driver vfs: ${reason}`,
      see: 'mount(2)',
    },
    {
      op: 'mount',
      source: 'none',
      target: merged,
      type: '',
      flags: ['MS_REMOUNT', 'MS_BIND'],
      data: '',
      why: 'programs with a set-user-ID bit and devices work there, also where the data root is mounted with nosuid or nodev',
      // Flags that a user namespace may not take off.
      onError: { EPERM: 'skip' },
    },
  ];
}
