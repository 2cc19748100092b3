/**
 * The regular files of a layer, most of what there is to do. Those without anything special are made by a thread beside
 * (sys/writer.ts), in the order of the archive but later than everything else: so what may meet a file that is under way asks
 * `holds` first, or waits.
 */
import { isErrno } from '../errors.ts';
import { errnoNumber } from '../spec/errno.ts';
import { close, ftruncate, OPEN, openat, pwriteAll, writeAll } from '../sys/file.ts';
import { type BatchWriter, openWriter, type Refused, refusalOf } from '../sys/writer.ts';
import { baseOf, bytesOf, nameTooLong, parentOf, quoted, type TarEntry } from './entry.ts';
import type { MetadataWriter } from './metadata.ts';
import type { Target } from './target.ts';

export interface FileMaker {
  /** Begins the file at `path`, over whatever other than a directory is there. `mark` is passed on when that is cleared away. */
  create(path: string, entry: TarEntry, mark: number): void;
  /** Data of the file in hand; nothing when there is none. */
  data(chunk: Buffer, start: number, end: number): void;
  done(): void;
  /** The thread, for files that nothing speaks against; undefined when there is none. */
  thread(): BatchWriter | undefined;
  /** May the thread be given a file of this path without further thought? */
  isFree(path: string): boolean;
  /** Notes a file that the thread is about to be given. */
  note(path: string, mark: number): void;
  /** Is a file of this path perhaps under way? */
  holds(path: string): boolean;
  /** Waits until all files are there. */
  settle(): void;
  /** Closes the descriptor of a directory in which files may still be under way. */
  closeDirectory(fd: number): void;
  close(): void;
}

export interface FileOptions {
  target: Target;
  metadata: MetadataWriter;
  /** May a thread make the files? Not where the target has files of others. */
  aside: boolean;
  /** Takes away what is at `path`, which is no directory, for an entry of this name. */
  clear(path: string, name: string, mark: number): void;
}

/** The file that is being made here, without the thread. */
interface InHand {
  fd: number;
  entry: TarEntry;
  /** Permission bits that it was made with; -1: not known. */
  created: number;
  base: Buffer;
  /** Of a sparse file: the part in hand, and how much of it is written. */
  extent: number;
  written: number;
}

/** What is certainly made is forgotten when so many files are noted: few enough that most are gone before the garbage collector comes by. */
const MOST_NOTED = 512;

const EEXIST = errnoNumber('EEXIST');
const ENAMETOOLONG = errnoNumber('ENAMETOOLONG');

export function createFileMaker(options: FileOptions): FileMaker {
  const { target, metadata } = options;
  const umask = process.umask();
  let thread: BatchWriter | undefined;
  let started = !options.aside;
  let inHand: InHand | undefined;
  let aside: TarEntry | undefined; // the entry that the thread is being told of
  /** What the thread may not have made yet, in order: the first has the number `first`. */
  let queue: { path: string; name: string; mark: number }[] = [];
  let first = 0;
  const paths = new Set<string>();

  function onRefused(refused: Refused): true {
    const { path, name, mark } = queue[refused.file - first] ?? {};
    if (path === undefined) throw refusalOf(refused, 'a directory');
    if (refused.errno === ENAMETOOLONG) throw nameTooLong(path);
    if (refused.step !== 'open' || refused.errno !== EEXIST) throw refusalOf(refused, quoted(path));
    options.clear(path, name!, mark!);
    return true;
  }

  /** Forgets what is certainly made. */
  function forget(): void {
    const count = thread!.done() - first;
    if (count <= 0) return;
    if (count === queue.length) paths.clear();
    else for (const { path } of queue.slice(0, count)) paths.delete(path);
    queue = queue.slice(count);
    first += count;
  }

  function isPlain(entry: TarEntry): boolean {
    return entry.sparse === undefined && entry.xattrs === undefined && entry.acls === undefined;
  }

  function start(): BatchWriter | undefined {
    if (!started) thread = openWriter(onRefused);
    started = true;
    return thread;
  }

  /** Twice the same path would make `paths` wrong, and what replaces a directory has to close it first. */
  function isFree(path: string): boolean {
    return !paths.has(path) && !target.isMadeDirectory(path);
  }

  function note(path: string, name: string, mark: number): void {
    queue.push({ path, name, mark });
    paths.add(path);
    if (queue.length >= MOST_NOTED) forget();
  }

  function create(path: string, entry: TarEntry, mark: number): void {
    start();
    const dirfd = target.directory(parentOf(path), entry.name);
    if (thread === undefined || !isPlain(entry) || !isFree(path)) {
      settle();
      createHere(path, entry, mark);
      return;
    }
    note(path, entry.name, mark);
    aside = entry;
    thread.create(dirfd, baseOf(path), entry.mode & 0o777);
  }

  function createHere(path: string, entry: TarEntry, mark: number): void {
    const base = bytesOf(baseOf(path));
    const open = () => {
      const flags = OPEN.WRONLY | OPEN.CREAT | OPEN.EXCL | OPEN.NOFOLLOW;
      return openat(target.directory(parentOf(path), entry.name), base, flags, entry.mode & 0o777);
    };
    let fd: number;
    try {
      fd = open();
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      options.clear(path, entry.name, mark);
      fd = open();
    }
    // Elsewhere than in a fresh directory a default ACL may have had its say too.
    const created = options.aside ? entry.mode & 0o777 & ~umask : -1;
    inHand = { fd, entry, created, base, extent: 0, written: 0 };
  }

  function data(chunk: Buffer, start: number, end: number): void {
    if (aside !== undefined) thread!.write(chunk, start, end);
    else if (inHand?.entry.sparse !== undefined) writeSparse(inHand, chunk, start, end);
    else if (inHand !== undefined) writeAll(inHand.fd, chunk, start, end, inHand.base);
  }

  function done(): void {
    if (aside !== undefined) {
      const { mode, mtime, mtimeNsec } = aside;
      thread!.finish({
        owner: metadata.ownerOf(aside),
        mode: mode === (mode & 0o777 & ~umask) ? undefined : mode,
        seconds: mtime,
        nanoseconds: mtimeNsec,
      });
      aside = undefined;
    } else if (inHand !== undefined) {
      const { fd, entry, created, base } = inHand;
      if (entry.sparse !== undefined) ftruncate(fd, entry.size, base);
      metadata.toFile(fd, entry, created);
      inHand = undefined;
      close(fd);
    }
  }

  function settle(): void {
    if (queue.length === 0) return;
    thread!.wait();
    forget();
  }

  return {
    create,
    data,
    done,
    thread: start,
    isFree,
    note: (path, mark) => note(path, path, mark),
    holds: (path) => paths.has(path),
    settle,
    closeDirectory(fd) {
      if (queue.length === 0) close(fd);
      else thread!.closeDirectory(fd);
    },
    close() {
      if (inHand !== undefined) close(inHand.fd);
      inHand = undefined;
      thread?.close();
    },
  };
}

function writeSparse(file: InHand, chunk: Buffer, start: number, end: number): void {
  for (let at = start; at < end; ) {
    const part = file.entry.sparse![file.extent]!;
    const length = Math.min(end - at, part.length - file.written);
    pwriteAll(file.fd, chunk, at, at + length, part.offset + file.written, file.base);
    at += length;
    file.written += length;
    if (file.written === part.length) {
      file.extent++;
      file.written = 0;
    }
  }
}
