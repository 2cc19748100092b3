/**
 * Filters that were compiled before: `<data-root>/seccomp/<key>`. A file is a line with its key, the flags for seccomp(2), its length and a
 * checksum, then the program. It is replaced by rename, so it is whole or not there; what a bad disk or a careless hand makes of it the checksum tells, and
 * then it is not used: half a filter may be one that forbids nothing.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import type { SeccompFilter } from '../plan/credentials.ts';
import { writeFileAtomic } from '../sys/atomic.ts';
import { addToCrc64 } from '../sys/bytes.ts';
import type { Store } from './store.ts';

const FORMAT = 'tsbox-seccomp 1';
const INSTRUCTION = 8;

const file = (store: Store, key: string) => `${store.dataRoot}/seccomp/${key}`;

/** In C: a loop over ten thousand bytes that V8 has not compiled takes a millisecond, and loading node:crypto takes several. */
function checksum(line: string, program: Buffer): string {
  const crc = Buffer.alloc(8, 0xff);
  addToCrc64(crc, Buffer.from(line), 0, line.length);
  addToCrc64(crc, program, 0, program.length);
  return crc.toString('hex');
}

function header(key: string, flags: string, program: Buffer): string {
  const line = `${FORMAT} ${key} ${flags} ${program.length} `;
  return `${line}${checksum(line, program)}\n`;
}

/** @param key a file name. @returns undefined when it is not there, is not what was written, or cannot be read */
export function cachedFilter(store: Store, key: string): SeccompFilter | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file(store, key));
  } catch {
    return undefined;
  }
  const end = bytes.indexOf(0x0a);
  const line = bytes.toString('latin1', 0, end + 1);
  const program = bytes.subarray(end + 1);
  const flags = line.split(' ')[3] ?? '';
  if (program.length === 0 || program.length % INSTRUCTION !== 0) return undefined;
  return line === header(key, flags, program) ? { program, flags: Number(flags) } : undefined;
}

/** Does nothing where it may not write: the next start compiles again. */
export function keepFilter(store: Store, key: string, filter: SeccompFilter): void {
  const program = Buffer.from(filter.program);
  try {
    mkdirSync(`${store.dataRoot}/seccomp`, { recursive: true, mode: 0o700 });
    writeFileAtomic(file(store, key), Buffer.concat([Buffer.from(header(key, `${filter.flags}`, program)), program]), {
      mode: 0o600,
    });
  } catch {
    // A cache that cannot be written costs time and nothing else.
  }
}
