/**
 * Leftovers of processes that were killed. Under the store's exclusive lock nobody is in the middle of making or removing a container,
 * and what is being unpacked has its directory locked; so whatever nothing refers to then is garbage. Layers that are complete and
 * unused are not: the pull that was interrupted goes on from them (unused-layers.ts removes them when asked).
 */
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { tryLock } from '../sys/lock.ts';
import { containerIds } from './containers.ts';
import { imageIds, orphanMetadata } from './images.ts';
import { readText, removeTree } from './io.ts';
import { layerIds } from './layers.ts';
import { isFree } from './leases.ts';
import { withStore } from './lock.ts';
import { staleNames } from './names.ts';
import { mountedIds, retireDirectory, retireRwLayer } from './rw-layers.ts';
import { shiftedLeftovers } from './shifted.ts';
import {
  containerDirectory,
  imageMetadata,
  isHexId,
  layerEntry,
  mountEntry,
  REMOVING,
  type Store,
  TEMPORARY,
} from './store.ts';
import { volumeLeftovers } from './volumes.ts';

/** Directories in which files are replaced by way of a temporary name. */
const REPLACED_IN = [
  '',
  '/imagedb/content/sha256',
  '/distribution/diffid-by-digest/sha256',
  '/distribution/v2metadata-by-diffid/sha256',
];

/** What tsbox makes in overlay2/. */
const OWN_DIRECTORY = /^[0-9a-f]{64}(-init)?(-removing)?$/;

/** Directories of overlay2/ that layers and containers refer to. */
function referredDirectories(store: Store): Set<string> {
  const referred = new Set<string>();
  for (const chainId of layerIds(store)) referred.add(readText(`${layerEntry(store, chainId)}/cache-id`) ?? '');
  for (const id of mountedIds(store)) {
    for (const file of ['mount-id', 'init-id']) referred.add(readText(`${mountEntry(store, id)}/${file}`) ?? '');
  }
  return referred;
}

function overlayLeftovers(store: Store): string[] {
  const referred = referredDirectories(store);
  const waiting: string[] = [];
  for (const name of readdirSync(store.overlay)) {
    const path = `${store.overlay}/${name}`;
    if (name === 'l' || referred.has(name) || !OWN_DIRECTORY.test(name)) continue;
    if (name.endsWith(REMOVING)) waiting.push(path);
    else if (isFree(store, name)) waiting.push(...retireDirectory(store, name));
  }
  return waiting;
}

/** What was being put together in layerdb/tmp, unless its maker still holds the directory of the same name in overlay2/. */
function stagingLeftovers(store: Store): string[] {
  const directory = `${store.images}/layerdb/tmp`;
  return readdirSync(directory)
    .filter((name) => !isHexId(name) || isFree(store, name))
    .map((name) => `${directory}/${name}`);
}

/** Where a short name leads; nowhere when it is gone: who gives up a layer removes its name without the store's lock. */
function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

/** Short names that lead nowhere, or to a directory that has another short name. */
function deadLinks(store: Store): string[] {
  const directory = `${store.overlay}/l`;
  return readdirSync(directory).filter((link) => {
    const target = /^\.\.\/([^/]+)\/diff$/.exec(linkTarget(`${directory}/${link}`))?.[1];
    if (target === undefined) return false;
    const path = `${store.overlay}/${target}`;
    if (!existsSync(path)) return true;
    const own = readText(`${path}/link`);
    return own !== link && isFree(store, target);
  });
}

function temporaryFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith(TEMPORARY) || name.endsWith(REMOVING))
    .map((name) => `${directory}/${name}`);
}

/** The files in a container's own directory are replaced under the container's lock. */
function temporaryFilesOf(store: Store, id: string): string[] {
  const path = containerDirectory(store, id);
  try {
    const held = tryLock(path);
    const files = held === undefined ? [] : temporaryFiles(path);
    held?.release();
    return files;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []; // a monitor removes its container without the store's lock
    throw error;
  }
}

/** Read-write layers whose container is not there. One whose tree is still mounted stays. */
function abandonedRwLayers(store: Store): string[] {
  const living = new Set(containerIds(store));
  const waiting: string[] = [];
  for (const id of mountedIds(store).filter((one) => !living.has(one))) {
    try {
      waiting.push(...retireRwLayer(store, id));
    } catch (error) {
      if (!isErrno(error, 'EBUSY')) throw error;
    }
  }
  return waiting;
}

/** Files beside an image's config that were about to be replaced. */
function temporaryMetadata(store: Store): string[] {
  return imageIds(store).flatMap((id) =>
    existsSync(imageMetadata(store, id)) ? temporaryFiles(imageMetadata(store, id)) : [],
  );
}

/** Small things: they are removed under the lock, since the same name may be made again. */
function smallLeftovers(store: Store): string[] {
  return [
    ...REPLACED_IN.flatMap((directory) => temporaryFiles(store.images + directory)),
    ...layerIds(store).flatMap((chainId) => temporaryFiles(layerEntry(store, chainId))),
    ...containerIds(store).flatMap((id) => temporaryFilesOf(store, id)),
    ...temporaryMetadata(store),
    ...orphanMetadata(store),
    ...deadLinks(store).map((link) => `${store.overlay}/l/${link}`),
    ...staleNames(store).map((name) => `${store.names}/${name}`),
  ];
}

/** Removes what killed processes have left behind.
 *  @param remove takes a directory of the store away that nothing refers to any more
 *  @returns the paths that were removed */
export function collectGarbage(store: Store, remove: (path: string) => void = removeTree): string[] {
  const { small, trees } = withStore(store, () => {
    const trees = [
      ...abandonedRwLayers(store),
      ...overlayLeftovers(store),
      ...stagingLeftovers(store),
      ...shiftedLeftovers(store),
      ...temporaryFiles(store.containers),
      ...temporaryFiles(store.dataRoot),
      ...volumeLeftovers(store),
    ];
    const small = smallLeftovers(store);
    for (const path of small) removeTree(path);
    return { small, trees };
  });
  const paths = [...new Set(trees)];
  for (const path of paths) remove(path);
  return [...paths, ...small];
}

/**
 * Does the store look as if somebody had been killed? Judged by names and numbers alone, without the lock, in a few milliseconds for
 * hundreds of images: a layer has one directory and one short name, a container two of each, an entry in layerdb/mounts and a name.
 * Temporary files within the directories of living things are not looked for: they go with those, or when garbage is collected.
 */
function looksDisturbed(store: Store): boolean {
  const directories = readdirSync(store.overlay).filter((name) => OWN_DIRECTORY.test(name));
  const containers = containerIds(store);
  const known = new Set(containers);
  const mounted = mountedIds(store);
  return (
    directories.length !== layerIds(store).length + 2 * mounted.length ||
    readdirSync(`${store.overlay}/l`).length !== directories.length ||
    mounted.length !== containers.length ||
    mounted.some((id) => !known.has(id)) ||
    readdirSync(store.names).length !== containers.length ||
    readdirSync(`${store.images}/layerdb/tmp`).length > 0 ||
    orphanMetadata(store).length > 0 ||
    shiftedLeftovers(store).length > 0 ||
    volumeLeftovers(store).length > 0 ||
    [store.dataRoot, store.containers, ...REPLACED_IN.map((path) => store.images + path)].some(
      (directory) => temporaryFiles(directory).length > 0,
    )
  );
}

/** Collects garbage if there seems to be some: for the verbs that remove one thing among many. @param remove as in {@link collectGarbage} */
export function collectInPassing(store: Store, remove: (path: string) => void = removeTree): void {
  if (looksDisturbed(store)) collectGarbage(store, remove);
}
