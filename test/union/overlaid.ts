/** Layers that lie on an overlay themselves, as in a container engine that runs in a container. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { walkTree } from '../../src/layer/walk.ts';
import { S } from '../../src/spec/linux.ts';
import { unlinkat } from '../../src/sys/file.ts';
import { mount } from '../../src/sys/mount.ts';
import { quickly } from '../../src/sys/quick.ts';
import { type FileStatus, TYPE_MASK } from '../../src/sys/stat.ts';
import { lgetxattr, llistxattr, lsetxattr } from '../../src/sys/xattr.ts';
import { cstring } from '../../src/union/memory.ts';

const OWN = 'trusted.overlay.';
/** What an overlay shows as {@link OWN} to one that lies on it. */
const ESCAPED = 'trusted.overlay.overlay.';

const isDevice = ({ mode, deviceMajor, deviceMinor }: FileStatus): boolean =>
  (mode & TYPE_MASK) === S.S_IFCHR && deviceMajor === 0 && deviceMinor === 0;

/** Mounts an overlay that shows copies of layers, and can be written to. @param settle told each copy before @returns where it is mounted */
export function overlayWith(layers: readonly string[], directory: string, settle: (layer: string) => void): string {
  const [lower, upper, work, merged] = ['ol', 'ou', 'ow', 'om'].map((name) => join(directory, name));
  for (const each of [lower!, upper!, work!, merged!]) mkdirSync(each);
  for (const layer of layers) {
    execFileSync('cp', ['-a', layer, lower!]);
    const copy = join(lower!, basename(layer));
    nest(copy);
    settle(copy);
  }
  mount('overlay', merged!, 'overlay', 0, `lowerdir=${lower},upperdir=${upper},workdir=${work}`);
  return merged!;
}

/** Gives what overlayfs has written in a layer the form that it has below another overlay. */
function nest(layer: string): void {
  const seen = new Set<string>();
  for (const { dirfd, base, status } of walkTree(layer, () => true)) {
    const path = Buffer.concat([Buffer.from(`/proc/self/fd/${dirfd}/`), base]);
    if (isDevice(status)) nestWhiteout(dirfd, base, path);
    else if (!seen.has(status.identity)) for (const name of llistxattr(path).reverse()) nestAttribute(path, name);
    seen.add(status.identity);
  }
}

function nestAttribute(path: Buffer, name: string): void {
  const value = name.startsWith(OWN) ? lgetxattr(path, name) : undefined;
  if (value === undefined) return;
  lsetxattr(path, ESCAPED + name.slice(OWN.length), value);
  quickly.lremovexattr(cstring(path.toString('latin1')), cstring(name));
}

function nestWhiteout(dirfd: number, base: Buffer, path: Buffer): void {
  unlinkat(dirfd, base);
  const parent = `/proc/self/fd/${dirfd}/.`;
  if (lgetxattr(parent, `${ESCAPED}opaque`)?.toString() === 'y') return; // nothing is below it
  writeFileSync(path, '');
  lsetxattr(path, `${ESCAPED}whiteout`, Buffer.from('y'));
  lsetxattr(parent, `${ESCAPED}opaque`, Buffer.from('x'));
}
