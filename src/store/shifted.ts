/**
 * Layers for a host that cannot show files with other owners: copies whose owners are those that a user namespace gives them, made once
 * for each layer and map, and kept in `<data-root>/shifted/<map>/l/<short name of the layer>`. So `l/A:l/B` means a container's layers
 * there as well as in overlay2/. What such a container writes has the owners of outside too; `owners` in the directory of its
 * read-write layer says so, and by which map.
 *
 * A copy has its name only when it is complete. One whose layer has no short name any more is garbage, as is what was being made by a
 * process that does not hold the lock on `shifted/<map>` any more.
 */
import { existsSync, lstatSync, readdirSync, readlinkSync, renameSync } from 'node:fs';
import { basename } from 'node:path';
import { isErrno, TsboxError } from '../errors.ts';
import { type IdMaps, mapText, toContainer, toHost } from '../spec/id-map.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { isLocked } from '../sys/lock.ts';
import { sha256Hex } from '../sys/sha256.ts';
import { attempt, ensureDirectory, isMaps, parseStored, readText, unlessGone, withoutUmask } from './io.ts';
import { sharingStore } from './lock.ts';
import { REMOVING, type Store, TEMPORARY } from './store.ts';

const LINK = /^[A-Z0-9]+$/;

const allShifted = (store: Store) => `${store.dataRoot}/shifted`;

/** Where the copies for a map are: named by the container's root outside, and the map's own digits. */
export function shiftedHome(store: Store, maps: IdMaps): string {
  const digits = sha256Hex(Buffer.from(`${mapText(maps.uids)}\n${mapText(maps.gids)}`)).slice(0, 12);
  return `${allShifted(store)}/${toHost(maps.uids, 0) ?? ''}.${toHost(maps.gids, 0) ?? ''}-${digits}`;
}

/** The directory `overlay` (overlay2/) by its path from where copies are: mount(2) has one page for all names. */
export const overlayFromCopies = (overlay: string) => `../../${basename(overlay)}`;

const ownersFile = (directory: string) => `${directory}/owners`;

/** By which map the files of a read-write layer have the owners of outside; undefined when they have those of the container.
 *  @param directory of overlay2/ @throws ERR_TSBOX_DAMAGED */
export function readOwners(directory: string): IdMaps | undefined {
  const path = ownersFile(directory);
  const text = readText(path);
  if (text === undefined) return undefined;
  const stored = parseStored(text, path);
  if (isMaps(stored)) return stored;
  throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: it has no maps`);
}

/** Makes the place for copies, and writes down that what the container writes from now on has the owners of outside. From here on no
 *  copy of the map is taken away as unused. @param directory of the read-write layer @returns the place */
export function claimShifted(store: Store, directory: string, maps: IdMaps): string {
  const home = shiftedHome(store, maps);
  sharingStore(store, () =>
    withoutUmask(() => {
      for (const path of [allShifted(store), home, `${home}/l`]) ensureDirectory(path, 0o700);
      noteOwners(directory, maps);
    }),
  );
  return home;
}

/** Writes down that the files of a read-write layer have the owners of outside. @param directory of overlay2/ */
export function noteOwners(directory: string, maps: IdMaps): void {
  const path = ownersFile(directory);
  const text = JSON.stringify({ uids: maps.uids, gids: maps.gids });
  if (readText(path) !== text) attempt(`write ${path}`, () => writeFileAtomic(path, text, { mode: 0o644, sync: true }));
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** The places for copies, one a map. */
function homes(store: Store): string[] {
  const names = namesIn(allShifted(store)).filter((name) => !name.endsWith(REMOVING));
  return names.map((name) => `${allShifted(store)}/${name}`);
}

export interface ShiftedCopy {
  path: string;
  home: string;
  /** Name in overlay2/ of the layer that it is a copy of; undefined when that is not there any more. */
  layer: string | undefined;
}

export function shiftedCopies(store: Store): ShiftedCopy[] {
  return homes(store).flatMap((home) =>
    namesIn(`${home}/l`).map((link) => ({ path: `${home}/l/${link}`, home, layer: layerOf(store, link) })),
  );
}

function layerOf(store: Store, link: string): string | undefined {
  try {
    return /^\.\.\/([^/]+)\/diff$/.exec(readlinkSync(`${store.overlay}/l/${link}`))?.[1];
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'EINVAL')) return undefined;
    throw error;
  }
}

/** Takes the copies of a layer out of use. @param link its short name; what is none does no harm
 *  @returns where they wait for their removal */
export function retireShifted(store: Store, link: string | undefined, isInit: boolean): string[] {
  if (link === undefined || !LINK.test(link)) return [];
  return homes(store).flatMap((home) => {
    const waiting = `${home}/${link}${isInit ? '-init' : ''}${REMOVING}`;
    return unlessGone(`rename ${home}/l/${link}`, () => renameSync(`${home}/l/${link}`, waiting)) ? [waiting] : [];
  });
}

/** The places of the copies that containers have. @param directories of the read-write layers that there are */
export function usedHomes(store: Store, directories: readonly string[]): Set<string> {
  const maps = directories.map(readOwners).filter((one) => one !== undefined);
  return new Set(maps.map((one) => shiftedHome(store, one)));
}

/** Takes the copies for maps that no container has out of use. Under the store's exclusive lock.
 *  @param directories of the read-write layers that there are */
export function retireUnusedMaps(store: Store, directories: readonly string[]): string[] {
  const used = usedHomes(store, directories);
  return homes(store)
    .filter((home) => !used.has(home) && !isLocked(home))
    .map((home) => {
      renameSync(home, home + REMOVING);
      return home + REMOVING;
    });
}

/** What was being made when its process ended, copies without a layer, and what waits for its removal. Under the store's exclusive lock. */
export function shiftedLeftovers(store: Store): string[] {
  const retired = namesIn(allShifted(store)).filter((name) => name.endsWith(REMOVING));
  const dead = shiftedCopies(store).filter(({ layer }) => layer === undefined);
  const half = homes(store).flatMap((home) => {
    const names = namesIn(home).filter((name) => name.endsWith(REMOVING) || name.startsWith(TEMPORARY));
    const free = names.length > 0 && !isLocked(home);
    return names.filter((name) => free || name.endsWith(REMOVING)).map((name) => `${home}/${name}`);
  });
  return [...retired.map((name) => `${allShifted(store)}/${name}`), ...dead.map(({ path }) => path), ...half];
}

/** Is this one of the copies, or all those of a map? Then all that is in it are files of layers. */
export function isShifted(path: string): boolean {
  return /\/shifted\/[^/]+(\/l)?(\/[^/]+)?$/.test(path) && !/-init(-removing)?$/.test(path);
}

/** Does a directory that a container has for itself belong to an id that the map does not have, as before its first start? */
export function needsOwner(directory: string, maps: IdMaps): boolean {
  if (!existsSync(directory)) return true;
  return toContainer(maps.uids, lstatSync(directory).uid) === undefined;
}
