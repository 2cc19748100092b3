/** Extended attributes, whose values are bytes. Names are strings of bytes too: latin1 here. @see xattr(7) */
import { bind, check, lastErrno, printable } from './ffi.ts';
import { type Path, pathArgument } from './file.ts';

const POINTER = 'const void *';
const VALUE = [POINTER, POINTER, 'uint64_t'];
const native = {
  fget: bind('int64_t', 'fgetxattr', ['int', ...VALUE]),
  lget: bind('int64_t', 'lgetxattr', [POINTER, ...VALUE]),
  fset: bind('int', 'fsetxattr', ['int', ...VALUE, 'int']),
  lset: bind('int', 'lsetxattr', [POINTER, ...VALUE, 'int']),
  flist: bind('int64_t', 'flistxattr', ['int', POINTER, 'uint64_t']),
  llist: bind('int64_t', 'llistxattr', [POINTER, POINTER, 'uint64_t']),
  fremove: bind('int', 'fremovexattr', ['int', POINTER]),
};

const EINVAL = 22;
const ENODATA = 61;
const ENOTSUP = 95;

// The kernel's bounds: a list and a value have 64 KiB at the most, a name 255 bytes.
let room: Buffer | undefined;
const ROOM = 0x10000;
const nameBytes = Buffer.alloc(260);

function nameArgument(name: string): Buffer {
  nameBytes[nameBytes.write(name.slice(0, 256), 'latin1')] = 0;
  return nameBytes;
}

/** EINVAL: an empty `security.capability`, which the kernel lets one set and not read. */
function taken(length: number, call: string, what: () => string): Buffer | undefined {
  if (length === -1 && [ENODATA, ENOTSUP, EINVAL].includes(lastErrno())) return undefined;
  check(length, call, what);
  return Buffer.from(room!.subarray(0, length));
}

/** The value, or undefined where there is none, none that means something, or the file system has no attributes. Needs a readable descriptor. */
export function fgetxattr(fd: number, name: string): Buffer | undefined {
  room ??= Buffer.alloc(ROOM);
  return taken(native.fget(fd, nameArgument(name), room, ROOM), 'fgetxattr', () => `read xattr ${name}`);
}

/** As {@link fgetxattr} by path; a final symlink is asked itself. */
export function lgetxattr(path: Path, name: string): Buffer | undefined {
  room ??= Buffer.alloc(ROOM);
  const length = native.lget(pathArgument(path), nameArgument(name), room, ROOM);
  return taken(length, 'lgetxattr', () => `read xattr ${name} of ${printable(path)}`);
}

function names(list: Buffer | undefined): string[] {
  if (list === undefined || list.length === 0) return [];
  return list.toString('latin1', 0, list.length - 1).split('\0');
}

/** Names of all attributes in the order of the bytes; none where the file system has no attributes. */
export function flistxattr(fd: number): string[] {
  room ??= Buffer.alloc(ROOM);
  return names(taken(native.flist(fd, room, ROOM), 'flistxattr', () => 'list xattrs')).sort();
}

/** As {@link flistxattr} by path; a final symlink is asked itself. */
export function llistxattr(path: Path): string[] {
  room ??= Buffer.alloc(ROOM);
  const length = native.llist(pathArgument(path), room, ROOM);
  return names(taken(length, 'llistxattr', () => `list xattrs of ${printable(path)}`)).sort();
}

/** Sets or replaces a value. */
export function fsetxattr(fd: number, name: string, value: Buffer): void {
  check(native.fset(fd, nameArgument(name), value, value.length, 0), 'fsetxattr', () => `set xattr ${name}`);
}

/** As {@link fsetxattr} by path; a final symlink is changed itself. */
export function lsetxattr(path: Path, name: string, value: Buffer): void {
  const result = native.lset(pathArgument(path), nameArgument(name), value, value.length, 0);
  check(result, 'lsetxattr', () => `set xattr ${name} of ${printable(path)}`);
}

/** Does the file system keep attributes of that kind? Sets one and removes it. @throws SyscallError EOPNOTSUPP, or EPERM for who may not */
export function tryXattr(fd: number, name: string): void {
  fsetxattr(fd, name, Buffer.from('y'));
  fremovexattr(fd, name);
}

/** Removes a value. @throws ENODATA where there is none */
export function fremovexattr(fd: number, name: string): void {
  check(native.fremove(fd, nameArgument(name)), 'fremovexattr', () => `remove xattr ${name}`);
}
