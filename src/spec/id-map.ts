/** Which ids of a user namespace are which ids outside. Pure. @see user_namespaces(7), subuid(5) */
import { TsboxError } from '../errors.ts';
import type { OciIdMapping } from './oci-runtime.ts';

export type IdMap = readonly OciIdMapping[];

export interface IdMaps {
  uids: IdMap;
  gids: IdMap;
}

/** The kernel takes so many lines. */
const RANGES_MAX = 340;
/** Ids have 32 bits, and the last one means "none". */
const IDS = 2 ** 32 - 1;

/** The ranges that /etc/subuid or /etc/subgid has for one of `names`, in the order of the file: names first, then numbers, as the
 *  caller lists them. @throws ERR_TSBOX_SPEC on a line of theirs that is no range */
export function subordinateRanges(
  text: string,
  names: readonly string[],
  file: string,
): [start: number, size: number][] {
  const lines = text.split('\n').map((line) => line.trim().split(':'));
  const ranges: [number, number][] = [];
  for (const name of new Set(names)) {
    for (const [owner, start = '', size = ''] of lines) {
      if (owner !== name) continue;
      const range: [number, number] = [Number(start), Number(size)];
      const whole = /^\d+$/.test(start) && /^\d+$/.test(size) && range[0] + range[1] <= IDS;
      if (!whole) throw new TsboxError('ERR_TSBOX_SPEC', `read ${file}: ${name}:${start}:${size} is no range of ids`);
      if (range[1] > 0) ranges.push(range);
    }
  }
  return ranges;
}

/** The ranges one after the other, from `first` on. */
export function mapOf(ranges: readonly (readonly [start: number, size: number])[], first = 0): OciIdMapping[] {
  let containerID = first;
  const map: OciIdMapping[] = [];
  for (const [hostID, size] of ranges.slice(0, RANGES_MAX)) {
    map.push({ containerID, hostID, size });
    containerID += size;
  }
  return map;
}

/** As /proc/PID/uid_map takes it. */
export function mapText(map: IdMap): string {
  return map.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('');
}

/** What the id is outside; undefined when it is not mapped. */
export function toHost(map: IdMap, id: number): number | undefined {
  const found = map.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return found === undefined ? undefined : found.hostID + id - found.containerID;
}

/** What an id of outside is inside; undefined when it is not mapped. */
export function toContainer(map: IdMap, id: number): number | undefined {
  const found = map.find(({ hostID, size }) => id >= hostID && id < hostID + size);
  return found === undefined ? undefined : found.containerID + id - found.hostID;
}

/** The content of a /proc/PID/uid_map. */
export function parseMap(text: string): OciIdMapping[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter((numbers) => numbers.length === 3)
    .map(([containerID = 0, hostID = 0, size = 0]) => ({ containerID, hostID, size }));
}

/** The maps of an ordinary user's namespaces: himself as root, and after that his subordinate ids. */
export interface UserMaps extends IdMaps {
  /** Why there is no other id than his own. */
  single?: 'no ranges' | 'no helpers';
}

/** Pure. @param helpers whether newuidmap(1) and newgidmap(1) are there: without them a user may map only himself
 *  @throws as {@link subordinateRanges} */
export function userMaps(
  who: { uid: number; gid: number; names: readonly string[] },
  files: { subuid: string; subgid: string },
  helpers: boolean,
): UserMaps {
  const uids = subordinateRanges(files.subuid, who.names, '/etc/subuid');
  const gids = subordinateRanges(files.subgid, who.names, '/etc/subgid');
  const single = uids.length === 0 || gids.length === 0 ? 'no ranges' : helpers ? undefined : 'no helpers';
  const own = (id: number) => [id, 1] as const;
  if (single !== undefined) return { uids: mapOf([own(who.uid)]), gids: mapOf([own(who.gid)]), single };
  return { uids: mapOf([own(who.uid), ...uids]), gids: mapOf([own(who.gid), ...gids]) };
}

/** Is there only one id in it? Then the kernel lets nobody set supplementary groups. */
export function isSingle(maps: IdMaps): boolean {
  return maps.gids.length === 1 && maps.gids[0]?.size === 1;
}
