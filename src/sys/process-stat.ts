/** What the kernel says of a process in one line. @see proc_pid_stat(5) */
import { readFileSync } from 'node:fs';

export interface ProcessStat {
  name: string;
  /** One letter; `Z` of one that has ended and waits to be reaped. */
  state: string;
  parent: number;
  /** When it was started, in USER_HZ since boot. */
  startTicks: number;
}

/** Behind the name, which may have anything in it, the state is the third field. */
const [STATE_FIELD, PARENT_FIELD, STARTTIME_FIELD] = [3, 4, 22];

/** @throws Node's ENOENT or ESRCH when there is no such process */
export function processStat(pid: number): ProcessStat {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const end = stat.lastIndexOf(')');
  const fields = stat.slice(end + 2).split(' ');
  return {
    name: stat.slice(stat.indexOf('(') + 1, end),
    state: fields[0]!,
    parent: Number(fields[PARENT_FIELD - STATE_FIELD]),
    startTicks: Number(fields[STARTTIME_FIELD - STATE_FIELD]),
  };
}
