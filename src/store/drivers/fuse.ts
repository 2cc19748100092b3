/**
 * The union from user space, for where the kernel refuses its own: directories, short names and marks are those of overlay2, so that a
 * container is mounted by either. Its process is started by the mount step and ends with the mount, whoever unmounts.
 */
import { TsboxError } from '../../errors.ts';
import type { Step } from '../../plan/step.ts';
import { text } from '../../plan/text.ts';
import { overlayFromCopies } from '../shifted.ts';
import type { Driver, LayerMount } from './driver.ts';
import { overlay2Driver } from './overlay2.ts';

/** @param program tsbox-union
 *  @param reason see {@link Driver} */
export function fuseDriver(home: string, program: string, reason: string): Driver {
  // What takes away a mount does not ask what it is.
  const { mergedPath, umountSteps, unplaceSteps } = overlay2Driver(home, reason);
  return {
    name: 'fuse',
    reason,
    mapsOwners: false,
    mergedPath,
    umountSteps,
    unplaceSteps,
    mountSteps: (layer) => mountSteps(home, program, reason, layer),
    viewSteps: ({ home: layers, lower, place }) => [
      { op: 'chdir', path: layers, why: 'the names of the layers are relative to here' },
      {
        op: 'run',
        args: [program, '-o', `apart,ro,lowerdir=${lower}`, place],
        why: 'all layers below, nothing above: read-only',
        see: 'fuse(4)',
      },
    ],
  };
}

function mountSteps(home: string, program: string, reason: string, layer: LayerMount): Step[] {
  const { mountId, lower, shifted, mapped, userxattr } = layer;
  if (mapped !== undefined) throw new Error('the driver fuse maps no owners');
  if (userxattr === true) {
    const hint = "Without root use the kernel's overlay: --storage-driver overlay2.";
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', 'the storage driver fuse needs root', { hint, exitCode: 125 });
  }
  const merged = text`${home}/${mountId}/merged`;
  const own = shifted === undefined ? mountId : text`${overlayFromCopies(home)}/${mountId}`;
  return [
    {
      op: 'rmdir',
      path: merged,
      why: 'a union that a killed tsbox has left somewhere ends when its mount point goes',
      onError: { ENOENT: 'skip' },
    },
    { op: 'mkdir', path: merged, mode: 0o700, why: 'a place for the merged tree' },
    {
      op: 'chdir',
      path: shifted === undefined ? home : shifted.home,
      why:
        shifted === undefined
          ? 'the names of the layers are relative to here'
          : 'the same short names lead to copies of the layers with the owners of outside',
    },
    {
      op: 'run',
      args: [
        program,
        '-o',
        text`apart,lowerdir=${lower},upperdir=${own}/diff,workdir=${own}/work`,
        // In full: so it is known from a list of processes whose it is.
        merged,
      ],
      why: `the image's layers below, read-only; what the container writes goes to the upper directory. Storage driver fuse: ${reason}`,
      see: 'fuse(4)',
    },
    { op: 'chdir', path: '/', why: 'nothing but the union holds the layers' },
  ];
}
