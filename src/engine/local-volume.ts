/**
 * Volumes that are a mount of something else: `volume create --opt type=... --opt device=... --opt o=...`. A bind is what it names: no
 * mount is made on the host. Anything else is mounted on the volume's `_data` while a container runs with it, as Docker does, so that all
 * of them see the same tmpfs; which only the host's root can do.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsboxError, wrapError } from '../errors.ts';
import { interpret } from '../runtime/interpret.ts';
import { parseMountOptions } from '../spec/mount-options.ts';
import type { Volume } from '../spec/volume.ts';
import type { Store } from '../store/store.ts';
import { readVolume, volumeData } from '../store/volumes.ts';
import { mountOf } from '../sys/mountinfo.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { isRunningWith } from './volume-users.ts';

const wordsOf = ({ options }: Volume) => (options?.['o'] ?? '').split(',').filter((word) => word !== '');

function isBind(volume: Volume): boolean {
  return volume.options !== null && wordsOf(volume).some((word) => word === 'bind' || word === 'rbind');
}

/** Is it mounted on the host while it is used? */
export function isMountedForUse(volume: Volume): boolean {
  return volume.options !== null && !isBind(volume);
}

const cannotMount = ({ mountpoint }: Volume) => `error while mounting volume '${mountpoint}'`;

/** What a container's mount of the volume shows: a directory of the host, and whether the volume itself forbids writing. A relative one
 *  is below the host's root, which is where Docker's daemon works: who starts the container may stand anywhere.
 *  @throws ERR_TSBOX_NOT_FOUND where that is not there */
export function volumeSource(volume: Volume): { source: string; readonly: boolean } {
  if (!isBind(volume)) return { source: volume.mountpoint, readonly: false };
  const device = deviceOf(volume);
  const source = resolve('/', device);
  const stats = statSync(source, { throwIfNoEntry: false });
  if (stats?.isDirectory()) return { source, readonly: wordsOf(volume).includes('ro') };
  const why = stats === undefined ? 'no such file or directory' : 'not a directory';
  throw new TsboxError(
    'ERR_TSBOX_NOT_FOUND',
    `${cannotMount(volume)}: failed to mount local volume: mount ${device}: ${why}`,
  );
}

/** @throws ERR_TSBOX_USAGE when it is empty */
function deviceOf(volume: Volume): string {
  const { device = '' } = volume.options ?? {};
  if (device !== '') return device;
  throw new TsboxError('ERR_TSBOX_USAGE', `${cannotMount(volume)}: missing device in volume options`);
}

/** Is something mounted on the volume's own directory? By tsbox, or by somebody who keeps its files elsewhere. */
export function isMounted({ mountpoint }: Pick<Volume, 'mountpoint'>): boolean {
  const path = realpathSync(mountpoint);
  return mountOf(path, readFileSync('/proc/self/mountinfo', 'utf8'))?.point === path;
}

/** Makes sure that a removal meets nothing but the volume's own files. @param name of a volume that nobody uses
 *  @throws ERR_TSBOX_CONFLICT when something is mounted on it that tsbox has not mounted */
export function unmountForRemoval(store: Store, name: string): void {
  const mountpoint = volumeData(store, name);
  if (!isMounted({ mountpoint })) return;
  const volume = readVolume(store, name);
  if (volume !== undefined) unmountUnused(store, volume);
  if (!isMounted({ mountpoint })) return;
  throw new TsboxError('ERR_TSBOX_CONFLICT', `remove ${name}: something is mounted on ${mountpoint}`, {
    hint: `What is in there would be removed too. Unmount it first: umount ${mountpoint}`,
  });
}

/** As Docker: the kernel's nfs and cifs take numbers only. */
async function withAddress(data: string): Promise<string> {
  const name = /(?:^|,)addr=([^,]+)/.exec(data)?.[1];
  if (name === undefined || /^[\d.]+$|:/.test(name)) return data;
  const { lookup } = await import('node:dns/promises');
  return data.replace(`addr=${name}`, `addr=${(await lookup(name)).address}`);
}

/** Mounts it on its `_data`, unless it is. Under the lock of its content, which the caller has alone.
 *  @throws ERR_TSBOX_UNSUPPORTED without root; SyscallError */
export async function mountVolume(volume: Volume): Promise<void> {
  if (!isMountedForUse(volume) || isMounted(volume)) return;
  if (!isHostRoot()) {
    const type = volume.options?.['type'];
    throw new TsboxError(
      'ERR_TSBOX_UNSUPPORTED',
      `mount volume ${volume.name} of type ${type}: only root may do that`,
      {
        hint: 'Run tsbox as root, or make the volume with --opt o=bind, or use --tmpfs.',
      },
    );
  }
  const { type = '', o = '' } = volume.options ?? {};
  const device = deviceOf(volume);
  try {
    const { flags, data } = parseMountOptions(o === '' ? [] : (await withAddress(o)).split(','));
    const why = 'a volume that is a mount of something else is there while it is used';
    interpret([{ op: 'mount', source: device, target: volume.mountpoint, type, flags, data, why }]);
  } catch (error) {
    throw wrapError(`${cannotMount(volume)}: failed to mount local volume`, error);
  }
}

/** Takes it away when no container runs with it. Under the lock of its content, which the caller has alone.
 *  @param except a container that is about to be gone */
export function unmountUnused(store: Store, volume: Volume, except?: string): void {
  if (!isMountedForUse(volume) || !isMounted(volume) || isRunningWith(store, volume.name, except)) return;
  const why = 'nobody uses the volume any more';
  interpret([{ op: 'umount', target: volume.mountpoint, flags: ['MNT_DETACH'], why }]);
}

/** Runs `work` on the files of the volume, which are mounted for it if need be. A tmpfs is left out: what is put into it now is gone
 *  when the container starts. Under the lock of its content. */
export async function withMounted(store: Store, volume: Volume, work: (data: string) => Promise<void>): Promise<void> {
  if (!isMountedForUse(volume)) return work(volumeSource(volume).source);
  if (volume.options?.['type'] === 'tmpfs') return;
  await mountVolume(volume);
  try {
    await work(volume.mountpoint);
  } finally {
    unmountUnused(store, volume);
  }
}
