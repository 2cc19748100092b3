/** Binds that are to show mounts that are made later need a source that tells of them. */
import { TsboxError } from '../errors.ts';
import type { MountPoint } from '../spec/container.ts';
import { mountHolding } from '../sys/mountinfo.ts';

/** @throws ERR_TSBOX_USAGE, in Docker's words, for a bind that was asked to be shared or a slave and whose source is private */
export function checkPropagation(points: readonly MountPoint[]): void {
  for (const { Propagation, Source, Spec } of points) {
    const kind = Propagation.replace(/^r/, '');
    // One that nobody asked for is no promise: it stays private then.
    if (Spec?.BindOptions?.Propagation !== Propagation || (kind !== 'shared' && kind !== 'slave')) continue;
    const mount = mountHolding(Source);
    if (mount === undefined || mount.shared || (kind === 'slave' && mount.slave)) continue;
    const needs = kind === 'shared' ? 'shared mount' : 'shared or slave mount';
    throw new TsboxError('ERR_TSBOX_USAGE', `path ${Source} is mounted on ${mount.point} but it is not a ${needs}`, {
      exitCode: 125,
      hint: `Make it one: mount --make-rshared ${mount.point}`,
    });
  }
}
