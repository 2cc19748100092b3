/** Files of an archive that are nothing special, many in one call: native-bindings/library/plain.c. */
import { bind, OWN } from './ffi.ts';

/** What a run begins with. */
export interface PlainRun {
  chunk: Buffer;
  /** Where a header is. */
  from: number;
  /** The directory that the files have to be in, without a slash at its end. */
  directory: { path: string; fd: number };
  /** For the thread that writes files. */
  operations: { bytes: Buffer; filled: number };
  /** For tar-split: lines, the number of the next one, and the bytes of the archive that wait for theirs, with room behind them. */
  lines: { bytes: Buffer; filled: number; position: number; raw: Buffer; rawFilled: number };
  mostEntries: number;
  /** Of all files together. */
  mostBytes: number;
}

/** Why a run ended: the next entry is for the caller; it is in the directory `parent`; there is no room for its operations, for its lines,
 *  in the table. */
export type PlainEnd = 'other' | 'directory' | 'operations' | 'lines' | 'table';

/** A file that was taken: offsets where it ends, in the chunk without and with its padding, and in what was written. */
export interface PlainFile {
  data: number;
  next: number;
  operations: number;
  lines: number;
  size: number;
}

export interface PlainFiles {
  /** @returns their names */
  take(run: PlainRun): string[];
  /** Of the last run, until the next one. */
  file(index: number): PlainFile;
  sizeOf(index: number): number;
  end(): PlainEnd;
  parent(): string;
}

export interface PlainOptions {
  /** Give files to the owners that the archive names; but not to this one, which they have anyhow. */
  chown: boolean;
  givenOwner: { uid: number; gid: number } | undefined;
  umask: number;
}

const ENDS: readonly PlainEnd[] = ['other', 'directory', 'operations', 'lines', 'table'];

/** As in plain.h. */
const ENTRIES = 512;
const ENTRY = 5;
const NAME = 264;
const AT = { mostBytes: 64, count: 18, entries: 22, directory: 88 + ENTRIES * ENTRY * 4 } as const;
const PARENT = AT.directory + NAME;
const NAMES = PARENT + NAME;
const SIZE = NAMES + ENTRIES * NAME;

const plain = bind('void', 'tsbox_plain', ['void *', 'const void *', 'void *', 'void *', 'void *'], OWN);

/** What takes the plain files of one layer. */
export function createPlainFiles({ chown, givenOwner, umask }: PlainOptions): PlainFiles {
  const bytes = Buffer.from(new ArrayBuffer(SIZE));
  const numbers = new Uint32Array(bytes.buffer);
  const doubles = new Float64Array(bytes.buffer, AT.mostBytes, 1);
  let directory = '';
  let [end, parentLength] = [0, 0];

  return {
    take(run) {
      const { chunk, from, operations, lines } = run;
      const { path, fd } = run.directory;
      if (path !== directory) bytes.write(path, AT.directory, NAME, 'latin1');
      directory = path;
      const given = [
        ...[from, chunk.length, operations.filled, operations.bytes.length, lines.filled, lines.bytes.length],
        ...[lines.rawFilled, lines.position, fd, path.length, Number(chown), Number(givenOwner !== undefined)],
        ...[givenOwner?.uid ?? 0, givenOwner?.gid ?? 0, umask, run.mostEntries],
      ];
      numbers.set(given);
      doubles[0] = run.mostBytes;
      plain(bytes, chunk, operations.bytes, lines.bytes, lines.raw);
      const [count, why, namesLength, length] = numbers.subarray(AT.count, AT.count + 4);
      [end, parentLength] = [why!, length!];
      return count === 0 ? [] : bytes.toString('latin1', NAMES, NAMES + namesLength! - 1).split('\n');
    },
    file(index) {
      const [data, next, operations, lines, size] = numbers.subarray(AT.entries + index * ENTRY);
      return { data: data!, next: next!, operations: operations!, lines: lines!, size: size! };
    },
    sizeOf: (index) => numbers[AT.entries + index * ENTRY + 4]!,
    end: () => ENDS[end]!,
    parent: () => bytes.toString('latin1', PARENT, PARENT + parentLength),
  };
}
