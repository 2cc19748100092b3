/**
 * A container's removal as steps, for the monitor of a `--rm` container, which has no TypeScript at hand. `rm` does the same by way of
 * the store. The name goes first: later it could be another container's. A crash in between leaves what the store's garbage
 * collection knows.
 */
import type { Step } from '../plan/step.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { containerDirectory, mountEntry, REMOVING } from '../store/store.ts';
import type { Engine } from './open.ts';

const GONE = { ENOENT: 'skip' } as const;

function unlink(path: string, why: string): Step {
  return { op: 'unlink', path, why, onError: GONE };
}

function removeTree(path: string, why: string): Step {
  return { op: 'remove_tree', path, why, onError: GONE };
}

/** Everything that `create` made, and what running it added. Its tree is unmounted already. */
export function removalSteps(engine: Engine, record: ContainerRecord, layer: RwLayer): Step[] {
  const { store } = engine;
  const directory = containerDirectory(store, record.ID);
  const retired = `${directory}${REMOVING}`;
  return [
    unlink(`${store.names}${record.Name}`, 'the name is free again'),
    {
      op: 'rename',
      from: directory,
      to: retired,
      why: 'from here on nobody finds the container any more',
      onError: GONE,
    },
    unlink(`${store.overlay}/l/${layer.link}`, 'the short name of the read-write layer'),
    unlink(`${store.overlay}/l/${layer.initLink}`, 'the short name of the init layer'),
    removeTree(`${store.overlay}/${layer.mountId}`, 'what the container wrote'),
    removeTree(`${store.overlay}/${layer.initId}`, 'its init layer'),
    removeTree(mountEntry(store, record.ID), "the image's layers have one user less"),
    removeTree(retired, "the container's files"),
  ];
}
