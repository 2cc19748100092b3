/** A user namespace for a container: its root is an ordinary user outside. Pure. @see user_namespaces(7) */
import { type IdMap, type IdMaps, isSingle, mapText, toHost } from '../spec/id-map.ts';
import type { OciConfig } from '../spec/oci-runtime.ts';
import type { Step } from './step.ts';
import { hole, text } from './text.ts';

/** The maps of a user namespace that the container gets for itself; undefined when it gets none. */
export function ownMaps(config: OciConfig): IdMaps | undefined {
  const { namespaces = [], uidMappings = [], gidMappings = [] } = config.linux ?? {};
  const own = namespaces.some(({ type, path }) => type === 'user' && path === undefined);
  return own ? { uids: uidMappings, gids: gidMappings } : undefined;
}

/** The container's root, as the host knows it. */
export function hostRoot(maps: IdMaps): { uid: number; gid: number } {
  return { uid: toHost(maps.uids, 0) ?? 0, gid: toHost(maps.gids, 0) ?? 0 };
}

/** The new process leaves the user namespace of the host, and so its rights there; the monitor, which has kept them, writes the maps.
 *  @param root whether the monitor is the host's root: others may map their own id only, and have the rest done for them
 *  @param then what else the monitor does once the maps are there */
export function userNamespaceSteps(maps: IdMaps, root: boolean, then: readonly Step[]): Step[] {
  const why = "users: inside, outside, how many; the container's root is nobody outside";
  return [
    {
      op: 'unshare',
      flags: ['CLONE_NEWUSER'],
      why: 'a user namespace comes first and alone: it owns those that follow, and nobody in them has rights outside',
      see: 'user_namespaces(7)',
    },
    {
      op: 'outside',
      list: [
        ...(isSingle(maps)
          ? [writeOutside('setgroups', 'deny', 'what the kernel asks of whoever maps only himself')]
          : []),
        ...(root || isSingle(maps)
          ? [
              writeOutside('uid_map', mapText(maps.uids), why),
              writeOutside('gid_map', mapText(maps.gids), 'groups likewise'),
            ]
          : [mapHelper('newuidmap', maps.uids, why), mapHelper('newgidmap', maps.gids, 'groups likewise')]),
        ...then,
      ],
      why: 'nobody may write his own map: it is done by the monitor, which is still outside',
    },
  ];
}

function writeOutside(file: string, data: string, why: string): Step {
  return {
    op: 'write',
    path: text`/proc/${hole('pid')}/${file}`,
    data,
    flags: [],
    mode: 0,
    why,
    see: 'user_namespaces(7)',
  };
}

/** The helpers have the right, and hold the map against /etc/subuid and /etc/subgid. */
function mapHelper(name: string, map: IdMap, why: string): Step {
  const numbers = map.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]).map(String);
  return { op: 'run', args: [name, text`${hole('pid')}`, ...numbers], why, see: `${name}(1), subuid(5)` };
}

/** Where only one id is mapped the kernel lets nobody set supplementary groups. */
export function allowedSteps(credentials: readonly Step[], maps: IdMaps | undefined): Step[] {
  return maps !== undefined && isSingle(maps) ? credentials.filter(({ op }) => op !== 'setgroups') : [...credentials];
}

/** From here on the process is the root of its user namespace, and outside the user that this is.
 *  @param ipc whether it gets an IPC namespace of its own */
export function becomeRootSteps(ipc: boolean): Step[] {
  const queues: Step = {
    op: 'unshare',
    flags: ['CLONE_NEWIPC'],
    why: 'the message queues of an IPC namespace belong to whoever makes it: this comes after the change of user',
  };
  return [
    {
      op: 'setgid',
      gid: 0,
      why: 'the group of root of the namespace; until now it was one that the map does not have',
    },
    { op: 'setuid', uid: 0, why: 'root of the namespace' },
    {
      op: 'prctl',
      option: ['PR_SET_DUMPABLE'],
      value: 1,
      why: 'a change of user gives the files of /proc/self to the root of the host: take them back',
      see: 'proc(5), /proc/PID',
    },
    ...(ipc ? [queues] : []),
  ];
}
