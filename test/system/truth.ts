/** For tests that kill: what `ps -a` says is held against what there is. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openEngine } from '../../src/engine/open.ts';
import { listContainers } from '../../src/store/containers.ts';
import { containerState, readRun } from '../../src/store/state.ts';
import { PATIENCE, type Sandbox } from './harness.ts';

export const pause = (milliseconds: number) => new Promise((wake) => setTimeout(wake, milliseconds));

/** SIGKILL, for one that may have ended. */
export function kill(pid: number | undefined): void {
  if (pid === undefined || pid <= 0) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

/** Hierarchies of cgroups that a container may be in. */
function cgroupsOf(id: string): string[] {
  const root = '/sys/fs/cgroup';
  return [root, ...readdirSync(root).map((name) => join(root, name))].map((place) => join(place, `tsbox-${id}`));
}

const processesOf = (id: string): string[] =>
  cgroupsOf(id).flatMap((path) => {
    try {
      return readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean);
    } catch {
      return [];
    }
  });

/** What is not so as `ps -a` says. */
function lies(box: Sandbox): string[] {
  const { store } = openEngine(box);
  return listContainers(store).flatMap((record) => {
    const state = containerState(store, record);
    const at = `${record.Name} ${state.Status} (${state.Pid})`;
    if (state.Status === 'running' && !isAlive(state.Pid)) return [`${at}: its process is gone`];
    if (state.Status === 'running' && !isAlive(readRun(store, record.ID)?.Monitor ?? 0)) return [`${at}: no monitor`];
    if (state.Status === 'restarting' && state.Pid !== 0) return [`${at}: two at once`];
    if (!state.Running && processesOf(record.ID).length > 0) return [`${at}: ${processesOf(record.ID)} run`];
    return [];
  });
}

/** A start, an end and a kill take a moment until all of it can be seen. */
export async function truth(box: Sandbox, said: string): Promise<void> {
  for (const end = performance.now() + PATIENCE * 30_000; ; await pause(20)) {
    const seen = lies(box);
    if (seen.length === 0) return;
    if (performance.now() > end) assert.deepEqual(seen, [], said);
  }
}
