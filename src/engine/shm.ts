/** The /dev/shm of a container that others may join: a tmpfs on the host, which each of them binds. */
import type { Step } from '../plan/step.ts';
import { hostRoot } from '../plan/userns.ts';
import type { HostConfig } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { type Joined, shmDirectory } from './namespaces.ts';
import type { Engine } from './open.ts';

const GONE = { EINVAL: 'skip', ENOENT: 'skip' } as const;

/** What lies at the container's /dev/shm; undefined for a tmpfs that nobody else sees. */
export function shmSource(engine: Engine, id: string, { IpcMode }: HostConfig, joined: Joined): string | undefined {
  if (IpcMode === 'host') return '/dev/shm';
  return IpcMode === 'shareable' ? shmDirectory(engine.store, id) : joined.ipc?.shm;
}

/** On the host, when the run directory is there.
 *  @param maps of a user namespace of its own: it belongs to the root in there */
export function shmSetup(
  engine: Engine,
  id: string,
  { IpcMode, ShmSize }: HostConfig,
  maps: IdMaps | undefined,
): Step[] {
  if (IpcMode !== 'shareable') return [];
  const path = shmDirectory(engine.store, id);
  const root = maps && hostRoot(maps);
  const owner = root === undefined ? '' : `,uid=${root.uid},gid=${root.gid}`;
  return [
    { op: 'mkdir', path, mode: 0o700, why: 'a place for shared memory' },
    {
      op: 'mount',
      source: 'shm',
      target: path,
      type: 'tmpfs',
      flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
      data: `mode=1777,size=${ShmSize}${owner}`,
      why: 'shared memory that other containers may join: on the host, where they find it',
    },
  ];
}

/** Also for containers that have none. */
export function shmCleanup(engine: Engine, id: string, { IpcMode }: Pick<HostConfig, 'IpcMode'>): Step[] {
  if (IpcMode !== 'shareable') return [];
  const why = 'containers that have joined keep it until they end';
  return [{ op: 'umount', target: shmDirectory(engine.store, id), flags: ['MNT_DETACH'], why, onError: GONE }];
}
