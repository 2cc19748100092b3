/** Files that are always whole: written beside their place, then renamed over it. @see rename(2) */
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { randomHex } from './random.ts';

export interface AtomicOptions {
  /** Permission bits whatever the umask; 0644 when absent. */
  mode?: number;
  /** Wait until the bytes are on the disk before the name points to them. For what cannot be made again. */
  sync?: boolean;
}

/** Prefix of the temporary names; whoever lists a directory leaves them out, whoever collects garbage may remove them. */
export const TEMPORARY_PREFIX = '.tmp-';

/** Replaces or makes `path` with `data` in one step: a reader sees the old bytes or the new ones, never a part. */
export function writeFileAtomic(path: string, data: string | Buffer, options: AtomicOptions = {}): void {
  const temporary = join(dirname(path), `${TEMPORARY_PREFIX}${basename(path)}-${randomHex(6)}`);
  const fd = openSync(temporary, 'wx', options.mode ?? 0o644);
  try {
    try {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data;
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fchmodSync(fd, options.mode ?? 0o644);
      if (options.sync === true) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
}
