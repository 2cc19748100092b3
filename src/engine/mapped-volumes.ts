/** Volumes of a container with a user namespace whose layers the kernel maps: they are mapped like these, so on disk are the owners that
 *  the container sees, and every container sees the same ones. */
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { takeAwayPlace } from '../plan/mounts.ts';
import type { Step } from '../plan/step.ts';
import type { ContainerRecord } from '../spec/container.ts';
import type { IdMaps } from '../spec/id-map.ts';
import type { OciConfig, OciMount } from '../spec/oci-runtime.ts';
import { mappedPlace, type Store } from '../store/store.ts';
import { volumeData, volumesHome } from '../store/volumes.ts';
import { idmapOutcome } from '../sys/doctor-root.ts';
import { mountOf } from '../sys/mountinfo.ts';

/** Volumes may be on another file system than the layers. */
export function mapsVolumes(store: Store): boolean {
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  const mountAt = (path: string) => mountOf(realpathSync(path), mountinfo)?.line;
  return mountAt(volumesHome(store)) === mountAt(store.overlay) || idmapOutcome(volumesHome(store)) === 'ok';
}

/** The configuration with the maps of its volumes; those that are mounts of something else keep their owners, as binds do. */
export function withMappedVolumes(
  store: Store,
  config: OciConfig,
  { MountPoints }: ContainerRecord,
  maps: IdMaps | undefined,
): OciConfig {
  const points = Object.values(MountPoints);
  const own = points.filter(({ Type, Name = '', Source }) => Type === 'volume' && Source === volumeData(store, Name));
  if (maps === undefined || own.length === 0 || !mapsVolumes(store)) return config;
  const sources = new Set(own.map(({ Source }) => Source));
  const mapped = (mount: OciMount): OciMount => ({
    ...mount,
    options: (mount.options ?? []).map((option) => (option === 'rbind' ? 'bind' : option)),
    uidMappings: [...maps.uids],
    gidMappings: [...maps.gids],
  });
  const mounts = (config.mounts ?? []).map((mount) =>
    mount.type === 'bind' && sources.has(mount.source ?? '') ? mapped(mount) : mount,
  );
  return { ...config, mounts };
}

/** Takes away what a start that was killed has left of mapped volumes. */
export function mappedLeftovers(store: Store, id: string): Step[] {
  const place = mappedPlace(store, id);
  const names = readdirSync(dirname(place)).filter((name) => name.startsWith(`${basename(place)}-`));
  return names.flatMap((name) => takeAwayPlace(`${dirname(place)}/${name}`));
}
