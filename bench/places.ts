/** Where data roots lie: a directory for each trial, on the disk or on a tmpfs, in a mount namespace that ends with the benchmark. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { which } from './engines.ts';
import { run } from './measure.ts';

export interface Place {
  readonly name: 'disk' | 'tmpfs';
  /** A fresh directory. */
  open(): string;
  /** Takes it back. */
  close(directory: string): void;
}

const MOUNT_OPTIONS = 'mode=755,size=75%';

export function mountTmpfs(directory: string): void {
  mkdirSync(directory, { recursive: true });
  run({ argv: ['mount', '-t', 'tmpfs', '-o', MOUNT_OPTIONS, 'tsbox-bench', directory] });
}

function unmount(directory: string): void {
  run({ argv: ['umount', '--recursive', '--lazy', directory] });
}

/** A tmpfs of its own for each directory. */
export function tmpfsPlace(work: string): Place {
  let number = 0;
  const open = () => {
    const directory = join(work, `t${number++}`);
    mountTmpfs(directory);
    return directory;
  };
  return { name: 'tmpfs', open, close: unmount };
}

/** Where podman remembers blobs beside its stores: which registry had them, how they were compressed. */
const PODMAN_MEMORY = '/var/lib/containers';

/** Hides it behind nothing. In the namespace of the benchmark only. */
export function forgetBlobs(): void {
  if (!existsSync(PODMAN_MEMORY)) return;
  spawnSync('umount', [PODMAN_MEMORY], { stdio: 'ignore' });
  mountTmpfs(PODMAN_MEMORY);
}

const TMPFS_MAGIC = 0x01021994;
/** Bytes that a trial may write. */
const ROOM = 4e9;
/** Nothing is prepared in the background, which would be measured. */
const MKFS_OPTIONS = ['-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'];
const DISK_MOUNT_OPTIONS = 'loop,noinit_itable,nodiscard';

/**
 * An ext4 of its own for each directory, in a file where temporary files lie: one that has had many files removed within the last
 * minutes takes up to three times the processor time for new ones. @returns a sentence instead when there is no such place
 */
export function diskPlace(work: string): Place | string {
  const { type, bavail, bsize } = statfsSync(work);
  if (type === TMPFS_MAGIC) return `${tmpdir()} is a tmpfs: set TMPDIR to a directory on the disk`;
  if (bavail * bsize < ROOM) return `${tmpdir()} has less than ${ROOM / 1e9} GB free`;
  const mkfs = which('mkfs.ext4');
  if (mkfs === undefined) return 'mkfs.ext4 is not installed';
  let number = 0;
  const imageOf = (directory: string) => `${directory}.ext4`;
  const open = () => {
    const directory = join(work, `d${number++}`);
    mkdirSync(directory);
    const image = imageOf(directory);
    writeFileSync(image, '');
    truncateSync(image, ROOM);
    run({ argv: [mkfs, '-q', '-F', ...MKFS_OPTIONS, image] });
    run({ argv: ['mount', '-o', DISK_MOUNT_OPTIONS, image, directory] });
    return directory;
  };
  const close = (directory: string) => {
    unmount(directory);
    rmSync(imageOf(directory));
  };
  return { name: 'disk', open, close };
}

const WORK = 'TSBOX_BENCH_WORK';

/**
 * Starts this program again, in namespaces of its own for mounts and processes: whatever way it ends, nothing stays mounted and no daemon
 * runs on. @param more kinds of namespaces: options of unshare(1)
 * @returns the work directory, inside; outside it does not return before everything is over, and then ends the process
 */
export async function inOwnNamespaces(...more: readonly string[]): Promise<string> {
  const inside = process.env[WORK];
  if (inside !== undefined) {
    delete process.env[WORK];
    // The first process of a namespace gets no signal that it has no handler for.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
    return inside;
  }
  const work = mkdtempSync(join(tmpdir(), 'tsbox-bench-'));
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', ...more];
  const child = spawn('unshare', [...namespaces, process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [WORK]: work },
  });
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGKILL'));
  const status = await new Promise<number | null>((fulfil, reject) =>
    child.once('error', reject).once('close', fulfil),
  );
  rmSync(work, { recursive: true, force: true });
  process.exit(status ?? 1);
}
