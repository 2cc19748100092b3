/** A mount namespace of its own, with a file system for the layers: what the programs in this folder run in. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs a program of this folder once more, with a directory as the last of its arguments: an empty tmpfs, or with FILE_SYSTEM=ext4 (or
 *  another one that mkfs can make) one in a file on it; with FILE_SYSTEM=overlay a tmpfs, on which the program itself makes an overlay.
 *  Ends with its status. @param size of the file, which has an inode for each 16 KB */
export function runInNamespace(program: string, argv: readonly string[], size = '2G'): never {
  const work = mkdtempSync(join(tmpdir(), 'tsbox-union-'));
  const type = process.env['FILE_SYSTEM'] ?? 'tmpfs';
  const disk = `cd "$1" && truncate -s ${size} disk && mkfs -t ${type} -q disk && mount -o loop disk "$1"`;
  const inMemory = type === 'tmpfs' || type === 'overlay';
  const script = `mount -t tmpfs -o mode=755 union "$1" && ${inMemory ? '' : `${disk} && `}shift && exec "$@"`;
  const command = ['sh', '-c', script, 'sh', work, process.execPath, program, ...argv, work];
  const { status } = spawnSync('unshare', ['--mount', ...command], { stdio: 'inherit' });
  spawnSync('rmdir', [work]);
  process.exit(status ?? 1);
}
