/** The files of a container that runs, where a process serves them (storage driver fuse). Whoever mounted it may have chosen otherwise than
 *  this tsbox would: the lock of the process tells. */
import { existsSync } from 'node:fs';
import { type Store, unionLock } from '../store/store.ts';
import { fileSystemOf } from '../sys/file-system.ts';
import { isLocked } from '../sys/lock.ts';
import { isHostRoot } from '../sys/own-ids.ts';
import { syncUnion } from '../sys/sync.ts';

/** Has that process been killed? Those of the container live on, until they touch a file. The mount itself is not touched: a process that
 *  stands still would hold us up. */
export function isUnserved(store: Store, id: string): boolean {
  const lock = unionLock(store, id);
  return existsSync(lock) && !isLocked(lock, 'shared');
}

/** Brings to the upper directory what the kernel still keeps of it: writes to files that are open. The kernel's own overlay keeps none. Without
 *  root the caller is in the user namespace of the container. @throws SyscallError, ENOSPC among them */
export async function writeBack(store: Store, id: string, pid: number, merged: string): Promise<void> {
  if (isUnserved(store, id)) return;
  const root = isHostRoot() ? merged : `/proc/${pid}/root`;
  if (fileSystemOf(root) === 'fuse') await syncUnion(root);
}
