/**
 * The union from user space, for where the kernel refuses its own: directories, short names and marks are those of overlay2, so that a
 * container is mounted by either. Its process is started by the mount step and ends with the mount, whoever unmounts.
 */
import type { Step } from '../../plan/step.ts';
import { hole, type Text, text } from '../../plan/text.ts';
import { requireBuiltFile } from '../../sys/built-file.ts';
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
    copies: false,
    mergedPath,
    umountSteps,
    unplaceSteps: (mountId, lock) => [
      { op: 'run', args: [requireBuiltFile('tsbox-keeper'), '--wait', lock], why: 'what served its files has ended' },
      { op: 'unlink', path: lock, why: 'none is held, and none is missed', onError: { ENOENT: 'skip' } },
      ...unplaceSteps(mountId, lock),
    ],
    mountSteps: (layer) => mountSteps(home, program, reason, layer),
    viewSteps: ({ home: layers, lower, place, userxattr }) => [
      { op: 'chdir', path: layers, why: 'the names of the layers are relative to here' },
      {
        op: 'run',
        args: [program, '-o', `apart,ro,${userxattr === true ? 'userxattr,' : ''}lowerdir=${lower}`, place],
        why: 'all layers below, nothing above: read-only',
        see: 'fuse(4)',
      },
    ],
  };
}

function mountSteps(home: string, program: string, reason: string, layer: LayerMount): Step[] {
  const { mountId, lower, shifted, mapped, userxattr, lock, inside } = layer;
  if (mapped !== undefined) throw new Error('the driver fuse maps no owners');
  const merged = text`${home}/${mountId}/merged`;
  const own = shifted === undefined ? mountId : text`${overlayFromCopies(home)}/${mountId}`;
  const user = userxattr === true ? ',userxattr' : '';
  const held = lock === undefined || inside === true ? '' : text`,lock=${escaped(lock)}`;
  const union: Text[] = [
    program,
    '-o',
    text`apart${user}${held},lowerdir=${lower},upperdir=${own}/diff,workdir=${own}/work`,
    // In full: so it is known from a list of processes whose it is.
    merged,
  ];
  const why = `the image's layers below, read-only; what the container writes goes to the upper directory. Storage driver fuse: ${reason}`;
  const place: Step[] = [
    {
      op: 'rmdir',
      path: merged,
      why: 'a union that a killed tsbox has left somewhere ends when its mount point goes',
      onError: { ENOENT: 'skip' },
    },
    { op: 'mkdir', path: merged, mode: 0o700, why: 'a place for the merged tree' },
  ];
  if (inside === true) {
    if (lock === undefined) throw new Error('a union inside has a lock');
    return [...place, served(lock, home, merged, union, why)];
  }
  return [
    ...place,
    {
      op: 'chdir',
      path: shifted === undefined ? home : shifted.home,
      why:
        shifted === undefined
          ? 'the names of the layers are relative to here'
          : 'the same short names lead to copies of the layers with the owners of outside',
    },
    { op: 'run', args: union, why, see: 'fuse(4)' },
    { op: 'chdir', path: '/', why: 'nothing but the union holds the layers' },
  ];
}

/** In a list of options. */
function escaped(value: Text): Text {
  const plain = (part: string) => part.replace(/[\\,]/g, '\\$&');
  return typeof value === 'string'
    ? plain(value)
    : value.map((part) => (typeof part === 'string' ? plain(part) : part));
}

/** The monitor starts it, so that it is no process of the container, and it goes into the user namespace of that: there it may mount, and
 *  gives files to all ids that the container has. */
function served(lock: Text, home: string, merged: Text, union: readonly Text[], why: string): Step {
  const pid = hole('pid');
  const entered = [requireBuiltFile('tsbox-userns'), 'fuse', text`${pid}`, home, merged, ...union];
  const run: Step = {
    op: 'run',
    args: [requireBuiltFile('tsbox-keeper'), text`${pid}`, lock, '--', ...entered],
    why,
    see: 'fuse(4), user_namespaces(7)',
  };
  return {
    op: 'outside',
    list: [run],
    why: 'what serves the files is in the user namespace of the container, and none of its processes; it is ended with the container',
  };
}
