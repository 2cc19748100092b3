/** How long a process has lived, by the kernel's clock, which nobody sets. @see proc_pid_stat(5), proc_uptime(5) */
import { readFileSync } from 'node:fs';

/** Of `starttime`: the kernel gives it in USER_HZ, which is 100 on all that tsbox runs on. */
const MS_PER_TICK = 10;
/** Behind the name, which may have anything in it, the state is the third field. */
const [STATE_FIELD, STARTTIME_FIELD] = [3, 22];

/** Milliseconds since its start, in steps of ten; undefined when it has ended. */
export function processAge(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000;
    return uptime - Number(fields[STARTTIME_FIELD - STATE_FIELD]) * MS_PER_TICK;
  } catch {
    return undefined;
  }
}
