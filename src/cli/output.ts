/**
 * Standard output and error of the verbs that print a little and end. Written at once and whole, past Node's streams: loading those
 * costs 2 ms, and nothing has to be flushed before the exit.
 */
import { writeSync } from 'node:fs';

/** Nobody reads our standard output any more. Ends the program quietly, as SIGPIPE does with others. */
export class OutputClosed extends Error {}

/** Exit code of a program that SIGPIPE has ended, as a shell shows it. */
export const SIGPIPE_EXIT = 128 + 13;

/** To standard output, as it is. @throws OutputClosed */
export function print(text: string | Uint8Array): void {
  write(1, text);
}

/** To standard error, as it is. One that takes nothing is no reason to stop. */
export function complain(text: string): void {
  try {
    write(2, text);
  } catch {
    // whom should it be told?
  }
}

/** Why standard output takes nothing, in our words. */
export function outputError(error: unknown): Error {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'EPIPE' ? new OutputClosed() : Object.assign(error as Error, { path: 'standard output' });
}

function write(fd: number, text: string | Uint8Array): void {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // A pipe that another process has set to non-blocking is full: let its reader come.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else throw outputError(error);
    }
  }
}
