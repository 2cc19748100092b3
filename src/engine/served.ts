/** The files of a container that runs, where a process serves them (storage driver fuse). Whoever mounted it may have chosen otherwise than
 *  this tsbox would: the lock of the process tells. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../errors.ts';
import { type Store, unionLock } from '../store/store.ts';
import { monotonicMs } from '../sys/clock.ts';
import { fileSystemOf } from '../sys/file-system.ts';
import { isLocked } from '../sys/lock.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { syncUnion } from '../sys/sync.ts';

const PATIENCE_MS = 10_000;
const POLL_MS = 5;

/** Has that process been killed? Those of the container live on, until they touch a file. The mount itself is not touched: a process that
 *  stands still would hold us up. */
export function isUnserved(store: Store, id: string): boolean {
  const lock = unionLock(store, id);
  return existsSync(lock) && !isLocked(lock, 'shared');
}

/** What serves the files of a container without root ends when that has ended; root's ends when it is unmounted, and has written everything
 *  by then. Waits for ten seconds at most. */
export async function unionEnds(store: Store, id: string): Promise<void> {
  const lock = unionLock(store, id);
  for (const end = monotonicMs() + PATIENCE_MS; monotonicMs() < end && isLocked(lock, 'shared'); await sleep(POLL_MS));
}

/** Brings to the upper directory what the kernel still keeps of it: writes to files that are open. The kernel's own overlay keeps none. Without
 *  root the caller is in the user namespace of the container. @throws SyscallError, ENOSPC among them */
export async function writeBack(store: Store, id: string, pid: number, merged: string): Promise<void> {
  if (isUnserved(store, id)) return;
  const root = isHostRoot() ? merged : `/proc/${pid}/root`;
  try {
    if (fileSystemOf(root) === 'fuse') await syncUnion(root);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    await unionEnds(store, id); // it was unmounted meanwhile
  }
}
