/** Which driver this host gets: the kernel's overlay where it can be had, else the union from user space, else copies. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { TsboxError } from '../../errors.ts';
import { requireProgram } from '../../sys/built-file.ts';
import { fileSystemOf } from '../../sys/file-system.ts';
import { overlayRefusal, overlayRefusalInNamespace } from '../../sys/overlay-trial.ts';
import { isHostRoot } from '../../sys/own-ids.ts';
import { kernelVersion } from '../../sys/probe.ts';
import { randomHex } from '../../sys/random.ts';
import type { Driver, DriverName, LayerMount } from './driver.ts';
import { fuseDriver } from './fuse.ts';
import { overlay2Driver } from './overlay2.ts';
import { vfsDriver } from './vfs.ts';

export const DRIVERS: readonly DriverName[] = ['overlay2', 'fuse', 'vfs'];

/** File systems of which it is known that an overlay may write there. */
const KNOWN = ['ext4', 'xfs', 'btrfs', 'tmpfs', 'f2fs'];

/** Overlay in a user namespace: Linux 5.11. */
const WITHOUT_ROOT_SINCE = 511;

/** What is known of a host. */
export interface OverlayFacts {
  isRoot: boolean;
  /** Its version, `major * 100 + minor`. */
  kernel: number;
  /** Of the data root. */
  fileSystem: string;
  /** The kernel has overlay already, or lists it. */
  hasOverlay(): boolean;
  /** How the kernel refuses an overlay in the data root, if it does. */
  refusal(): string | undefined;
  /** Why the union cannot be had, if it cannot. */
  withoutFuse(): string | undefined;
}

/** The name and why. Pure. The questions are asked one after the other, the cheap ones first. */
export function choice(facts: OverlayFacts): { name: DriverName; reason: string } {
  const where = facts.isRoot ? '' : ' in a user namespace';
  const mayMount = facts.isRoot || facts.kernel >= WITHOUT_ROOT_SINCE;
  if (KNOWN.includes(facts.fileSystem) && mayMount && facts.hasOverlay()) {
    return { name: 'overlay2', reason: `the kernel has overlay${where}, and takes ${facts.fileSystem} for it` };
  }
  const refusal = facts.refusal();
  if (refusal === undefined)
    return { name: 'overlay2', reason: `the kernel made an overlay on ${facts.fileSystem}${where} when it was tried` };
  const missing = facts.withoutFuse();
  const says = `the kernel refuses an overlay on ${facts.fileSystem}${where}: ${refusal}`;
  if (missing === undefined) return { name: 'fuse', reason: says };
  const reason = `${says}; nor is there a union from user space: ${missing}`;
  return { name: 'vfs', reason };
}

/** @param home `<data-root>/overlay2` @param asked `--storage-driver`
 *  @throws ERR_TSBOX_USAGE for a driver that there is not */
export function chooseDriver(dataRoot: string, home: string, asked: string | undefined): Driver {
  const { name, reason } =
    asked === undefined ? choice(hostFacts(dataRoot)) : { name: asked, reason: 'it was asked for' };
  if (name === 'overlay2') return overlay2Driver(home, reason);
  if (name === 'fuse') return fuseDriver(home, requireProgram('tsbox-union'), reason);
  if (name === 'vfs') return vfsDriver(home, reason);
  throw new TsboxError('ERR_TSBOX_USAGE', `unknown storage driver: ${JSON.stringify(name)}`, {
    hint: `There are ${DRIVERS.slice(0, -1).join(', ')} and ${DRIVERS.at(-1)}.`,
    exitCode: 125,
  });
}

/** Who mounts a container: one that has a copy of all its files needs nothing but that, whatever this host would choose. */
export function driverOf({ driver, overlay }: { driver: Driver; overlay: string }, { whole }: LayerMount): Driver {
  if (whole !== true || driver.copies) return driver;
  return vfsDriver(overlay, 'the container was made by it');
}

function hostFacts(dataRoot: string): OverlayFacts {
  return {
    isRoot: isHostRoot(),
    kernel: kernelVersion(release()),
    fileSystem: fileSystemOf(dataRoot),
    hasOverlay: () =>
      existsSync('/sys/module/overlay') || /\boverlay$/m.test(readFileSync('/proc/filesystems', 'utf8')),
    refusal: () => tryOverlay(dataRoot),
    withoutFuse() {
      try {
        accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
        return undefined;
      } catch (error) {
        return `/dev/fuse: ${(error as NodeJS.ErrnoException).code}`;
      }
    },
  };
}

/** On the data root itself: another file system tells nothing. */
function tryOverlay(dataRoot: string): string | undefined {
  const directory = `${dataRoot}/.tmp-overlay-${randomHex(6)}`;
  const [lowerdir, upperdir, workdir] = ['lower', 'upper', 'work'].map((name) => `${directory}/${name}`) as [
    string,
    string,
    string,
  ];
  try {
    for (const path of [directory, lowerdir, upperdir, workdir]) mkdirSync(path, { mode: 0o700, recursive: true });
    if (process.geteuid?.() !== 0) return overlayRefusalInNamespace(directory);
    return overlayRefusal({ lowerdir, upperdir, workdir }, !isHostRoot())?.errnoName;
  } finally {
    removeWork(workdir);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What the kernel makes there its owner may not list. */
function removeWork(workdir: string): void {
  try {
    rmdirSync(`${workdir}/work`);
  } catch {
    // it has made nothing
  }
}
