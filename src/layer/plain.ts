/**
 * Most entries of a layer are regular files without anything special. Those that lie whole in the bytes at hand are taken many at once, in
 * C (sys/plain.ts), with the same outcome as one by one: the same operations for the thread that writes files, the same lines of
 * tar-split. All that takes a decision is left to the usual way: names that are there already or mean something, whatever is not found in
 * its place.
 */
import { createPlainFiles } from '../sys/plain.ts';
import type { FileMaker } from './files.ts';
import { BLOCK } from './header.ts';
import type { MetadataWriter } from './metadata.ts';
import type { TarSplitWriter } from './tar-split.ts';
import type { Target } from './target.ts';

export interface PlainTaken {
  /** Where the next header is. */
  end: number;
  /** The last one. */
  name: string;
  entries: number;
  /** Of all files. */
  size: number;
}

export interface PlainTaker {
  /** Takes files from `at` on, where a header is. @returns undefined when there were none */
  take(chunk: Buffer, at: number, mostEntries: number, mostBytes: number): PlainTaken | undefined;
}

const REGULAR = 0x30;
const TYPE = 156;

export function createPlainTaker(
  target: Target,
  metadata: MetadataWriter,
  files: FileMaker,
  split: TarSplitWriter,
): PlainTaker {
  const plain = createPlainFiles({ ...metadata.options, umask: process.umask() });

  /** Keeps the first of the files that were taken, up to one whose name is in use. @returns how many */
  function keep(names: readonly string[]): number {
    let before = split.mark();
    for (let index = 0; index < names.length; index++) {
      const name = names[index]!;
      if (!files.isFree(name)) return index;
      files.note(name, before);
      if (plain.sizeOf(index) > 0) before++;
    }
    return names.length;
  }

  function directoryOf(path: string): { path: string; fd: number } | undefined {
    try {
      const fd = target.find(path);
      return fd === undefined ? undefined : { path, fd };
    } catch {
      return undefined; // told of its entry
    }
  }

  function take(chunk: Buffer, at: number, mostEntries: number, mostBytes: number): PlainTaken | undefined {
    const thread = files.thread();
    if (thread === undefined) return undefined;
    const taken: PlainTaken = { end: at, name: '', entries: 0, size: 0 };
    let directory: { path: string; fd: number } | undefined = target.current();
    while (chunk.length - taken.end >= BLOCK && chunk[taken.end + TYPE] === REGULAR) {
      const names = plain.take({
        chunk,
        from: taken.end,
        directory,
        operations: thread.inHand(),
        lines: split.inHand(),
        mostEntries: mostEntries - taken.entries,
        mostBytes: mostBytes - taken.size,
      });
      const kept = keep(names);
      if (kept > 0) {
        let [size, full] = [0, 0];
        for (let index = 0; index < kept; index++) {
          size += plain.sizeOf(index);
          if (plain.sizeOf(index) > 0) full++;
        }
        const last = plain.file(kept - 1);
        thread.added(last.operations, kept);
        split.added({ lines: last.lines, entries: kept, files: full });
        split.raw(chunk, last.data, last.next);
        taken.end = last.next;
        taken.name = names[kept - 1]!;
        taken.entries += kept;
        taken.size += size;
      }
      if (kept < names.length) break;
      const end = plain.end();
      if (end === 'operations') thread.hand();
      else if (end === 'lines') split.flush();
      else if (end === 'directory') {
        directory = directoryOf(plain.parent());
        if (directory === undefined) break;
      } else if (end === 'other') break;
    }
    return taken.entries === 0 ? undefined : taken;
  }

  return { take };
}
