/** Signals by process descriptor: the number may be given to another process meanwhile, the descriptor may not. @see pidfd_open(2) */
import { closeSync } from 'node:fs';
import { bind, check, lastErrno, refuse } from './ffi.ts';
import { processStat } from './process-stat.ts';

const ESRCH = 3;
const [SYS_PIDFD_SEND_SIGNAL, SYS_PIDFD_OPEN] = [424, 434];
const pidfdOpen = bind('long', 'syscall', ['long', 'int', 'unsigned int']);
const pidfdSend = bind('long', 'syscall', ['long', 'int', 'int', 'const void *', 'unsigned int']);

/** Sends a signal to `pid` if `stillMeant` holds once the process is pinned.
 *  @returns false when it is gone or no longer meant
 *  @throws SyscallError when the kernel refuses the signal */
export function sendSignal(pid: number, signal: number, stillMeant: () => boolean): boolean {
  const fd = pidfdOpen(SYS_PIDFD_OPEN, pid, 0);
  if (fd === -1) return false;
  try {
    if (!stillMeant()) return false;
    const sent = pidfdSend(SYS_PIDFD_SEND_SIGNAL, fd, signal, null, 0);
    if (sent === -1 && lastErrno() === ESRCH) return false;
    check(sent, 'pidfd_send_signal', () => `send signal ${signal} to process ${pid}`);
    return true;
  } finally {
    closeSync(fd);
  }
}

const setns = bind('int', 'setns', ['int', 'int']);

/** All namespaces of `flags` at once, of the process `pid` if it is a child of `parent`. A parent that was read while the descriptor can
 *  still be signalled is that of the descriptor's process. @throws SyscallError ESRCH when it is not; others of setns(2) */
export function joinNamespaces(pid: number, parent: number, flags: number): void {
  const what = () => `join the namespaces of process ${pid}`;
  const fd = check(pidfdOpen(SYS_PIDFD_OPEN, pid, 0), 'pidfd_open', what);
  try {
    if (processStat(pid).parent !== parent) throw refuse('pidfd_open', what(), 'ESRCH');
    check(pidfdSend(SYS_PIDFD_SEND_SIGNAL, fd, 0, null, 0), 'pidfd_send_signal', what);
    check(setns(fd, flags), 'setns', what);
  } finally {
    closeSync(fd);
  }
}
