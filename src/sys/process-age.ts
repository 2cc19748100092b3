/** How long a process has lived, by the kernel's clock, which nobody sets. @see proc_pid_stat(5), proc_uptime(5) */
import { readFileSync } from 'node:fs';
import { processStat } from './process-stat.ts';

/** In which steps an age is told: the kernel gives a start in USER_HZ, which is 100 on all that tsbox runs on. */
export const AGE_STEP_MS = 10;

/** Milliseconds since its start; undefined when it has ended. */
export function processAge(pid: number): number | undefined {
  try {
    const { startTicks } = processStat(pid);
    const uptime = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000;
    return uptime - startTicks * AGE_STEP_MS;
  } catch {
    return undefined;
  }
}
