/** `--userns auto`: a range of subordinate ids for one container alone. The ranges are the containers' that there are, running or not:
 *  what a removed one had is free again. @see subuid(5); podman-run(1), --userns=auto */
import { TsboxError } from '../errors.ts';
import type { HostConfig } from '../spec/container.ts';
import { type IdMap, type IdMaps, subordinateRanges } from '../spec/id-map.ts';
import { containerIds, readHostConfig } from '../store/containers.ts';
import type { Store } from '../store/store.ts';
import { withLock } from '../sys/lock.ts';
import { mayBeUsed } from './unknown-users.ts';
import { type AccountFiles, mapsOf, parseRemap, readAccounts } from './userns.ts';
import { autoSize } from './userns-mode.ts';

const FAILED = 125;
/** Whose ranges in /etc/subuid and /etc/subgid are given out where no user was named; podman has the same. */
const OWNER = 'containers';

type Range = readonly [start: number, size: number];

/** The first `size` ids of `ranges` in a row that none of `taken` has. Pure. @param what for the message */
export function freeRange(ranges: readonly Range[], taken: readonly Range[], size: number): number | undefined {
  const sorted = [...taken].sort(([a], [b]) => a - b);
  for (const [start, length] of ranges) {
    let at = start;
    for (const [from, count] of sorted) {
      if (from >= at + size) break;
      at = Math.max(at, from + count);
    }
    if (at + size <= start + length) return at;
  }
  return undefined;
}

const rangesOf = (map: IdMap): Range[] => map.map(({ hostID, size }) => [hostID, size]);

/** A map for one more container. Pure. @param taken the maps of those that there are
 *  @param remap as --userns-remap names a user, where it does
 *  @throws ERR_TSBOX_USAGE with the command that gives ids, ERR_TSBOX_LIMIT when all are taken */
export function autoMaps(
  mode: string,
  remap: string | undefined,
  files: AccountFiles,
  taken: readonly IdMaps[],
): IdMaps {
  const size = autoSize(mode);
  const named = remap === undefined || remap === '' || remap === 'host' ? undefined : parseRemap(remap, files);
  const find = (kind: 'uids' | 'gids', text: string, file: string): IdMap => {
    const ranges = named === undefined ? subordinateRanges(text, [OWNER], file) : rangesOf(named[kind]);
    if (ranges.length === 0) {
      const message = `no subordinate ids for ${JSON.stringify(OWNER)} in ${file}`;
      const hint = `Give it some that nobody else has: echo ${OWNER}:2147483648:1073741824 >> ${file}`;
      throw new TsboxError('ERR_TSBOX_USAGE', message, { exitCode: FAILED, hint });
    }
    const hostID = freeRange(
      ranges,
      taken.flatMap((maps) => rangesOf(maps[kind])),
      size,
    );
    if (hostID === undefined) {
      const message = `no ${size} ids in a row are free in ${file} for --userns ${mode}`;
      const hint = 'Remove containers that are not needed, ask for fewer with auto:size=N, or add ids to the file.';
      throw new TsboxError('ERR_TSBOX_LIMIT', message, { exitCode: FAILED, hint });
    }
    return [{ containerID: 0, hostID, size }];
  };
  return { uids: find('uids', files.subuid, '/etc/subuid'), gids: find('gids', files.subgid, '/etc/subgid') };
}

/** The maps of all containers. One that is damaged or of a form to come may run all the same: then nobody knows which ids it has.
 *  One whose user is not there any more cannot be started and has none. @throws ERR_TSBOX_DAMAGED, ERR_TSBOX_UNSUPPORTED */
function takenMaps(store: Store): IdMaps[] {
  return containerIds(store).flatMap((id) => {
    try {
      const maps = mapsOf(readHostConfig(store, id));
      return maps === undefined ? [] : [maps];
    } catch (error) {
      if (!(error instanceof TsboxError)) throw error;
      if (['ERR_TSBOX_DAMAGED', 'ERR_TSBOX_UNSUPPORTED'].includes(error.code)) {
        throw mayBeUsed('find ids for --userns auto', { id, error });
      }
      return [];
    }
  });
}

/** Makes a container while nobody else is given ids. @param remap as in {@link autoMaps}
 *  @param make gets the host config with the maps in it, and writes it down */
export function withAutoMaps<T>(
  store: Store,
  hostConfig: HostConfig,
  remap: string | undefined,
  make: (hostConfig: HostConfig) => T,
): T {
  return withLock(store.names, 'exclusive', () => {
    const IDMaps = autoMaps(hostConfig.UsernsMode, remap, readAccounts(), takenMaps(store));
    return make({ ...hostConfig, IDMaps });
  });
}
