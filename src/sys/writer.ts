/**
 * A thread that makes regular files (`native-bindings/library/writer.c`): operations are put into a batch, full batches are handed over, and
 * the thread works them off in their order while the caller goes on. Calls here wait only when too much is under way.
 */
import { SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { bind, check, type NativeFunction, OWN, refuse } from './ffi.ts';
import { close } from './file.ts';

/** An operation that the kernel refused. Nothing behind it was begun. */
export interface Refused {
  /** The number that {@link BatchWriter.create} gave the file in hand; -1 when it was none. */
  file: number;
  step: 'open' | 'write' | 'finish' | 'close';
  errno: number;
}

export interface FileEnd {
  owner: { uid: number; gid: number } | undefined;
  /** All twelve permission bits; undefined leaves them. */
  mode: number | undefined;
  seconds: number;
  nanoseconds: number;
}

export interface BatchWriter {
  /** Begins a new file (O_EXCL); the umask applies to `mode`. @param name one character a byte (latin1) @returns its number, counted from 0 */
  create(dirfd: number, name: string, mode: number): number;
  /** Adds to the file in hand; the bytes are copied. */
  write(data: Buffer, start: number, end: number): void;
  finish(end: FileEnd): void;
  /** The batch in hand, for who adds whole files in C. */
  inHand(): { bytes: Buffer; filled: number };
  /** So many were added, and end there. */
  added(end: number, count: number): void;
  /** Hands the batch over, full or not. */
  hand(): void;
  /** Closes a directory when everything before it is done. */
  closeDirectory(fd: number): void;
  /** Waits until everything is done; not while a file is in hand. */
  wait(): void;
  /** How many files are certainly done. */
  done(): number;
  /** Ends the thread; what it has not begun is never done. */
  close(): void;
}

/** As in writer.h. */
const KIND = { create: 1, write: 2, finish: 3, close: 4 } as const;
const STEPS = ['open', 'open', 'write', 'finish', 'close'] as const;
const WHAT = { chown: 1, chmod: 2 } as const;
const HEAD = 48;
const BATCH = 0x40000;
/** Shorter pieces of a write are not worth a system call of their own: then the next batch is begun. */
const LEAST = 0x4000;

const native = (result: string, name: string, args: string[]) => bind(result, `tsbox_writer_${name}`, args, OWN);
const calls = {
  open: native('int64_t', 'open', []),
  room: native('int', 'room', ['int64_t', 'void *', 'void *']),
  wait: native('int', 'wait', ['int64_t', 'void *', 'void *']),
  give: native('void', 'give', ['int64_t', 'const void *', 'uint32_t']),
  again: native('void', 'again', ['int64_t']),
  close: native('void', 'close', ['int64_t']),
};

interface Batch {
  bytes: Buffer;
  view: DataView;
  /** Number of the first file that is begun in it; the one before may be in hand at its start. */
  firstFile: number;
}

/** Of writers that were closed, for those to come: fresh memory costs a page fault every 4 KB. */
const spare: Batch[] = [];
const MOST_SPARE = 51;

function newBatch(): Batch {
  const used = spare.pop();
  if (used !== undefined) return { ...used, firstFile: 0 };
  const bytes = Buffer.allocUnsafeSlow(BATCH);
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, BATCH), firstFile: 0 };
}

/**
 * Starts the thread.
 * @param onRefused decides about an operation that was refused: `true` to try it once more, else it throws
 * @throws SyscallError when there is no thread to be had
 */
export function openWriter(onRefused: (refused: Refused) => true): BatchWriter {
  const handle = calls.open();
  if (handle === 0) check(-1, 'pthread_create', () => 'start the thread that writes files');
  /** Handed over and not known to be done, the oldest first. */
  const underWay: Batch[] = [];
  /** Done; the last one is taken first, as it may still be in the processor's cache. */
  const idle: Batch[] = [];
  let given = 0;
  let files = 0;
  let filesDone = 0;
  let batch = newBatch();
  let filled = 0;
  const done = Buffer.alloc(8);
  const at = Buffer.alloc(4);

  /** Calls `wait` or `room` until it reports no refusal. */
  function settle(call: NativeFunction): void {
    for (;;) {
      const errno = call(handle, done, at);
      const left = given - Number(done.readBigUInt64LE());
      while (underWay.length > left) idle.push(underWay.shift()!);
      const next = underWay[0] ?? batch;
      filesDone = Math.max(filesDone, next.firstFile - 1);
      if (errno === 0) return;
      onRefused(refusedIn(next, at.readUInt32LE(), errno));
      calls.again(handle);
    }
  }

  /** The file in hand at an offset of a batch, by walking there from its begin. */
  function refusedIn({ view, firstFile }: Batch, offset: number, errno: number): Refused {
    let file = firstFile - 1;
    for (let position = 0; position <= offset; position += view.getUint32(position + 4, true)) {
      if (view.getUint32(position, true) === KIND.create) file++;
    }
    return { file, step: STEPS[view.getUint32(offset, true)] ?? 'open', errno };
  }

  function hand(): void {
    if (filled === 0) return;
    settle(calls.room);
    calls.give(handle, batch.bytes, filled);
    given++;
    underWay.push(batch);
    batch = idle.pop() ?? newBatch();
    batch.firstFile = files;
    filled = 0;
  }

  /** Begins an operation with `extra` bytes behind it. @returns where those go */
  function begin(kind: number, extra: number): number {
    const total = HEAD + ((extra + 7) & ~7);
    if (filled + total > BATCH) hand();
    const { view } = batch;
    const start = filled;
    view.setUint32(start, kind, true);
    view.setUint32(start + 4, total, true);
    filled += total;
    return start + HEAD;
  }

  return {
    create(dirfd, name, mode) {
      if (name.includes('\0')) throw refuse('openat', 'use a name with a NUL', 'EINVAL');
      const tail = begin(KIND.create, name.length + 1);
      batch.view.setInt32(tail - HEAD + 8, dirfd, true);
      batch.view.setUint32(tail - HEAD + 20, mode, true);
      batch.bytes.write(name, tail, 'latin1');
      batch.bytes[tail + name.length] = 0;
      return files++;
    },
    write(data, start, end) {
      for (let from = start; from < end; ) {
        if (BATCH - filled - HEAD < Math.min(end - from, LEAST)) hand();
        const length = Math.min(end - from, (BATCH - filled - HEAD) & ~7);
        const tail = begin(KIND.write, length);
        batch.view.setUint32(tail - HEAD + 12, length, true);
        data.copy(batch.bytes, tail, from, from + length);
        from += length;
      }
    },
    finish({ owner, mode, seconds, nanoseconds }) {
      const head = begin(KIND.finish, 0) - HEAD;
      const { view } = batch;
      view.setUint32(head + 16, (owner ? WHAT.chown : 0) | (mode === undefined ? 0 : WHAT.chmod), true);
      view.setUint32(head + 20, mode ?? 0, true);
      view.setUint32(head + 24, owner?.uid ?? 0, true);
      view.setUint32(head + 28, owner?.gid ?? 0, true);
      view.setUint32(head + 32, seconds >>> 0, true);
      view.setInt32(head + 36, Math.floor(seconds / 0x1_0000_0000), true);
      view.setUint32(head + 40, nanoseconds, true);
      view.setUint32(head + 44, 0, true);
    },
    inHand: () => ({ bytes: batch.bytes, filled }),
    added(end, count) {
      filled = end;
      files += count;
    },
    hand,
    closeDirectory(fd) {
      const head = begin(KIND.close, 0) - HEAD;
      batch.view.setInt32(head + 8, fd, true);
    },
    wait() {
      hand();
      settle(calls.wait);
      filesDone = files;
    },
    done: () => filesDone,
    close() {
      calls.close(handle);
      // What was never handed over has directories to close too.
      for (let at = 0; at < filled; at += batch.view.getUint32(at + 4, true)) {
        if (batch.view.getUint32(at, true) === KIND.close) close(batch.view.getInt32(at + 8, true));
      }
      spare.push(...[batch, ...underWay, ...idle].slice(0, MOST_SPARE - spare.length));
    },
  };
}

const VERBS = { open: 'open', write: 'write', finish: 'set owner, permissions and time of', close: 'close' } as const;

/** The error for what was refused; `name` as a person may read it. */
export function refusalOf({ step, errno }: Refused, name: string): SyscallError {
  return new SyscallError(step, `${VERBS[step]} ${name}`, errnoOf(errno));
}
