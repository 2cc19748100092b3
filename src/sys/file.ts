/**
 * Files relative to a directory's descriptor: thin bindings, one system call each, every refusal a {@link SyscallError}.
 * Paths are strings (UTF-8) or Buffers (any bytes but NUL). What `node:fs` does as well is left to `node:fs`.
 */
import { constants } from 'node:fs';
import { bind, check, lastErrno, printable, refuse } from './ffi.ts';

export type Path = string | Buffer;

/** open(2) flags; several differ between x86-64 and arm64, so they come from Node where Node has them. */
export const OPEN = {
  RDONLY: constants.O_RDONLY,
  WRONLY: constants.O_WRONLY,
  RDWR: constants.O_RDWR,
  CREAT: constants.O_CREAT,
  EXCL: constants.O_EXCL,
  TRUNC: constants.O_TRUNC,
  NONBLOCK: constants.O_NONBLOCK,
  DIRECTORY: constants.O_DIRECTORY,
  NOFOLLOW: constants.O_NOFOLLOW,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;

/** How openat2(2) may walk. */
export const RESOLVE = { NO_XDEV: 1, NO_MAGICLINKS: 2, NO_SYMLINKS: 4, BENEATH: 8, IN_ROOT: 16 } as const;

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

const SYS_OPENAT2 = 437; // the same on every architecture
const EINTR = 4;
const EAGAIN = 11;

const POINTER = 'const void *';
const native = {
  openat: bind('int', 'openat', ['int', POINTER, 'int', 'uint32_t']),
  openat2: bind('int64_t', 'syscall', ['int64_t', 'int', POINTER, POINTER, 'uint64_t']),
  close: bind('int', 'close', ['int']),
  write: bind('int64_t', 'write', ['int', POINTER, 'uint64_t']),
  pwrite: bind('int64_t', 'pwrite64', ['int', POINTER, 'uint64_t', 'int64_t']),
  pread: bind('int64_t', 'pread64', ['int', POINTER, 'uint64_t', 'int64_t']),
  ftruncate: bind('int', 'ftruncate64', ['int', 'int64_t']),
  mkdirat: bind('int', 'mkdirat', ['int', POINTER, 'uint32_t']),
  mknodat: bind('int', 'mknodat', ['int', POINTER, 'uint32_t', 'uint64_t']),
  symlinkat: bind('int', 'symlinkat', [POINTER, 'int', POINTER]),
  linkat: bind('int', 'linkat', ['int', POINTER, 'int', POINTER, 'int']),
  unlinkat: bind('int', 'unlinkat', ['int', POINTER, 'int']),
  fchown: bind('int', 'fchown', ['int', 'uint32_t', 'uint32_t']),
  fchownat: bind('int', 'fchownat', ['int', POINTER, 'uint32_t', 'uint32_t', 'int']),
  fchmod: bind('int', 'fchmod', ['int', 'uint32_t']),
  fchmodat: bind('int', 'fchmodat', ['int', POINTER, 'uint32_t', 'int']),
  futimens: bind('int', 'futimens', ['int', POINTER]),
  utimensat: bind('int', 'utimensat', ['int', POINTER, POINTER, 'int']),
  readlinkat: bind('int64_t', 'readlinkat', ['int', POINTER, POINTER, 'uint64_t']),
};

// Calls are synchronous, so two buffers serve every path: 4096 bytes with the NUL is the longest that the kernel takes.
const PATH_MAX = 4096;
const firstPath = Buffer.alloc(PATH_MAX + 4);
const secondPath = Buffer.alloc(PATH_MAX + 4);

function terminated(path: Path, into: Buffer): Buffer {
  const length = typeof path === 'string' ? into.write(path) : path.copy(into);
  const wanted = typeof path === 'string' ? Buffer.byteLength(path) : path.length;
  if (wanted >= PATH_MAX) throw refuse('path', `use a path of ${wanted} bytes`, 'ENAMETOOLONG');
  into[length] = 0;
  if (into.indexOf(0) !== length) throw refuse('path', `use ${printable(path)} as a path`, 'EINVAL');
  return into;
}

/** A NUL-terminated copy that lives until the next call of this module. For the other files of this folder. */
export function pathArgument(path: Path): Buffer {
  return terminated(path, firstPath);
}

/** @returns a descriptor, closed on exec. @see openat(2) */
export function openat(dirfd: number, path: Path, flags: number, mode = 0): number {
  const bytes = terminated(path, firstPath);
  return check(native.openat(dirfd, bytes, flags | OPEN.CLOEXEC, mode), 'openat', () => `open ${printable(path)}`);
}

const howBytes = Buffer.alloc(24);
const how = new DataView(howBytes.buffer, howBytes.byteOffset, 24);

/** A rename or a mount anywhere on the machine may come between a `..` and the proof that it stays inside: then the kernel asks for
 *  another try. */
const RACE_TRIES = 1000;

/** As {@link openat}, with a say in how the path is walked. @see openat2(2), EAGAIN */
export function openat2(dirfd: number, path: Path, flags: number, resolve: number, mode = 0): number {
  how.setUint32(0, (flags | OPEN.CLOEXEC) >>> 0, true);
  how.setUint32(8, mode, true);
  how.setUint32(16, resolve, true);
  const bytes = terminated(path, firstPath);
  let fd = native.openat2(SYS_OPENAT2, dirfd, bytes, howBytes, 24);
  for (let tries = 0; fd === -1 && lastErrno() === EAGAIN && tries < RACE_TRIES; tries++) {
    fd = native.openat2(SYS_OPENAT2, dirfd, bytes, howBytes, 24);
  }
  return check(fd, 'openat2', () => `open ${printable(path)}`);
}

/** Closes a descriptor of this module. */
export function close(fd: number): void {
  check(native.close(fd), 'close', () => `close descriptor ${fd}`);
}

/** Writes all of `data` from `start` to `end` at the descriptor's position. `name` is for the error only. */
export function writeAll(fd: number, data: Buffer, start: number, end: number, name: Path): void {
  for (let at = start; at < end; ) {
    const bytes = at === 0 ? data : data.subarray(at, end);
    const written = native.write(fd, bytes, end - at);
    if (written === -1 && lastErrno() === EINTR) continue;
    at += check(written, 'write', () => `write ${printable(name)}`);
  }
}

/** As {@link writeAll} at an offset of the file. */
export function pwriteAll(fd: number, data: Buffer, start: number, end: number, offset: number, name: Path): void {
  for (let at = start; at < end; ) {
    const written = native.pwrite(fd, data.subarray(at, end), end - at, offset + at - start);
    if (written === -1 && lastErrno() === EINTR) continue;
    at += check(written, 'pwrite', () => `write ${printable(name)}`);
  }
}

/** Reads up to `end - start` bytes at `offset` of the file. @returns how many; 0 at its end */
export function pread(fd: number, into: Buffer, start: number, end: number, offset: number, name: Path): number {
  for (;;) {
    const got = native.pread(fd, into.subarray(start, end), end - start, offset);
    if (got === -1 && lastErrno() === EINTR) continue;
    return check(got, 'pread', () => `read ${printable(name)}`);
  }
}

export function ftruncate(fd: number, size: number, name: Path): void {
  check(native.ftruncate(fd, size), 'ftruncate', () => `set the size of ${printable(name)} to ${size}`);
}

/** The umask applies. @see mkdirat(2) */
export function mkdirat(dirfd: number, path: Path, mode: number): void {
  check(native.mkdirat(dirfd, terminated(path, firstPath), mode), 'mkdirat', () => `mkdir ${printable(path)}`);
}

/** A dev_t as the C library packs it. @see makedev(3) */
export function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn);
}

/** `mode` has the file type (S_IFCHR, ...); the umask applies. @see mknodat(2) */
export function mknodat(dirfd: number, path: Path, mode: number, device = 0n): void {
  const bytes = terminated(path, firstPath);
  check(native.mknodat(dirfd, bytes, mode, device), 'mknodat', () => `mknod ${printable(path)}`);
}

export function symlinkat(target: Path, dirfd: number, path: Path): void {
  const result = native.symlinkat(terminated(target, secondPath), dirfd, terminated(path, firstPath));
  check(result, 'symlinkat', () => `symlink ${printable(path)}`);
}

/** A final symlink is linked itself. With AT_EMPTY_PATH and an empty `from`, the file open at `fromFd` (CAP_DAC_READ_SEARCH). */
export function linkat(fromFd: number, from: Path, dirfd: number, path: Path, flags = 0): void {
  const result = native.linkat(fromFd, terminated(from, secondPath), dirfd, terminated(path, firstPath), flags);
  check(result, 'linkat', () => `link ${printable(path)} to ${printable(from)}`);
}

/** `flags`: 0 for what is no directory, AT_REMOVEDIR for an empty directory. */
export function unlinkat(dirfd: number, path: Path, flags = 0): void {
  check(native.unlinkat(dirfd, terminated(path, firstPath), flags), 'unlinkat', () => `remove ${printable(path)}`);
}

/** Clears set-user-ID bits and file capabilities: set those afterwards. @see chown(2) */
export function fchown(fd: number, uid: number, gid: number, name: Path): void {
  check(native.fchown(fd, uid, gid), 'fchown', () => `chown ${printable(name)} to ${uid}:${gid}`);
}

/** A final symlink is changed itself. */
export function lchownat(dirfd: number, path: Path, uid: number, gid: number): void {
  const result = native.fchownat(dirfd, terminated(path, firstPath), uid, gid, AT_SYMLINK_NOFOLLOW);
  check(result, 'fchownat', () => `chown ${printable(path)} to ${uid}:${gid}`);
}

/** All twelve permission bits; the umask does not apply. */
export function fchmod(fd: number, mode: number, name: Path): void {
  check(native.fchmod(fd, mode), 'fchmod', () => `chmod ${printable(name)} to 0${mode.toString(8)}`);
}

/** Follows a final symlink: only for a name that is known to be none. */
export function fchmodat(dirfd: number, path: Path, mode: number): void {
  const result = native.fchmodat(dirfd, terminated(path, firstPath), mode, 0);
  check(result, 'fchmodat', () => `chmod ${printable(path)} to 0${mode.toString(8)}`);
}

const timesBytes = Buffer.alloc(32);
const times = new DataView(timesBytes.buffer, timesBytes.byteOffset, 32);

function setTimes(seconds: number, nanoseconds: number): Buffer {
  for (let at = 0; at < 32; at += 16) {
    times.setUint32(at, seconds >>> 0, true);
    times.setInt32(at + 4, Math.floor(seconds / 0x1_0000_0000), true);
    times.setInt32(at + 8, nanoseconds, true);
  }
  return timesBytes;
}

/** Sets access and modification time: whole seconds since 1970, which may be negative, and 0 to 999,999,999 ns on top. */
export function futimens(fd: number, seconds: number, nanoseconds: number, name: Path): void {
  check(native.futimens(fd, setTimes(seconds, nanoseconds)), 'futimens', () => `set the time of ${printable(name)}`);
}

/** As {@link futimens} by name; a final symlink is changed itself. */
export function lutimensat(dirfd: number, path: Path, seconds: number, nanoseconds: number): void {
  const bytes = terminated(path, firstPath);
  const result = native.utimensat(dirfd, bytes, setTimes(seconds, nanoseconds), AT_SYMLINK_NOFOLLOW);
  check(result, 'utimensat', () => `set the time of ${printable(path)}`);
}

/** The bytes of a symlink's target; with an empty path that of the O_PATH descriptor itself. */
export function readlinkat(dirfd: number, path: Path): Buffer {
  const length = native.readlinkat(dirfd, terminated(path, firstPath), secondPath, PATH_MAX);
  check(length, 'readlinkat', () => `read the link ${printable(path)}`);
  return Buffer.from(secondPath.subarray(0, length));
}
