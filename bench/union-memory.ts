/** The memory of the process that serves a union of which the kernel knows many files. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './measure.ts';

export const KNOWN_FILES = 100_000;
const IN_A_DIRECTORY = 1000;
/** The most that it may take, MB. */
export const PROMISED_MB = 60;

export function makeFiles(directory: string): void {
  for (let number = 0; number < KNOWN_FILES; number++) {
    const parent = join(directory, `directory ${Math.floor(number / IN_A_DIRECTORY)}`);
    if (number % IN_A_DIRECTORY === 0) mkdirSync(parent);
    writeFileSync(join(parent, `a file ${number}`), '');
  }
}

function argumentsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return ''; // it has just ended
  }
}

/** Memory in MB when each file below `mounted` has been looked at: all that is resident, and with what is shared divided by its users.
 *  @param place a directory that is in the arguments of nobody but the server @see proc_pid_smaps(5) */
export function memoryOfServer(mounted: string, place: string): { resident: number; proportional: number } {
  run({ argv: ['find', mounted, '-size', '+1'] });
  const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && argumentsOf(pid).includes(place));
  if (pids.length !== 1) throw new Error(`processes that serve ${place}: ${pids.join(' ') || 'none'}`);
  const rollup = readFileSync(`/proc/${pids[0]}/smaps_rollup`, 'latin1');
  const megabytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1]) / 1000;
  return { resident: megabytes('Rss'), proportional: megabytes('Pss') };
}
