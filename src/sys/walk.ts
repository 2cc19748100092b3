/**
 * Files at paths that an untrusted image or a shared directory has a say in. Symlinks lead within the root, which is theirs anyway; magic
 * links of /proc (/proc/self/fd/7, /proc/1/root) would lead out of it and are not followed: ELOOP. The executor's walk.c does the same.
 * Every function: @throws SyscallError. @see openat2(2), RESOLVE_NO_MAGICLINKS
 */
import { closeSync, fstatSync } from 'node:fs';
import { SyscallError } from '../errors.ts';
import { errnoOf } from '../spec/errno.ts';
import { bind, check, lastErrno, printable, refuse } from './ffi.ts';
import { AT_FDCWD, mkdirat, OPEN, openat2, RESOLVE, writeAll } from './file.ts';

/** The umask applies. */
export function makeDirectory(path: string, mode: number): void {
  const slash = path.lastIndexOf('/');
  const above = slash < 0 ? '.' : slash === 0 ? '/' : path.slice(0, slash);
  try {
    const parent = openat2(AT_FDCWD, above, OPEN.PATH | OPEN.DIRECTORY, RESOLVE.NO_MAGICLINKS);
    try {
      mkdirat(parent, path.slice(slash + 1), mode);
    } finally {
      closeSync(parent);
    }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new SyscallError('mkdirat', `mkdir ${printable(path)}`, errnoOf(error.errno));
  }
}

function writeAndClose(fd: number, data: string, path: string): void {
  try {
    const bytes = Buffer.from(data);
    writeAll(fd, bytes, 0, bytes.length, path);
  } finally {
    closeSync(fd);
  }
}

/** The whole of `data`, opened for writing and with `flags`. To write nothing, a file need only be there: it is opened for reading. */
export function writeFile(path: string, data: string, flags: number, mode: number): void {
  const made = (flags & OPEN.CREAT) === 0 ? 0 : mode;
  const access = data === '' && (flags & OPEN.TRUNC) === 0 ? OPEN.RDONLY : OPEN.WRONLY;
  const fd = openat2(AT_FDCWD, path, access | flags, RESOLVE.NO_MAGICLINKS, made);
  writeAndClose(fd, data, path);
}

const [ERANGE, ENAMETOOLONG] = [34, 36];
const fchdir = bind('int', 'fchdir', ['int']);
const fstatfs = bind('int', 'fstatfs', ['int', 'void *']);
const getcwd = bind('int64_t', 'syscall', ['long', 'void *', 'size_t']);

/** ENOENT, too, when the directory does not lie below the root. */
export function changeDirectory(path: string): void {
  const what = () => `chdir to ${printable(path)}`;
  const fd = openat2(AT_FDCWD, path, OPEN.PATH | OPEN.DIRECTORY, RESOLVE.NO_MAGICLINKS);
  try {
    check(fchdir(fd), 'fchdir', what);
  } finally {
    closeSync(fd);
  }
  process.chdir('.'); // Node keeps its own note of where it is
  const SYS_GETCWD = process.arch === 'arm64' ? 17 : 79;
  const here = Buffer.alloc(4096);
  const length = getcwd(SYS_GETCWD, here, here.length);
  const tooDeep = length === -1 && [ERANGE, ENAMETOOLONG].includes(lastErrno()); // for a buffer; it was walked to all the same
  if (tooDeep) return;
  check(length, 'getcwd', what);
  if (here[0] !== 0x2f) throw refuse('getcwd', what(), 'ENOENT'); // "(unreachable)/..."
}

const PROC_SUPER_MAGIC = 0x9fa0;
const PROC_ROOT_INODE = 1;

function openProc(): number {
  const fd = openat2(AT_FDCWD, '/proc', OPEN.PATH | OPEN.DIRECTORY, RESOLVE.NO_MAGICLINKS | RESOLVE.NO_SYMLINKS);
  const system = Buffer.alloc(120);
  const isProc = fstatfs(fd, system) === 0 && Number(system.readBigInt64LE(0)) === PROC_SUPER_MAGIC;
  if (isProc && fstatSync(fd).ino === PROC_ROOT_INODE) return fd;
  closeSync(fd);
  throw refuse('openat2', 'open procfs at /proc', 'EXDEV');
}

/** Writes a file of /proc, which must be a procfs with nothing mounted or linked in between: else EXDEV. `path` is below /proc. */
export function writeProc(path: string, data: string): void {
  const proc = openProc();
  const inside = RESOLVE.NO_MAGICLINKS | RESOLVE.BENEATH | RESOLVE.NO_XDEV;
  try {
    writeAndClose(openat2(proc, path, OPEN.WRONLY, inside), data, `/proc/${path}`);
  } finally {
    closeSync(proc);
  }
}
