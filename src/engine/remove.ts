/** Removes a container and all that belongs to it. */
import { isErrno, TsboxError } from '../errors.ts';
import { cgroupCleanup } from '../plan/cgroup.ts';
import type { Step } from '../plan/step.ts';
import { interpret } from '../runtime/interpret.ts';
import type { ContainerRecord } from '../spec/container.ts';
import { removeContainerFiles } from '../store/change-container.ts';
import { findContainerId, requireContainer } from '../store/containers.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import { containerDirectory, runDirectory, type Store } from '../store/store.ts';
import { type Lock, lock } from '../sys/lock.ts';
import { hostFacts } from '../sys/probe.ts';
import { cgroupsPath } from './oci.ts';
import type { Engine } from './open.ts';
import { killContainer } from './stop.ts';
import { waitContainer } from './wait.ts';

const SIGKILL = 9;

async function killAndWait(engine: Engine, id: string): Promise<void> {
  const ended = waitContainer(engine, id);
  try {
    killContainer(engine, id, SIGKILL);
  } catch (error) {
    if (!(error instanceof TsboxError && error.code === 'ERR_TSBOX_CONFLICT')) throw error;
  }
  await ended;
}

/** A container whose layers are gone or damaged has nothing mounted, and must be removable all the same. */
function umountSteps(engine: Engine, id: string): Step[] {
  try {
    return engine.store.driver.umountSteps(rwLayer(engine.store, id).mountId);
  } catch (error) {
    const missing = error instanceof TsboxError && ['ERR_TSBOX_NOT_FOUND', 'ERR_TSBOX_DAMAGED'].includes(error.code);
    if (missing) return [];
    throw error;
  }
}

/** What a monitor that was killed could not clean up: cgroups, mount, run directory. */
export function cleanLeftovers(engine: Engine, id: string): void {
  interpret([
    ...cgroupCleanup(cgroupsPath(id), hostFacts()),
    ...umountSteps(engine, id),
    {
      op: 'remove_tree',
      path: runDirectory(engine.store, id),
      why: 'what only a running container has',
      onError: { ENOENT: 'skip' },
    },
  ]);
}

/** @returns false when the container is gone: one that was run with --rm is removed by its monitor */
function cleanUnderLock(engine: Engine, id: string): boolean {
  let held: Lock;
  try {
    held = lock(containerDirectory(engine.store, id));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
  try {
    cleanLeftovers(engine, id);
    return true;
  } finally {
    held.release();
  }
}

/** The record, or only the id of a container whose files cannot be read: such a one does not run, and must be removable. */
function recordOrDamaged(store: Store, name: string): ContainerRecord | string {
  try {
    return requireContainer(store, name);
  } catch (error) {
    const damaged = error instanceof TsboxError && error.code === 'ERR_TSBOX_DAMAGED';
    const id = damaged ? findContainerId(store, name) : undefined;
    if (id === undefined) throw error;
    return id;
  }
}

/** @throws ERR_TSBOX_CONFLICT when it runs and `force` is not given */
export async function removeContainer(engine: Engine, name: string, options: { force: boolean }): Promise<void> {
  const { store } = engine;
  const record = recordOrDamaged(store, name);
  if (typeof record === 'string') {
    if (cleanUnderLock(engine, record)) removeContainerFiles(store, record);
    return;
  }
  const state = containerState(store, record);
  if (state.Running) {
    if (!options.force) {
      const paused = state.Paused ? 'paused' : 'running';
      throw new TsboxError(
        'ERR_TSBOX_CONFLICT',
        `cannot remove a ${paused} container ${record.ID}: stop the container before attempting removal or force remove`,
      );
    }
    await killAndWait(engine, record.ID);
  }
  if (!cleanUnderLock(engine, record.ID)) return;
  removeContainerFiles(store, record.ID);
}
