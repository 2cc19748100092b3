/** Locks between processes: flock(2), which the kernel frees at once when the holder dies. @see flock(2) */
import { closeSync, constants, openSync } from 'node:fs';
import { isErrno } from '../errors.ts';
import { bind, check, lastErrno } from './ffi.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const EAGAIN = 11;
const EINTR = 4;

const flock = bind('int', 'flock', ['int', 'int']);

export interface Lock {
  /** The open file that has it. A process that is given it keeps the lock too, until all have closed it. */
  readonly descriptor: number;
  /** Gives the lock back; calling it twice does no harm. */
  release(): void;
}

export type LockMode = 'shared' | 'exclusive';

function hold(fd: number): Lock {
  let open = true;
  return {
    descriptor: fd,
    release() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** Waits for a lock on an existing file or directory. The thread sleeps meanwhile: hold locks for milliseconds only.
 *  @throws ENOENT and other refusals of open(2) */
export function lock(path: string, mode: LockMode = 'exclusive'): Lock {
  const fd = openSync(path, constants.O_RDONLY);
  const operation = mode === 'shared' ? LOCK_SH : LOCK_EX;
  while (flock(fd, operation) === -1) {
    if (lastErrno() === EINTR) continue;
    try {
      check(-1, 'flock', () => `lock ${path}`);
    } finally {
      closeSync(fd);
    }
  }
  return hold(fd);
}

/** A lock if nobody holds one against it now, else undefined. */
export function tryLock(path: string, mode: LockMode = 'exclusive'): Lock | undefined {
  const fd = openSync(path, constants.O_RDONLY);
  if (flock(fd, (mode === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return hold(fd);
  const errno = lastErrno();
  closeSync(fd);
  if (errno === EAGAIN) return undefined;
  check(-1, 'flock', () => `lock ${path}`);
  return undefined;
}

/** Does somebody hold a lock against one of this mode? What is not there is locked by nobody. */
export function isLocked(path: string, mode: LockMode = 'exclusive'): boolean {
  try {
    const held = tryLock(path, mode);
    held?.release();
    return held === undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Runs `work` under a lock that is given back whatever happens. */
export function withLock<T>(path: string, mode: LockMode, work: () => T): T {
  const held = lock(path, mode);
  try {
    return work();
  } finally {
    held.release();
  }
}
