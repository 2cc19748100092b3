/** Asks before something is removed for good. */
import { readSync } from 'node:fs';
import { print } from './output.ts';

/** Prints the question and reads a line of standard input. @returns whether it was `y`; a standard input at its end is a no */
export function confirm(question: string): boolean {
  print(`${question} [y/N] `);
  return readLine().trim().toLowerCase() === 'y';
}

/** Byte by byte: what stands behind the line is for whoever reads next. */
function readLine(): string {
  const bytes: number[] = [];
  const byte = Buffer.alloc(1);
  while (readByte(byte) && byte[0] !== 0x0a) bytes.push(byte[0]!);
  return Buffer.from(bytes).toString();
}

/** @returns false at the end of standard input */
function readByte(into: Buffer): boolean {
  for (;;) {
    try {
      return readSync(0, into) === 1;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EOF' || code === 'EIO') return false;
      // Somebody has set the terminal or pipe to non-blocking: wait for a line.
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
