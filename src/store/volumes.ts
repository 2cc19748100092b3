/**
 * Volumes on disk, as Docker's `local` driver has them: `<data-root>/volumes/NAME/_data`, and `opts.json` beside it for one that is a
 * mount of something else. Whatever has a `_data` is a volume, of whichever engine. Docker keeps labels in a database that only dockerd
 * writes (`volumes/metadata.db`); tsbox keeps them in `volumes/NAME/tsbox.json`, which dockerd does not look at.
 *
 * A volume appears and goes by one rename. Three locks: the store's, which is shared while one is made and had alone while one goes;
 * flock(2) on `volumes/NAME`, the lease: shared by whoever is about to use the volume; and on `tsbox.json`, the content: had alone by
 * whoever fills, mounts or unmounts it, shared by whoever starts a container with it.
 */
import { closeSync, lstatSync, mkdirSync, openSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { compareNaturally } from '../spec/natural-order.ts';
import { isVolumeName, noSuchVolume, type Volume } from '../spec/volume.ts';
import { type Lock, lock, tryLock } from '../sys/lock.ts';
import { randomHex } from '../sys/random.ts';
import { noteVolume } from './events.ts';
import {
  attempt,
  ensureDirectory,
  isObject,
  parseStored,
  readObject,
  readText,
  removeTree,
  withoutUmask,
} from './io.ts';
import { type Locked, sharingStore } from './lock.ts';
import { REMOVING, type Store, TEMPORARY } from './store.ts';

/** Docker's mode: whoever knows a name may go through, nobody may list. */
const DIRECTORY_MODE = 0o701;
const DATA_MODE = 0o755;
const VERSION = 1;

/** `<data-root>/volumes` */
export function volumesHome(store: Store): string {
  return `${store.dataRoot}/volumes`;
}

/** `<data-root>/volumes/NAME` */
export function volumeDirectory(store: Store, name: string): string {
  return `${volumesHome(store)}/${name}`;
}

/** Where the files of a volume are. */
export function volumeData(store: Store, name: string): string {
  return `${volumeDirectory(store, name)}/_data`;
}

const RELEASED = '.released-';

/** Says that the volume had no name of its own and that its container, one of `--rm`, is gone: it is to be removed, unless another container
 *  has it. What removes it at once may find no process. */
export function releasedFile(store: Store, name: string): string {
  return `${volumesHome(store)}/${RELEASED}${name}`;
}

/** Volumes of which that is said. */
export function releasedNames(store: Store): string[] {
  const marks = namesIn(volumesHome(store)).filter((name) => name.startsWith(RELEASED));
  return marks.map((name) => name.slice(RELEASED.length));
}

function isText(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every((one) => typeof one === 'string');
}

/** What Docker's driver wrote down: by that it is mounted. @throws ERR_TSBOX_DAMAGED */
function readOptions(directory: string): Record<string, string> | null {
  const path = `${directory}/opts.json`;
  const text = readText(path);
  if (text === undefined) return null;
  const value = parseStored(text, path);
  const fields = ['MountType', 'MountOpts', 'MountDevice'];
  if (!isObject(value) || fields.some((field) => typeof (value[field] ?? '') !== 'string')) {
    throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: a field is of a wrong type`);
  }
  const [type = '', o = '', device = ''] = fields.map((field) => (value[field] ?? '') as string);
  const given = Object.entries({ device, o, type }).filter(([, each]) => each !== '');
  return given.length === 0 ? null : Object.fromEntries(given);
}

function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** A volume, or undefined where there is none. @throws ERR_TSBOX_DAMAGED when what it is a mount of cannot be read;
 *  ERR_TSBOX_UNSUPPORTED when a newer tsbox wrote about it */
export function readVolume(store: Store, name: string): Volume | undefined {
  if (!isVolumeName(name)) return undefined;
  const directory = volumeDirectory(store, name);
  if (!isDirectory(`${directory}/_data`)) return undefined;
  const about = readObject(`${directory}/tsbox.json`);
  if (Number(about?.['Version'] ?? VERSION) > VERSION) {
    throw new TsboxError(
      'ERR_TSBOX_UNSUPPORTED',
      `read ${directory}/tsbox.json: version ${about?.['Version']} is newer`,
    );
  }
  const { Labels: labels, CreatedAt: created } = about ?? {};
  return {
    name,
    mountpoint: `${directory}/_data`,
    labels: isText(labels) && Object.keys(labels).length > 0 ? labels : null,
    options: readOptions(directory),
    created: typeof created === 'string' ? created : seconds(lstatSync(`${directory}/_data`).ctime),
  };
}

/** As {@link readVolume}. @throws also ERR_TSBOX_NOT_FOUND */
export function requireVolume(store: Store, name: string): Volume {
  const volume = readVolume(store, name);
  if (volume === undefined) throw noSuchVolume(name);
  return volume;
}

/** Names of all volumes, sorted as Docker sorts them: numbers by their value. */
export function volumeNames(store: Store): string[] {
  return namesIn(volumesHome(store))
    .filter((name) => isVolumeName(name) && isDirectory(`${volumeDirectory(store, name)}/_data`))
    .sort(compareNaturally);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function isDirectory(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return false; // beside a file, as Docker's metadata.db
    throw error;
  }
}

export interface NewVolume {
  name: string;
  labels: Readonly<Record<string, string>>;
  options: Readonly<Record<string, string>>;
}

/** Makes a volume, or leaves the one of this name as it is. The caller shares the store's lock. @returns whether it was made
 *  @throws SyscallError; nothing of it stays behind then */
function makeVolume(store: Store, wanted: NewVolume): boolean {
  const path = volumeDirectory(store, wanted.name);
  if (isDirectory(`${path}/_data`)) return false;
  const half = `${volumesHome(store)}/${TEMPORARY}${randomHex(8)}`;
  try {
    return attempt(`create volume ${wanted.name}`, () =>
      withoutUmask(() => {
        ensureDirectory(volumesHome(store), DIRECTORY_MODE);
        mkdirSync(half, DIRECTORY_MODE);
        mkdirSync(`${half}/_data`, DATA_MODE);
        writeAbout(half, wanted);
        return renameUnlessTaken(half, path);
      }),
    );
  } catch (error) {
    removeTree(half);
    throw error;
  }
}

function writeAbout(directory: string, { labels, options }: NewVolume): void {
  const about = { Version: VERSION, Labels: labels, CreatedAt: seconds(new Date()) };
  writeFileSync(`${directory}/tsbox.json`, JSON.stringify(about), { mode: 0o600 });
  if (Object.keys(options).length === 0) return;
  const { type = '', o = '', device = '' } = options;
  const kept = { MountType: type, MountOpts: o, MountDevice: device, Quota: { Size: 0 } };
  writeFileSync(`${directory}/opts.json`, JSON.stringify(kept), { mode: 0o600 });
}

/** A directory is not renamed over one that has something in it: who was first has made the volume. */
function renameUnlessTaken(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    if (!isDirectory(`${to}/_data`)) throw error;
    removeTree(from);
    return false;
  }
}

/** A volume that nobody removes until it is released. */
export interface LeasedVolume {
  volume: Volume;
  /** It was not there before. */
  made: boolean;
  lease: Lock;
}

/** Makes the volume if it is not there, and holds it. @throws SyscallError, ERR_TSBOX_DAMAGED */
export function leaseNewVolume(store: Store, wanted: NewVolume): LeasedVolume {
  return sharingStore(store, () => {
    const made = makeVolume(store, wanted);
    noteVolume(store, 'create', wanted.name); // as Docker, one that was there too
    return {
      volume: requireVolume(store, wanted.name),
      made,
      lease: lock(volumeDirectory(store, wanted.name), 'shared'),
    };
  });
}

/** Holds a volume that is there. @throws ERR_TSBOX_NOT_FOUND */
export function leaseVolume(store: Store, name: string): LeasedVolume {
  return sharingStore(store, () => {
    const volume = requireVolume(store, name);
    return { volume, made: false, lease: lock(volumeDirectory(store, name), 'shared') };
  });
}

/** Is somebody about to use it? */
export function isLeased(store: Store, name: string): boolean {
  const held = tryLock(volumeDirectory(store, name));
  held?.release();
  return held === undefined;
}

/** Takes a volume out of use: from here on nobody finds it. @returns where it waits for its removal */
export function retireVolume({ store }: Locked, name: string): string {
  const retired = `${volumesHome(store)}/${TEMPORARY}${randomHex(8)}${REMOVING}`;
  attempt(`remove volume ${name}`, () => renameSync(volumeDirectory(store, name), retired));
  noteVolume(store, 'destroy', name);
  return retired;
}

/** The file whose lock is that of the content; made for a volume of Docker's. */
export function contentLock(store: Store, name: string): string {
  const path = `${volumeDirectory(store, name)}/tsbox.json`;
  attempt(`open ${path}`, () => closeSync(openSync(path, 'a', 0o600)));
  return path;
}

/** What killed processes have left among the volumes. Under the store's exclusive lock. */
export function volumeLeftovers(store: Store): string[] {
  const home = volumesHome(store);
  return namesIn(home)
    .filter((name) => name.startsWith(TEMPORARY))
    .map((name) => `${home}/${name}`);
}
