/** Removes a container and all that belongs to it. */
import { TsboxError } from '../errors.ts';
import { cgroupCleanup } from '../plan/cgroup.ts';
import { interpret } from '../runtime/interpret.ts';
import { removeContainerFiles } from '../store/change-container.ts';
import { requireContainer } from '../store/containers.ts';
import { rwLayer } from '../store/rw-layers.ts';
import { containerState } from '../store/state.ts';
import { containerDirectory, runDirectory } from '../store/store.ts';
import { lock } from '../sys/lock.ts';
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

/** What a monitor that was killed could not clean up: mount, cgroups, run directory. */
export function cleanLeftovers(engine: Engine, id: string): void {
  const layer = rwLayer(engine.store, id);
  interpret([
    ...cgroupCleanup(cgroupsPath(id), hostFacts()),
    ...engine.store.driver.umountSteps(layer.mountId),
    {
      op: 'remove_tree',
      path: runDirectory(engine.store, id),
      why: 'what only a running container has',
      onError: { ENOENT: 'skip' },
    },
  ]);
}

/** @throws ERR_TSBOX_CONFLICT when it runs and `force` is not given */
export async function removeContainer(engine: Engine, name: string, options: { force: boolean }): Promise<void> {
  const { store } = engine;
  const record = requireContainer(store, name);
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
  const held = lock(containerDirectory(store, record.ID));
  try {
    cleanLeftovers(engine, record.ID);
  } finally {
    held.release();
  }
  removeContainerFiles(store, record.ID);
}
