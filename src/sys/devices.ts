/** Device nodes of the host. @see stat(2), inode(7) */
import { readdirSync, statSync } from 'node:fs';
import type { OciDevice } from '../spec/oci-runtime.ts';

/** In /dev: directories that a container has of its own, and nodes that it gets in another way. */
const NOT_GIVEN = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console', 'ptmx']);

/** The device that a path is or leads to, to be made at `inside`; undefined when it is none.
 *  @throws Node's ENOENT and the like */
export function deviceAt(path: string, inside: string): OciDevice | undefined {
  const stat = statSync(path, { bigint: true });
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) return undefined;
  const { rdev } = stat;
  return {
    path: inside,
    ...(inside !== path && { source: path }),
    type: stat.isBlockDevice() ? 'b' : 'c',
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
    fileMode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
  };
}

/** All devices at and below a directory, symlinks left out; what vanishes meanwhile is passed over.
 *  @param inside where the directory is to be in the container */
export function devicesBelow(
  directory: string,
  inside: string,
  leaveOut: ReadonlySet<string> = new Set(),
): OciDevice[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry): OciDevice[] => {
    if (leaveOut.has(entry.name)) return [];
    const [path, place] = [`${directory}/${entry.name}`, `${inside}/${entry.name}`];
    if (entry.isDirectory()) return devicesBelow(path, place);
    if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
    try {
      return [deviceAt(path, place)].filter((device) => device !== undefined);
    } catch {
      return [];
    }
  });
}

/** What a privileged container sees: all devices of the host but terminals and what it has of its own. */
export function hostDevices(): OciDevice[] {
  return devicesBelow('/dev', '/dev', NOT_GIVEN);
}
