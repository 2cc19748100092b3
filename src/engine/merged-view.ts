/**
 * The tree of a container that is not mounted, to read from: its layers as lower directories of an overlay of their own. It is taken
 * out of the mount table at once and lives on in a descriptor, so that not even a kill leaves it behind.
 */
import { openSync } from 'node:fs';
import type { Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import { readText } from '../store/io.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { overlayFromCopies, shiftedHome } from '../store/shifted.ts';
import type { Store } from '../store/store.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { randomHex } from '../sys/random.ts';
import { wholeTree } from './whole-tree.ts';

/** Mounts the container's layers read-only. Whoever starts the container meanwhile is not in the way: nothing is written.
 *  @returns a descriptor of the tree's root, for the caller to close @throws SyscallError */
export function openMerged(store: Store, layer: RwLayer): number {
  if (layer.whole === true) return openSync(wholeTree(layer), 'r');
  const link = readText(`${store.overlay}/${layer.mountId}/link`) ?? '';
  const place = `${store.dataRoot}/tmp/.tmp-merged-${randomHex(8)}`;
  // All with the same owners: those of outside when the upper one has them.
  const home = layer.owners === undefined ? store.overlay : shiftedHome(store, layer.owners);
  const upper = layer.owners === undefined ? `l/${link}` : `${overlayFromCopies(store.overlay)}/l/${link}`;
  const why = 'read the files of a container that is not mounted';
  const setup: Step[] = [
    { op: 'mkdir', path: `${store.dataRoot}/tmp`, mode: 0o700, why, onError: { EEXIST: 'skip' } },
    { op: 'mkdir', path: place, mode: 0o700, why },
    ...store.driver.viewSteps({ home, lower: `${upper}:${layer.lower}`, place, userxattr: !isHostRoot() }),
  ];
  const cleanup: Step[] = [
    {
      op: 'umount',
      target: place,
      flags: ['MNT_DETACH'],
      why: 'the descriptor keeps the tree',
      onError: { EINVAL: 'skip', ENOENT: 'skip' },
    },
    { op: 'rmdir', path: place, why: 'a place is needed for the mount only', onError: { ENOENT: 'skip' } },
  ];
  try {
    interpret(setup);
    return openSync(place, 'r');
  } finally {
    interpret(cleanup, { keepGoing: true });
  }
}
