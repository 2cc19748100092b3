/** What is told of an exception that nobody expected. A refusal is no exception: see errno.ts. */
import { OPEN } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { cstring } from './memory.ts';
import { OP } from './protocol.ts';
import type { Union } from './union.ts';

/** Beside the work directory: nobody sees stderr of a process in the background. */
const LOG = '../union.log';
const NEW = OPEN.WRONLY | OPEN.CREAT | 0o2000 /* O_APPEND */ | OPEN.NOFOLLOW | OPEN.CLOEXEC;
const STDERR = 2;
const MOST_TOLD = 16;

const told = new Set<string>();

/** Tells on stderr, and in the file `union.log` of the directory that `workdir=` names, which request failed and where; of each place once,
 *  and of sixteen at most, so that the file stays small. Never throws: whoever calls has others to serve.
 *  @param op of the request, which has been answered */
export function tellFailure({ work }: Union, op: number, error: unknown): void {
  const where = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (told.has(where) || told.size >= MOST_TOLD) return;
  told.add(where);
  const name = Object.entries(OP).find(([, number]) => number === op)?.[0] ?? op;
  const text = Buffer.from(`tsbox-union: ${name} was answered with EIO, which is a bug: ${where}\n`);
  write(STDERR, text);
  if (work < 0) return;
  const log = quickly.openat(work, cstring(LOG), NEW, 0o600);
  if (log < 0) return;
  write(log, text);
  quickly.close(log);
}

function write(fd: number, text: Buffer): void {
  const memory = allocate(text.length);
  text.copy(memory.bytes);
  quickly.write(fd, memory.address, text.length);
}
