/** Opens a store, and lays out a new one. Opening costs two stat(2); no lock, no FFI. */
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync } from 'node:fs';
import { randomHex } from '../sys/random.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';
import { chooseDriver } from './drivers/choose.ts';
import type { Driver } from './drivers/driver.ts';
import { attempt, ensureDirectory, readText, withoutUmask } from './io.ts';
import { runRootsOf } from './run-roots.ts';
import { containerDirectory, isHexId, type Store, TEMPORARY } from './store.ts';

/** Directories of a new data root with Docker's modes, parents first. */
const TREE: readonly (readonly [string, number])[] = [
  ['', 0o710],
  ['overlay2', 0o710],
  ['overlay2/l', 0o700],
  ['containers', 0o710],
  ['image', 0o700],
  ['image/overlay2', 0o700],
  ['image/overlay2/imagedb', 0o700],
  ['image/overlay2/imagedb/content', 0o700],
  ['image/overlay2/imagedb/content/sha256', 0o700],
  ['image/overlay2/imagedb/metadata', 0o700],
  ['image/overlay2/imagedb/metadata/sha256', 0o700],
  ['image/overlay2/layerdb', 0o700],
  ['image/overlay2/layerdb/sha256', 0o755],
  ['image/overlay2/layerdb/mounts', 0o755],
  ['image/overlay2/layerdb/tmp', 0o755],
  ['image/overlay2/distribution', 0o700],
  ['image/overlay2/distribution/diffid-by-digest', 0o755],
  ['image/overlay2/distribution/diffid-by-digest/sha256', 0o755],
  ['image/overlay2/distribution/v2metadata-by-diffid', 0o755],
  ['image/overlay2/distribution/v2metadata-by-diffid/sha256', 0o755],
];

const RUN_ROOT_MODE = 0o711;
const NAMES_MODE = 0o700;

export interface StoreOptions {
  dataRoot: string;
  runRoot: string;
  /** `--bridge`: the interface of the default network, or `none`. */
  bridge?: string;
  /** `--storage-driver`; chosen by what the host can do when absent. */
  storageDriver?: string;
  /** See {@link Store}. */
  notice?: (text: string) => void;
}

/** The store at `dataRoot`, which is laid out when it is not there. A data root that dockerd made is a store too.
 *  @throws SyscallError when the directories cannot be made */
export function openStore({ dataRoot, runRoot, bridge, storageDriver, notice }: StoreOptions): Store {
  const overlay = `${dataRoot}/overlay2`;
  let driver: Driver | undefined;
  let others: readonly string[] | undefined;
  const store: Store = {
    dataRoot,
    runRoot,
    images: `${dataRoot}/image/overlay2`,
    overlay,
    containers: `${dataRoot}/containers`,
    names: `${dataRoot}/names`,
    get otherRunRoots() {
      others ??= runRootsOf(dataRoot).filter((root) => root !== runRoot && existsSync(root));
      return others;
    },
    // When it is first needed: most verbs mount nothing.
    get driver() {
      driver ??= chooseDriver(dataRoot, overlay, storageDriver);
      return driver;
    },
    ...(bridge !== undefined && { bridge }),
    ...(notice !== undefined && { notice }),
  };
  // `names` is made last: where it is, everything is.
  if (!existsSync(store.names)) withoutUmask(() => layOut(store));
  if (!existsSync(runRoot)) withoutUmask(() => makeRoot(runRoot, RUN_ROOT_MODE));
  return store;
}

/** Makes a directory and, if need be, those above it. */
function makeRoot(path: string, mode: number): void {
  const slash = path.lastIndexOf('/');
  if (slash > 0 && !existsSync(path.slice(0, slash))) makeRoot(path.slice(0, slash), 0o755);
  ensureDirectory(path, mode);
}

function layOut(store: Store): void {
  makeRoot(store.dataRoot, 0o710);
  for (const [path, mode] of TREE) ensureDirectory(path === '' ? store.dataRoot : `${store.dataRoot}/${path}`, mode);
  // A directory full of names appears at once, also when several processes open a fresh data root together.
  const fresh = `${store.dataRoot}/${TEMPORARY}names-${randomHex(6)}`;
  attempt(`lay out ${store.names}`, () => {
    mkdirSync(fresh, NAMES_MODE);
    for (const id of readdirSync(store.containers).filter(isHexId)) nameFromRecord(store, id, fresh);
    try {
      renameSync(fresh, store.names);
    } catch (error) {
      removeWholeTree(fresh);
      if (!existsSync(store.names)) throw error;
    }
  });
}

/** Containers that dockerd made have their names in their records only. */
function nameFromRecord(store: Store, id: string, directory: string): void {
  const record = readText(`${containerDirectory(store, id)}/config.v2.json`) ?? '';
  const name = /"Name":"\/([a-zA-Z0-9][a-zA-Z0-9_.-]+)"/.exec(record)?.[1];
  if (name !== undefined && !existsSync(`${directory}/${name}`))
    symlinkSync(`../containers/${id}`, `${directory}/${name}`);
}
