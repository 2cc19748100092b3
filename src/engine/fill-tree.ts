/** The copy of its layers that a container gets under the storage driver vfs. */
import { chownSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { wrapError } from '../errors.ts';
import { copyMerged } from '../layer/copy-merged.ts';
import { ownersOutside } from '../layer/owners.ts';
import { hostRoot } from '../plan/userns.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { lockContainer } from '../store/change-container.ts';
import { readHostConfig } from '../store/containers.ts';
import { refusal, removeTree, withoutUmask } from '../store/io.ts';
import { type RwLayer, rwLayer } from '../store/rw-layers.ts';
import { noteOwners } from '../store/shifted.ts';
import { type Store, TEMPORARY } from '../store/store.ts';
import type { Lock } from '../sys/lock.ts';
import { syncFileSystem } from '../sys/sync.ts';
import { interruptible } from './interrupt.ts';
import { mapsOf } from './userns.ts';
import { directoryOf, stampOf, unionForm } from './whole-tree.ts';

/** Longest time without a look at what has arrived in the meantime. */
const TURN_MS = 30;

/** Copies the files of a container that was just made. Who looks at the container meanwhile waits, or is told.
 *  @throws SyscallError, ENOSPC among them; then there is no half a copy */
export async function fillTree(store: Store, id: string): Promise<void> {
  const held = lockContainer(store, id);
  try {
    await fillLocked(store, id, held);
  } finally {
    held.release();
  }
}

/** {@link fillTree} for who holds the container's lock. Does nothing where the copy is there, and begins anew where it was cut short. The
 *  tree has its name when it is complete. */
export async function fillLocked(store: Store, id: string, held: Lock): Promise<void> {
  if (existsSync(rwLayer(store, id).upper)) return;
  if (process.geteuid?.() === 0) return makeTree(store, id);
  await (await import('./fill-apart.ts')).fillApart(store, id, held);
}

/** For root, of a user namespace too, while somebody holds the container's lock. */
export function makeTree(store: Store, id: string): Promise<void> {
  return interruptible(async (signal) => {
    const layer = rwLayer(store, id);
    const hostConfig = readHostConfig(store, id);
    const half = `${directoryOf(layer)}/${TEMPORARY}tree`;
    try {
      removeTree(half);
      await copyInto(layer, half, mapsOf(hostConfig), signal);
      // Gone after a crash, its container is too.
      if (!hostConfig.AutoRemove) await syncFileSystem(half);
      writeFileSync(stampOf(layer), '', { mode: 0o644 });
      renameSync(half, layer.upper);
    } catch (error) {
      removeTree(half);
      throw wrapError("copy the container's files", refusal('make the copy', error));
    }
  });
}

/** @param half the new directory @throws the signal's reason */
async function copyInto(layer: RwLayer, half: string, maps: IdMaps | undefined, signal: AbortSignal): Promise<void> {
  withoutUmask(() => mkdirSync(half, 0o755));
  if (maps !== undefined) {
    const { uid, gid } = hostRoot(maps);
    chownSync(half, uid, gid);
    noteOwners(directoryOf(layer), maps);
  }
  const owners = maps && ownersOutside(maps);
  let turn = performance.now();
  for (const _ of copyMerged(layer.below, half, { form: unionForm(), owners })) {
    if (performance.now() - turn < TURN_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
    turn = performance.now();
  }
}
