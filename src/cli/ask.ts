/** Asks the user something, in a terminal. */
import { read } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { hideInput, restoreTerminal } from '../sys/terminal.ts';
import { print } from './output.ts';

/** Prints the question and reads a line. @returns it without its end; empty at the end of standard input */
export async function ask(question: string): Promise<string> {
  print(question);
  return readLine();
}

/** Signals that would leave the terminal as it must not stay. */
const DEADLY = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'] as const;

/** As {@link ask}, and what is typed is not shown. The terminal is as before when this returns, and when a signal ends the process. */
export async function askSecret(question: string): Promise<string> {
  const before = hideInput(0);
  const die = (signal: NodeJS.Signals): void => {
    release();
    process.kill(process.pid, signal);
  };
  // The shell that has put us into the foreground again has set its own modes.
  const again = (): void => void hideInput(0);
  const release = (): void => {
    restoreTerminal(0, before);
    for (const signal of DEADLY) process.off(signal, die);
    process.off('SIGCONT', again);
  };
  for (const signal of DEADLY) process.on(signal, die);
  process.on('SIGCONT', again);
  try {
    const line = await ask(question);
    print('\n');
    return line;
  } finally {
    release();
  }
}

/** A terminal gives no more than a line at a time. Read on another thread, so that signals are heard meanwhile. */
async function readLine(): Promise<string> {
  const readSome = promisify(read);
  const chunk = Buffer.alloc(4096);
  let line = Buffer.alloc(0);
  for (;;) {
    let length: number;
    try {
      ({ bytesRead: length } = await readSome(0, chunk, 0, chunk.length, null));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN' && code !== 'EIO') throw error;
      if (code === 'EIO') return line.toString();
      // Somebody has set the terminal to non-blocking.
      await sleep(20);
      continue;
    }
    line = Buffer.concat([line, chunk.subarray(0, length)]);
    if (length === 0 || line.at(-1) === 0x0a) return line.toString().replace(/\r?\n$/, '');
  }
}
