/** Can the layers of a container be shown with other owners here? Asked of the kernel once for each mount of the data root. */
import { readFileSync, realpathSync } from 'node:fs';
import { release } from 'node:os';
import { readObject } from '../store/io.ts';
import type { Store } from '../store/store.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { idmapOutcome } from '../sys/doctor-root.ts';
import { mountOf } from '../sys/mountinfo.ts';

/** Overlay takes mapped layers from this version on. */
const MAPPED_LAYERS_SINCE = 519;

/** @param kernel as HostFacts has it
 *  @param keep whether the answer may be written down, in the data root */
export function mapsOwners(store: Store, kernel: number, keep: boolean): boolean {
  if (kernel < MAPPED_LAYERS_SINCE) return false;
  const path = `${store.dataRoot}/maps-owners.json`;
  const mount = mountOf(realpathSync(store.dataRoot), readFileSync('/proc/self/mountinfo', 'utf8'))?.line ?? '';
  const known = readObject(path);
  if (known?.['kernel'] === release() && known['mount'] === mount) return known['maps'] === true;
  const outcome = idmapOutcome(store.overlay);
  // Not tried: then the start of the container tells.
  if (outcome === 'untried') return true;
  const maps = outcome === 'ok';
  if (keep) writeFileAtomic(path, JSON.stringify({ kernel: release(), mount, maps }), { mode: 0o644 });
  return maps;
}
