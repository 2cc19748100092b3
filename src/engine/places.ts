/** Where a path of the container leads that may have to be made: symlinks of the image count also when what they name is not there. */
import { readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import type { OciConfig } from '../spec/oci-runtime.ts';
import { resolveInStack, type Stack } from '../store/lookup.ts';

/** As many symlinks as the kernel follows. @see path_resolution(7) */
const LINKS_MAX = 40;

/** The path without symlinks: those that the layers have are followed, from wherever they are, within the container.
 *  More than 40 are left to the kernel's ELOOP. */
export function placeInStack(stack: Stack, path: string): string {
  const rest = path.split('/').reverse();
  let at = '/';
  let links = 0;
  while (rest.length > 0) {
    const name = rest.pop() ?? '';
    if (name === '' || name === '.') continue;
    const here = posix.join(at, name);
    const found = name === '..' ? undefined : resolveInStack(stack, here, false);
    if (found?.stat.isSymbolicLink() !== true) {
      at = here;
      continue;
    }
    if (++links > LINKS_MAX) return path;
    const target = readlinkSync(found.host);
    if (target.startsWith('/')) at = '/';
    rest.push(...target.split('/').reverse());
  }
  return at;
}

/** The configuration with the places of its binds and of its working directory, so that they can be made. What lies below another mount
 *  is not the image's to say. */
export function withPlaces(config: OciConfig, stack: Stack): OciConfig {
  const mounts = config.mounts ?? [];
  const place = (path: string) =>
    mounts.some(({ destination }) => `${path}/`.startsWith(`${destination}/`) && path !== destination)
      ? path
      : placeInStack(stack, path);
  return {
    ...config,
    process: { ...config.process, cwd: place(config.process.cwd) },
    mounts: mounts.map((mount) =>
      mount.type === 'bind' || mount.type === 'tmpfs' ? { ...mount, destination: place(mount.destination) } : mount,
    ),
  };
}
