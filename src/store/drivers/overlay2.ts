/** The kernel's overlay file system, with Docker's directories and short names. @see overlayfs.rst in the kernel's documentation */
import { readFileSync } from 'node:fs';
import { TsboxError } from '../../errors.ts';
import type { Step } from '../../plan/step.ts';
import { type Text, text } from '../../plan/text.ts';
import { overlayFromCopies } from '../shifted.ts';
import type { Driver, LayerMount, LayerView, MappedMount, ShiftedMount } from './driver.ts';

/** mount(2) copies one page of options, the final NUL within it. */
const OPTIONS_MAX = 4095;
/** The longest value that a hole in the options can get: a mount id. */
const HOLE_LENGTH = 64;
/** Options of the kernel's own that would leave in the upper directory what no layer can carry (redirects, origins, metadata-only
 *  copies). They are taken off where the host has turned them on. */
const UNWANTED = ['index', 'redirect_dir', 'metacopy'] as const;

function isOn(parameter: string): boolean {
  try {
    return readFileSync(`/sys/module/overlay/parameters/${parameter}`, 'utf8').startsWith('Y');
  } catch {
    return false; // a module that is not loaded yet, or a kernel that does not know the option
  }
}

function textLength(value: Text): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  return value.reduce((sum, part) => sum + (typeof part === 'string' ? Buffer.byteLength(part) : HOLE_LENGTH), 0);
}

/** The driver whose directories are in `home` (`<data-root>/overlay2`).
 *  @param reason see {@link Driver}
 *  @param isDefault says which of the kernel's options are on by default; read from /sys when absent */
export function overlay2Driver(home: string, reason: string, isDefault: (option: string) => boolean = isOn): Driver {
  const mergedPath = (mountId: Text) => text`${home}/${mountId}/merged`;
  return {
    name: 'overlay2',
    reason,
    mapsOwners: true,
    copies: false,
    mergedPath,
    mountSteps: (layer) => mountSteps(home, reason, layer, isDefault),
    viewSteps,
    umountSteps: (mountId, place) => [
      ...(place === undefined ? [] : takeAway(place, 'mapped layers are of use while the tree is being mounted only')),
      {
        op: 'umount',
        target: mergedPath(mountId),
        flags: ['MNT_DETACH'],
        why: 'take the merged tree away; what was written stays in the upper directory',
        onError: { EINVAL: 'skip', ENOENT: 'skip' },
      },
      unplace(mergedPath(mountId)),
    ],
    unplaceSteps: (mountId) => [unplace(mergedPath(mountId))],
  };
}

function unplace(path: Text): Step {
  return {
    op: 'rmdir',
    path,
    why: 'the mount point is there only while something is mounted on it',
    onError: { ENOENT: 'skip' },
  };
}

function mountSteps(home: string, reason: string, layer: LayerMount, isDefault: (option: string) => boolean): Step[] {
  const off = UNWANTED.filter(isDefault)
    .map((option) => `${option}=off,`)
    .join('');
  const { mountId, lower } = layer;
  const volatile = layer.discard === true ? 'volatile,' : '';
  const user = layer.userxattr === true ? 'userxattr,' : '';
  const own = layer.shifted === undefined ? mountId : text`${overlayFromCopies(home)}/${mountId}`;
  const data = text`${off}${user}${volatile}lowerdir=${lower},upperdir=${own}/diff,workdir=${own}/work`;
  if (textLength(data) > OPTIONS_MAX) {
    throw new TsboxError(
      'ERR_TSBOX_LIMIT',
      `mount overlay: ${textLength(data)} bytes of options, mount(2) takes ${OPTIONS_MAX}`,
      { hint: 'The image has too many layers for one overlay. Flatten it with `export` and `import`.' },
    );
  }
  // Relative names where the working directory is the store's own, and not another sight of it.
  const elsewhere = layer.mapped !== undefined || layer.shifted !== undefined;
  const merged = elsewhere ? text`${home}/${mountId}/merged` : text`${mountId}/merged`;
  const makePlace: Step = {
    op: 'mkdir',
    path: merged,
    mode: 0o700,
    why: 'a place for the merged tree',
    onError: { EEXIST: 'skip' },
  };
  const mount: Step = {
    op: 'mount',
    source: 'overlay',
    target: merged,
    type: 'overlay',
    flags: [],
    data,
    why: `the image's layers below, read-only; what the container writes goes to the upper directory. Storage driver overlay2: ${reason}`,
    see: 'overlayfs.rst',
  };
  if (layer.mapped !== undefined) return [makePlace, ...mappedMount(home, layer.mapped, mount)];
  if (layer.shifted !== undefined) return [makePlace, ...shiftedMount(layer.shifted, mount)];
  const stand: Step = {
    op: 'chdir',
    path: home,
    why: 'the names of the layers are relative to here, and so fit into one page of options',
  };
  return [stand, makePlace, mount];
}

function viewSteps({ home, lower, place, userxattr }: LayerView): Step[] {
  return [
    { op: 'chdir', path: home, why: 'the names of the layers are relative to here' },
    {
      op: 'mount',
      source: 'overlay',
      target: place,
      type: 'overlay',
      flags: ['MS_RDONLY'],
      data: `${userxattr === true ? 'userxattr,' : ''}lowerdir=${lower}`,
      why: 'all layers below, nothing above: read-only',
      see: 'overlayfs.rst',
    },
  ];
}

/** A place and what is mounted on it. */
function takeAway(place: Text, why: string): Step[] {
  return [
    { op: 'umount', target: place, flags: ['MNT_DETACH'], why, onError: { EINVAL: 'skip', ENOENT: 'skip' } },
    { op: 'rmdir', path: place, why: 'its place', onError: { ENOENT: 'skip' } },
  ];
}

/** An open tree that no other step of the list has. */
const SLOT = 255;
/** @see capabilities(7), securebits */
const SECBIT_NO_SETUID_FIXUP = 4;

/**
 * The whole of overlay2/ is seen once more through the user namespace's maps, and the overlay's layers, the upper one too, are taken from
 * there: so on disk are the owners that the container sees, whatever its map is. Overlay makes files of its own as whoever mounts it:
 * that must be an id that the map has, and a change of the file system ids must not cost the capabilities that belong to root.
 * An overlay itself cannot be mapped (Linux 6.18).
 */
function mappedMount(home: string, { userns, uid, gid, place }: MappedMount, mount: Step): Step[] {
  return [
    {
      op: 'open_tree',
      slot: SLOT,
      path: home,
      flags: ['OPEN_TREE_CLONE'],
      why: 'all layers once more, as a mount of their own',
    },
    {
      op: 'idmap',
      slot: SLOT,
      userns,
      why: 'seen through it, the files have the owners that the container gives them',
    },
    { op: 'mkdir', path: place, mode: 0o700, why: 'a place for that mount', onError: { EEXIST: 'skip' } },
    {
      op: 'move_mount',
      slot: SLOT,
      target: place,
      flags: [],
      why: 'overlay takes layers from mounts that have a place',
    },
    { op: 'chdir', path: place, why: 'the names of the layers are relative to here: they are the mapped ones' },
    ...asMappedRoot(uid, gid, mount),
    { op: 'chdir', path: '/', why: 'nothing holds the mapped layers any more but the overlay' },
    ...takeAway(place, 'overlay has its own hold of the layers'),
  ];
}

/** What overlay makes for itself belongs to whoever mounts it, as long as it is mounted. */
function asMappedRoot(uid: number, gid: number, mount: Step): Step[] {
  const securebits = (value: number, why: string): Step => ({ op: 'prctl', option: ['PR_SET_SECUREBITS'], value, why });
  return [
    securebits(SECBIT_NO_SETUID_FIXUP, 'another file system id than 0 would cost capabilities'),
    {
      op: 'setfsid',
      uid,
      gid,
      why: 'what overlay makes for itself belongs to whoever mounts it: an id that the map has',
    },
    mount,
    { op: 'setfsid', uid: 0, gid: 0, why: 'root again' },
    securebits(0, 'as before'),
  ];
}

/** Files have the owners of outside on disk: layers as copies that were made for that, and what the container writes by itself. */
function shiftedMount({ home, uid, gid }: ShiftedMount, mount: Step): Step[] {
  return [
    {
      op: 'chdir',
      path: home,
      why: 'this host cannot map the owners of files: the same short names lead to copies of the layers with the owners of outside',
    },
    ...asMappedRoot(uid, gid, mount),
    { op: 'chdir', path: '/', why: 'nothing holds the copies any more but the overlay' },
  ];
}
