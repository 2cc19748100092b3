/**
 * What may be mounted at /proc or in it. A directory there could pass for the kernel's files, which whoever sets up the next process
 * writes to and believes. As runc: only a procfs at /proc, and single files that tell of the machine.
 */
import { statfsSync } from 'node:fs';
import { TsboxError } from '../errors.ts';
import type { OciMount } from '../spec/oci-runtime.ts';

const PROC_SUPER_MAGIC = 0x9fa0;

const ALLOWED: ReadonlySet<string> = new Set(
  [
    'cpuinfo diskstats loadavg meminfo slabinfo stat swaps uptime',
    'net/dev sys/kernel/ns_last_pid sys/crypto/fips_enabled',
  ]
    .join(' ')
    .split(' ')
    .map((name) => `/proc/${name}`),
);

function isProcfs(path: string): boolean {
  try {
    return statfsSync(path).type === PROC_SUPER_MAGIC;
  } catch {
    return false;
  }
}

/** @param mounts with the places that their destinations lead to @throws ERR_TSBOX_USAGE */
export function checkProcMounts(mounts: readonly OciMount[]): void {
  for (const { destination, type, source = '' } of mounts) {
    if (!`${destination}/`.startsWith('/proc/') || ALLOWED.has(destination)) continue;
    const here = JSON.stringify(destination);
    if (destination !== '/proc') throw refused(`${here} cannot be mounted because it is inside /proc`);
    if (type !== 'proc' && !isProcfs(source)) throw refused(`${here} cannot be mounted because it is not of type proc`);
  }
}

function refused(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, {
    exitCode: 125,
    hint: 'What is mounted there would pass for files of the kernel. Mount it elsewhere.',
  });
}
