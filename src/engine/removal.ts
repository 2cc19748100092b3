/**
 * A container's removal as steps, for the monitor of a `--rm` container, which has no TypeScript at hand. `rm` does the same by way of
 * the store. The name goes first: later it could be another container's. A crash in between leaves what the store's garbage
 * collection knows.
 */
import type { Step } from '../plan/step.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { shiftedHome } from '../store/shifted.ts';
import { containerDirectory, mountEntry, REMOVING } from '../store/store.ts';
import { asNamespaceRoot } from '../sys/own-ids.ts';
import type { Engine } from './open.ts';

const GONE = { ENOENT: 'skip' } as const;

function unlink(path: string, why: string): Step {
  return { op: 'unlink', path, why, onError: GONE };
}

function removeTree(path: string, why: string): Step {
  return { op: 'remove_tree', path, why, onError: GONE };
}

/** Overlay leaves directories without any permissions in its work directory. Root needs none; their owner has to give himself some. */
export function openWork(work: string): Step[] {
  const why = 'overlay has left it without permissions';
  const step = (path: string): Step => ({ op: 'chmod', path, mode: 0o700, why, onError: GONE });
  return ['work', 'work/incompat', 'work/incompat/volatile'].map((directory) => step(`${work}/${directory}`));
}

/** What an ordinary user's container wrote may belong to his subordinate ids: what he cannot remove is removed by root of a user namespace
 *  that has them. */
function removeWritten(path: string): Step[] {
  const why = 'what the container wrote';
  if (process.geteuid?.() === 0) return [removeTree(path, why)];
  const asRoot = asNamespaceRoot(['/bin/rm', '-rf', '--one-file-system', '--', path]);
  return [
    ...openWork(`${path}/work`),
    { op: 'remove_tree', path, why, onError: { ...GONE, EACCES: 'skip', EPERM: 'skip', ENOTEMPTY: 'skip' } },
    {
      op: 'run',
      args: ['/bin/sh', '-c', 'test ! -e "$0" || exec "$@"', path, ...asRoot],
      why: 'what is left of it belongs to subordinate ids: root of a user namespace that has them may remove it',
    },
  ];
}

/** Everything that `create` made, and what running it added. Its tree is unmounted already.
 *  @param owners the map for which its layers are copied, if they are */
export function removalSteps(engine: Engine, record: ContainerRecord, layer: RwLayer, owners?: IdMaps): Step[] {
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
    ...removeWritten(`${store.overlay}/${layer.mountId}`),
    removeTree(`${store.overlay}/${layer.initId}`, 'its init layer'),
    ...(owners === undefined
      ? []
      : [removeTree(`${shiftedHome(store, owners)}/l/${layer.initLink}`, 'its copy for the user namespace')]),
    removeTree(mountEntry(store, record.ID), "the image's layers have one user less"),
    removeTree(retired, "the container's files"),
  ];
}
