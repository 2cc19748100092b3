/** Stops a container's processes for a moment by its cgroup. @see cgroup-v2.rst, cgroup.freeze; freezer-subsystem.rst */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno, TsboxError, wrapError } from '../errors.ts';
import type { CgroupHierarchy } from '../spec/host.ts';
import { type Store, shortId } from '../store/store.ts';
import { monotonicMs } from '../sys/clock.ts';
import { containerCgroup, containerFacts } from './cgroup-path.ts';
import { runHasEnded } from './settle.ts';

/** How one version of cgroups is told, and how it says that it is done. */
interface Freezer {
  control: string;
  freeze: string;
  thaw: string;
  isFrozen(): boolean;
}

const PATIENCE_MS = 10_000;
const POLL_MS = 2;

function freezerIn({ mount, version, controllers }: CgroupHierarchy, path: string): Freezer | undefined {
  const directory = `${mount}${path}`;
  if (version === 2) {
    const events = `${directory}/cgroup.events`;
    return {
      control: `${directory}/cgroup.freeze`,
      freeze: '1',
      thaw: '0',
      isFrozen: () => /^frozen 1$/m.test(readFileSync(events, 'utf8')),
    };
  }
  if (!controllers.includes('freezer')) return undefined;
  const state = `${directory}/freezer.state`;
  return {
    control: state,
    freeze: 'FROZEN',
    thaw: 'THAWED',
    isFrozen() {
      if (readFileSync(state, 'utf8').trim() === 'FROZEN') return true;
      // Processes that were forked meanwhile are frozen by asking again.
      writeFileSync(state, 'FROZEN');
      return false;
    },
  };
}

/** That of version 2 first, if it can freeze, then the freezer of version 1. */
function findFreezers(store: Store, id: string): Freezer[] {
  const path = containerCgroup(store, id);
  return [...containerFacts(store, id).hierarchies]
    .sort((a, b) => b.version - a.version)
    .map((hierarchy) => freezerIn(hierarchy, path))
    .filter((freezer) => freezer !== undefined)
    .filter((freezer) => existsSync(freezer.control));
}

/** @returns false when the cgroup is gone */
async function untilFrozen(freezer: Freezer): Promise<boolean> {
  try {
    for (const end = monotonicMs() + PATIENCE_MS; !freezer.isFrozen(); await sleep(POLL_MS)) {
      if (monotonicMs() > end)
        throw new TsboxError('ERR_TSBOX_CONFLICT', `some processes do not stop within ${PATIENCE_MS / 1000} s`);
    }
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** @returns undefined for a container that has ended meanwhile: the cgroup goes with its last process, a moment before its end is recorded */
function freezerOf(store: Store, id: string, hint: string): Freezer | undefined {
  const [freezer] = findFreezers(store, id);
  if (freezer !== undefined || runHasEnded(store, id)) return freezer;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `pause ${shortId(id)}: no cgroup that can be frozen`, { hint });
}

/** @returns false when the cgroup is gone */
async function freezeBy(freezer: Freezer, id: string): Promise<boolean> {
  return write(freezer, freezer.freeze, `pause ${shortId(id)}`) && (await untilFrozen(freezer));
}

/** Lets the container stand still until {@link thaw}; after an error it goes on.
 *  @returns false when the container has ended meanwhile
 *  @throws as {@link whileFrozen} */
export async function freeze(store: Store, id: string): Promise<boolean> {
  const freezer = freezerOf(store, id, 'Without root a cgroup has to be delegated to the user: see docs/isolation.md.');
  if (freezer === undefined) return false;
  try {
    return await freezeBy(freezer, id);
  } catch (error) {
    write(freezer, freezer.thaw, `go on with ${shortId(id)}`);
    throw error;
  }
}

/** Runs `work` while the container stands still; afterwards it goes on, whatever has happened. A container that is not running, or
 *  ends meanwhile, needs nothing.
 *  @throws ERR_TSBOX_UNSUPPORTED when this host cannot freeze; ERR_TSBOX_CONFLICT when the container does not come to a halt */
export async function whileFrozen<T>(store: Store, id: string, work: () => Promise<T>): Promise<T> {
  const freezer = freezerOf(store, id, 'Without --pause the container goes on running meanwhile: --pause=false.');
  if (freezer === undefined) return work();
  try {
    await freezeBy(freezer, id);
    return await work();
  } finally {
    write(freezer, freezer.thaw, `go on with ${shortId(id)}`);
  }
}

/** Lets a container go on that somebody has left frozen: in a version 1 freezer not even SIGKILL has an effect. */
export function thaw(store: Store, id: string): void {
  for (const freezer of findFreezers(store, id)) write(freezer, freezer.thaw, `go on with ${shortId(id)}`);
}

/** @returns false when the cgroup is gone: then nobody is in it who could write, or who waits */
function write(freezer: Freezer, value: string, what: string): boolean {
  try {
    writeFileSync(freezer.control, value);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw wrapError(what, error);
  }
}

/** Of a cgroup's file: the cgroup was removed, before it was opened or since. */
function isGone(error: unknown): boolean {
  return isErrno(error, 'ENOENT') || isErrno(error, 'ENODEV');
}
