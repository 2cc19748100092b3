/** A user namespace for a container: its root is an ordinary user outside. Pure. @see user_namespaces(7) */
import { type IdMaps, mapText, toHost } from '../spec/id-map.ts';
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
 *  @param then what else the monitor does once the maps are there */
export function userNamespaceSteps(maps: IdMaps, then: readonly Step[]): Step[] {
  const write = (file: string, data: string, why: string): Step => ({
    op: 'write',
    path: text`/proc/${hole('pid')}/${file}`,
    data,
    flags: [],
    mode: 0,
    why,
    see: 'user_namespaces(7)',
  });
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
        write(
          'uid_map',
          mapText(maps.uids),
          "users: inside, outside, how many; the container's root is nobody outside",
        ),
        write('gid_map', mapText(maps.gids), 'groups likewise'),
        ...then,
      ],
      why: 'nobody may write his own map: it is done by the monitor, which is still outside',
    },
  ];
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
