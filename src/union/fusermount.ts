/**
 * Mounts for an ordinary user: fusermount3(1), which has the right to do so, mounts where he may write, and sends the descriptor of /dev/fuse.
 * @see libfuse, util/fusermount.c
 */
import { spawnSync } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { TsboxError, wrapError } from '../errors.ts';
import { MS } from '../spec/linux.ts';
import { bind, check, OWN } from '../sys/ffi.ts';
import { findProgram } from '../sys/find-program.ts';
import { socketPair } from '../sys/process.ts';

const receiveDescriptor = bind('int', 'tsbox_receive_descriptor', ['int'], OWN);

/** Of the flags of mount(2) those that it knows; nosuid and nodev it adds. */
const FLAGS = {
  ro: MS.MS_RDONLY,
  noexec: MS.MS_NOEXEC,
  sync: MS.MS_SYNCHRONOUS,
  dirsync: MS.MS_DIRSYNC,
  noatime: MS.MS_NOATIME,
} as const;

/** Where it is; undefined without it. Its place is known before a signal asks for it. */
export function findFusermount(): string | undefined {
  const path = (process.env['PATH'] ?? '').split(':').filter((place) => place.startsWith('/'));
  return findProgram('fusermount3', [...path, '/usr/bin', '/bin']);
}

/** May others use what a user has mounted? Root says so. @see fuse.conf in mount.fuse3(8) */
function othersMayUse(): boolean {
  try {
    return /^user_allow_other\s*$/m.test(readFileSync('/etc/fuse.conf', 'utf8'));
  } catch {
    return false;
  }
}

const escaped = (text: string): string => text.replace(/[\\,]/g, '\\$&');

/** @param program {@link findFusermount} @returns the device that requests come from @throws ERR_TSBOX_UNSUPPORTED with its words */
export function mountByFusermount(program: string, source: string, target: string, flags: number): number {
  const options = [
    `fsname=${escaped(source)}`,
    'subtype=tsbox-union',
    'default_permissions',
    ...(othersMayUse() ? ['allow_other'] : []),
    ...Object.entries(FLAGS).flatMap(([name, flag]) => (flags & flag ? [name] : [])),
  ];
  const [here, there] = socketPair();
  try {
    const { status, stderr, error } = spawnSync(program, ['-o', options.join(','), '--', target], {
      stdio: ['ignore', 'ignore', 'pipe', there],
      env: { ...process.env, _FUSE_COMMFD: '3' },
      encoding: 'utf8',
    });
    if (error !== undefined) throw wrapError(`run ${program}`, error);
    if (status !== 0) throw new TsboxError('ERR_TSBOX_UNSUPPORTED', stderr.trim());
    return check(receiveDescriptor(here), 'recvmsg', () => `take /dev/fuse from ${program}`);
  } finally {
    closeSync(here);
    closeSync(there);
  }
}
