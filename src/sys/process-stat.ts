/** What the kernel says of a process in one line. @see proc_pid_stat(5) */
import { readFileSync } from 'node:fs';

export interface ProcessStat {
  name: string;
  /** One letter; `Z` of one that has ended and waits to be reaped. */
  state: string;
  parent: number;
  /** PF_*, as the kernel's include/linux/sched.h has them. */
  flags: number;
  /** When it was started, in USER_HZ since boot. */
  startTicks: number;
}

/** Behind the name, which may have anything in it, the state is the third field. */
const [STATE_FIELD, PARENT_FIELD, FLAGS_FIELD, STARTTIME_FIELD] = [3, 4, 9, 22];
const PF_EXITING = 0x4;

/** @throws Node's ENOENT or ESRCH when there is no such process */
export function processStat(pid: number): ProcessStat {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const end = stat.lastIndexOf(')');
  const fields = stat.slice(end + 2).split(' ');
  return {
    name: stat.slice(stat.indexOf('(') + 1, end),
    state: fields[0]!,
    parent: Number(fields[PARENT_FIELD - STATE_FIELD]),
    flags: Number(fields[FLAGS_FIELD - STATE_FIELD]),
    startTicks: Number(fields[STARTTIME_FIELD - STATE_FIELD]),
  };
}

/** Has the process ended, or will it run nothing more of its program? The first one of a PID namespace stays like this until all others
 *  of it have ended. @see pid_namespaces(7) */
export function isEnding(pid: number): boolean {
  try {
    return (processStat(pid).flags & PF_EXITING) !== 0;
  } catch {
    return true;
  }
}
