/** Memory that a long-lived process needs no more. */
import { readFileSync } from 'node:fs';
import { bind } from './ffi.ts';

const MADV_DONTNEED = 4;
const madvise = bind('int', 'madvise', ['int64_t', 'uint64_t', 'int']);

/** `address-end perms offset device inode path`, then a line a figure. @see proc_pid_smaps(5) */
const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) r[-x][-x]p \S+ \S+ \d+ +\//;
const OWN_PAGES = /^Anonymous: +[1-9]/m;

/** Lets go of the pages of programs and libraries that starting has read in: of Node's forty megabytes a loop that runs afterwards uses a
 *  tenth. What is used again comes back from the file. A mapping with pages of the process's own (relocated addresses) stays as it is. */
export function giveBackProgram(): void {
  let smaps: string;
  try {
    smaps = readFileSync('/proc/self/smaps', 'latin1');
  } catch {
    return; // no /proc here: it is only memory
  }
  for (const entry of smaps.split(/\n(?=[0-9a-f]+-)/)) {
    const [, from, to] = MAPPING.exec(entry) ?? [];
    if (from === undefined || to === undefined || OWN_PAGES.test(entry)) continue;
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    madvise(start, end - start, MADV_DONTNEED);
  }
}
