/** Which namespaces a container has of its own, and which it shares with the host or with another container. */
import { TsboxError } from '../errors.ts';
import type { NamespaceFile } from '../plan/enter.ts';
import type { HostConfig } from '../spec/container.ts';
import type { OciNamespace, OciNamespaceType } from '../spec/oci-runtime.ts';
import { readHostConfig, requireContainer } from '../store/containers.ts';
import { containerState } from '../store/state.ts';
import { runDirectory, type Store } from '../store/store.ts';

const FAILED = 125;
const OTHER = 'container:';

/** The namespaces of another container, as it runs now. */
export interface Joined {
  /** Host's number of the process whose PID namespace is shared. */
  pid?: number;
  /** The same for IPC, and what lies at its /dev/shm. */
  ipc?: { pid: number; shm: string };
  /** The same for the network, and whose files in /etc are shared with it. */
  net?: { pid: number; id: string };
}

/** Whose namespace is shared, by a mode `container:NAME`. */
export function otherContainer(mode: string | undefined): string | undefined {
  return mode?.startsWith(OTHER) === true ? mode.slice(OTHER.length) : undefined;
}

/** @throws ERR_TSBOX_USAGE for an IPC mode that there is not, in Docker's words */
export function checkIpcMode(mode: string): void {
  if (['', 'none', 'private', 'shareable', 'host'].includes(mode) || otherContainer(mode) !== undefined) return;
  throw new TsboxError('ERR_TSBOX_USAGE', `Invalid IPC mode: ${mode}`, { exitCode: FAILED });
}

/** The same with the ids of containers that are to be joined: as with Docker they stay the ones that are meant when they are renamed.
 *  @throws ERR_TSBOX_NOT_FOUND when one is not there */
export function joinedById(store: Store, hostConfig: HostConfig): HostConfig {
  const byId = (mode = '') => {
    const name = otherContainer(mode);
    return name === undefined ? mode : `${OTHER}${requireContainer(store, name).ID}`;
  };
  const { PidMode, IpcMode, NetworkMode } = hostConfig;
  return { ...hostConfig, NetworkMode: byId(NetworkMode), IpcMode: byId(IpcMode), PidMode: byId(PidMode) };
}

function running(store: Store, name: string): { id: string; pid: number; ipcMode: string } {
  const record = requireContainer(store, name);
  const state = containerState(store, record);
  if (!state.Running || state.Restarting) {
    throw new TsboxError('ERR_TSBOX_CONFLICT', `container ${record.ID} is not running`, { exitCode: FAILED });
  }
  return { id: record.ID, pid: state.Pid, ipcMode: readHostConfig(store, record.ID).IpcMode ?? '' };
}

/** Where a container that shares its IPC has its /dev/shm on the host. */
export function shmDirectory(store: Store, id: string): string {
  return `${runDirectory(store, id)}/shm`;
}

function joinIpc(store: Store, name: string): NonNullable<Joined['ipc']> {
  const { ID } = requireContainer(store, name);
  const refuse = (why: string) =>
    new TsboxError('ERR_TSBOX_CONFLICT', `can't join IPC of container ${ID}: ${why}`, { exitCode: FAILED });
  let other: ReturnType<typeof running>;
  try {
    other = running(store, name);
  } catch (error) {
    throw error instanceof TsboxError ? refuse(error.message) : error;
  }
  if (other.ipcMode === 'host') return { pid: other.pid, shm: '/dev/shm' };
  if (other.ipcMode === 'shareable') return { pid: other.pid, shm: shmDirectory(store, other.id) };
  throw refuse('non-shareable IPC (hint: use IpcMode:shareable for the donor container)');
}

function joinNetwork(store: Store, name: string): NonNullable<Joined['net']> {
  const { ID } = requireContainer(store, name);
  try {
    const { id, pid } = running(store, name);
    return { id, pid };
  } catch (error) {
    if (!(error instanceof TsboxError) || error.code !== 'ERR_TSBOX_CONFLICT') throw error;
    const message = `cannot join network of a non running container: ${ID}`;
    throw new TsboxError('ERR_TSBOX_CONFLICT', message, { exitCode: FAILED });
  }
}

/** @throws ERR_TSBOX_CONFLICT when a container that is to be joined does not run, or does not share, in Docker's words */
export function joinedContainers(store: Store, { PidMode, IpcMode, NetworkMode }: HostConfig): Joined {
  const [pid, ipc, net] = [PidMode, IpcMode, NetworkMode].map(otherContainer);
  return {
    ...(pid !== undefined && { pid: running(store, pid).pid }),
    ...(ipc !== undefined && { ipc: joinIpc(store, ipc) }),
    ...(net !== undefined && { net: joinNetwork(store, net) }),
  };
}

/** Those of the host are left out. */
export function ociNamespaces(hostConfig: HostConfig, joined: Joined): OciNamespace[] {
  const { NetworkMode, IpcMode, PidMode, UTSMode, CgroupnsMode } = hostConfig;
  const one = (type: OciNamespaceType, mode: string | undefined, pid?: number, file: string = type): OciNamespace[] => {
    if (mode === 'host') return [];
    return [pid === undefined ? { type } : { type, path: `/proc/${pid}/ns/${file}` }];
  };
  return [
    { type: 'mount' },
    ...one('uts', UTSMode),
    ...one('ipc', IpcMode, joined.ipc?.pid),
    ...one('pid', PidMode, joined.pid),
    ...one('cgroup', CgroupnsMode),
    ...one('network', NetworkMode, joined.net?.pid, 'net'),
  ];
}

/** The namespaces that are not the host's, by their names in /proc/PID/ns: what a further process has to join. */
export function namespaceFiles(hostConfig: HostConfig): NamespaceFile[] {
  const { NetworkMode, IpcMode, PidMode, UTSMode, CgroupnsMode } = hostConfig;
  const modes = { cgroup: CgroupnsMode, ipc: IpcMode, uts: UTSMode, pid: PidMode, net: NetworkMode, mnt: '' };
  return (Object.keys(modes) as (keyof typeof modes)[]).filter((name) => modes[name] !== 'host');
}
