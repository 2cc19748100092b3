/** Copies of a container's layers with the owners of outside, for a host that cannot map them: store/shifted.ts has where they are. */
import { chownSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsboxError } from '../errors.ts';
import { applyLayer } from '../layer/apply.ts';
import { diffLayer } from '../layer/diff.ts';
import { NO_HOST_ID, ownersOutside } from '../layer/owners.ts';
import { hostRoot } from '../plan/userns.ts';
import { type IdMaps, toContainer } from '../spec/id-map.ts';
import { attempt, removeTree, withoutUmask } from '../store/io.ts';
import type { RwLayer } from '../store/rw-layers.ts';
import { claimShifted, shiftedHome } from '../store/shifted.ts';
import { type Store, TEMPORARY } from '../store/store.ts';
import { type Lock, tryLock } from '../sys/lock.ts';
import { randomHex } from '../sys/random.ts';
import { syncFileSystem } from '../sys/sync.ts';

const POLL_MS = 20;
const CHANGED = 'Commit the container, and run the image that this makes.';

/** Whether the container's layers are copies, or are to be.
 *  @param mapsOwners can this host do without? Asked only when that is still open
 *  @throws ERR_TSBOX_CONFLICT when what the container has written already does not go with it */
export function needsCopies(store: Store, layer: RwLayer, maps: IdMaps, mapsOwners: () => boolean): boolean {
  if (layer.owners !== undefined) {
    if (shiftedHome(store, layer.owners) === shiftedHome(store, maps)) return true;
    const message = "the container's files belong to subordinate ids that its user namespace does not have any more";
    throw new TsboxError('ERR_TSBOX_CONFLICT', message, { hint: CHANGED });
  }
  if (mapsOwners()) return false;
  if (!existsSync(layer.upper) || readdirSync(layer.upper).length === 0) return true;
  const message = "the owners of the container's files cannot be mapped any more on this host";
  throw new TsboxError('ERR_TSBOX_CONFLICT', message, { hint: CHANGED });
}

/** Makes the copies that are not there yet, and notes that from now on the container's files have the owners of outside. Who makes the
 *  same ones meanwhile is waited for. Idempotent; on an error no half copy stays. @throws SyscallError, ENOSPC among them */
export async function shiftLayers(store: Store, layer: RwLayer, maps: IdMaps): Promise<void> {
  if (toContainer(maps.uids, NO_HOST_ID) !== undefined || toContainer(maps.gids, NO_HOST_ID) !== undefined) {
    throw new TsboxError('ERR_TSBOX_SPEC', `copy layers: the id ${NO_HOST_ID} may not be in a map`);
  }
  if (layer.whole === true) return; // its files have those owners since it was made
  const home = claimShifted(store, `${store.overlay}/${layer.mountId}`, maps);
  const links = layer.lower.split(':').map((name) => name.slice('l/'.length));
  const missing = () => links.filter((link) => !existsSync(`${home}/l/${link}`));
  if (missing().length === 0) return;
  const held = await exclusive(home);
  try {
    // Nobody else makes any now: what has such a name is of somebody who was killed.
    for (const name of readdirSync(home)) if (name.startsWith(TEMPORARY)) removeTree(`${home}/${name}`);
    await copyAll(store, home, missing(), maps);
  } finally {
    held.release();
  }
}

async function exclusive(path: string): Promise<Lock> {
  for (;;) {
    const held = tryLock(path);
    if (held !== undefined) return held;
    await sleep(POLL_MS);
  }
}

/** All of them are on the disk before the first has its name. */
async function copyAll(store: Store, home: string, links: readonly string[], maps: IdMaps): Promise<void> {
  const made: { link: string; path: string }[] = [];
  try {
    for (const link of links) {
      const path = `${home}/${TEMPORARY}${randomHex(8)}`;
      made.push({ link, path });
      await copy(`${store.overlay}/l/${link}`, path, maps);
    }
    await syncFileSystem(store.dataRoot);
    for (const { link, path } of made) {
      attempt(`rename ${path}`, () => renameSync(path, `${home}/l/${link}`));
    }
  } catch (error) {
    for (const { path } of made) removeTree(path);
    throw error;
  }
}

const NO_LIMITS = { maxBytes: Number.POSITIVE_INFINITY, maxEntries: Number.POSITIVE_INFINITY };

/** By way of the layer as a tar: hard links, holes, times, attributes and whiteouts are its business. */
async function copy(from: string, to: string, maps: IdMaps): Promise<void> {
  const { uid, gid } = hostRoot(maps);
  attempt(`mkdir ${to}`, () => withoutUmask(() => mkdirSync(to, 0o755)));
  chownSync(to, uid, gid);
  const tar = diffLayer(from, { whiteouts: 'overlay', owners: ownersOutside(maps) });
  const { notices } = await applyLayer(tar, to, { whiteouts: 'overlay', lchown: true, limits: NO_LIMITS });
  if (notices.length > 0) throw new TsboxError('ERR_TSBOX_UNSUPPORTED', `copy layer ${from}: ${notices.join(', ')}`);
}
