/** What a store is, where things are in it. Plain data and path arithmetic, one look for a directory; opening is in open.ts. @see README.md */
import { existsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import { isDigest } from '../spec/digest.ts';
import type { Driver } from './drivers/driver.ts';

export interface Store {
  /** `/var/lib/tsbox` */
  readonly dataRoot: string;
  /** `/run/tsbox` */
  readonly runRoot: string;
  /** Other run roots with which this data root is used: containers may run there. */
  readonly otherRunRoots?: readonly string[];
  /** `<data-root>/image/overlay2`; its flock is the store's lock, see lock.ts. */
  readonly images: string;
  /** `<data-root>/overlay2` */
  readonly overlay: string;
  /** `<data-root>/containers` */
  readonly containers: string;
  /** `<data-root>/names`: one symlink a container. */
  readonly names: string;
  readonly driver: Driver;
  /** Interface of the default network, as it was asked for; `none`: there is no such network. See networks.ts. */
  readonly bridge?: string;
  /** Tells the user what was done beside what he asked for: a sentence without a period. */
  readonly notice?: (text: string) => void;
}

/** Names of what is being made begin with this, as those of sys/atomic.ts do. */
export const TEMPORARY = '.tmp-';
/** Directories that wait for their removal end with this; nothing refers to them. */
export const REMOVING = '-removing';

/** The 64 digits of a digest, safe as a file name. @throws ERR_TSBOX_SPEC on anything else */
export function hexOf(digest: string): string {
  if (isDigest(digest) && digest.startsWith('sha256:')) return digest.slice(7);
  throw new TsboxError('ERR_TSBOX_SPEC', `use ${JSON.stringify(digest.slice(0, 100))} as an id: not a sha256 digest`);
}

export function isHexId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Docker's short form of an id: twelve digits. */
export function shortId(id: string): string {
  return id.slice(id.indexOf(':') + 1).slice(0, 12);
}

/** The image's config, byte for byte. */
export function imageFile(store: Store, id: string): string {
  return `${store.images}/imagedb/content/sha256/${hexOf(id)}`;
}

/** What is known of an image beside its config. */
export function imageMetadata(store: Store, id: string): string {
  return `${store.images}/imagedb/metadata/sha256/${hexOf(id)}`;
}

export function layerEntry(store: Store, chainId: string): string {
  return `${store.images}/layerdb/sha256/${hexOf(chainId)}`;
}

/** Which read-write layer a container has. */
export function mountEntry(store: Store, containerId: string): string {
  return `${store.images}/layerdb/mounts/${containerId}`;
}

export function containerDirectory(store: Store, id: string): string {
  return `${store.containers}/${id}`;
}

/** The file of a container's log; what is rotated has a number behind it. */
export function logPath(store: Store, { ID, LogPath }: { ID: string; LogPath: string }, driver: string): string {
  return driver === 'local' ? `${localLogDirectory(store, ID)}/container.log` : LogPath;
}

export const localLogDirectory = (store: Store, id: string): string => `${containerDirectory(store, id)}/local-logs`;

/** Where the layers of a container are, seen through its user namespace, while its tree is being mounted. Not below what is removed with
 *  all that is in it. */
export function mappedPlace(store: Store, id: string): string {
  return `${store.runRoot}/mapped-${id}`;
}

/** What the kernel had counted about the container's memory when it ended, in the words of its cgroup; until that is in the record. */
export function memoryEventsFile(store: Store, id: string): string {
  return `${containerDirectory(store, id)}/memory.events`;
}

/** How a container has ended, until that is in its record: on the disk, where a reboot does not take it away, and before; there it stays when
 *  the disk is full or read-only. */
export function exitRecord(store: Store, id: string): { first: string; kept: string } {
  return { first: `${store.runRoot}/${id}.exit`, kept: `${containerDirectory(store, id)}/exit.json` };
}

/** Somebody has ended it, where its record could not say so. */
export function stoppedFile(store: Store, id: string): string {
  return `${store.runRoot}/${id}.stopped`;
}

/** Lock, socket and state of a running container; on a tmpfs, gone after a reboot. Of one that was started with another run root it is
 *  there: else it would count as dead here, and its processes as left behind. */
export function runDirectory(store: Store, id: string): string {
  const own = `${store.runRoot}/${id}`;
  const { otherRunRoots = [] } = store;
  if (otherRunRoots.length === 0 || existsSync(own)) return own;
  return otherRunRoots.map((root) => `${root}/${id}`).find((path) => existsSync(path)) ?? own;
}

/** Held by what serves the files of a container that an ordinary user runs, where that is a process (storage driver fuse). */
export function unionLock(store: Store, id: string): string {
  return `${runDirectory(store, id)}/union.lock`;
}
