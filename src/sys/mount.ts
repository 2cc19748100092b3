/** Mounts by system call. Every function: @throws SyscallError. Paths are bytes or text, as the kernel sees them. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { SyscallError } from '../errors.ts';
import { bind, check, cstring, printable, refuse } from './ffi.ts';
import { AT_EMPTY_PATH, AT_FDCWD, deviceNumber, OPEN, openat2, RESOLVE } from './file.ts';

type Path = string | Buffer;

const P = 'const void *';
const libcMount = bind('int', 'mount', [P, P, P, 'unsigned long', P]);
const libcUmount = bind('int', 'umount2', [P, 'int']);
const syscall2 = bind('long', 'syscall', ['long', P, P]);
const syscall3 = bind('long', 'syscall', ['long', 'int', P, 'unsigned int']);
const syscall5 = bind('long', 'syscall', ['long', 'int', P, 'unsigned int', P, 'size_t']);
const syscall6 = bind('long', 'syscall', ['long', 'int', P, 'int', P, 'unsigned int']);

/** System call numbers that both architectures share, and the one that differs. */
const SYS_PIVOT_ROOT = process.arch === 'arm64' ? 41 : 155;
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_MOUNT_SETATTR = 442;
const MOUNT_ATTR_IDMAP = 0x100000;
const OPEN_TREE_CLOEXEC = 0o2000000;
const [MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS, MOVE_MOUNT_T_EMPTY_PATH] = [4, 0x10, 0x40];

/** mount(2). Empty `source`, `type` and `data` are passed as empty strings, which the kernel takes as none. */
export function mount(source: Path, target: Path, type: string, flags: number, data: string): void {
  check(libcMount(cstring(source), cstring(target), cstring(type), flags, cstring(data)), 'mount', () => {
    const what = type === '' ? printable(source) : type;
    return `mount ${what === '' ? '' : `${what} on `}${printable(target)}`;
  });
}

/** umount2(2) */
export function umount(target: Path, flags: number): void {
  check(libcUmount(cstring(target), flags), 'umount', () => `unmount ${printable(target)}`);
}

/** pivot_root(2) */
export function pivotRoot(root: Path, old: Path): void {
  check(syscall2(SYS_PIVOT_ROOT, cstring(root), cstring(old)), 'pivot_root', () => `pivot_root to ${printable(root)}`);
}

/** open_tree(2), close-on-exec. @returns a descriptor */
export function openTree(path: Path, flags: number): number {
  return check(
    syscall3(SYS_OPEN_TREE, AT_FDCWD, cstring(path), flags | OPEN_TREE_CLOEXEC),
    'open_tree',
    () => `open the mount at ${printable(path)}`,
  );
}

/** A detached copy of the one file `path`, which must be that character device and no symlink.
 *  @returns a descriptor @throws SyscallError ENODEV when something else is there */
export function openDevice(path: Path, major: number, minor: number): number {
  const what = () => `open the device ${major}:${minor} at ${printable(path)}`;
  const fd = openat2(AT_FDCWD, path, OPEN.PATH | OPEN.NOFOLLOW, RESOLVE.NO_MAGICLINKS);
  try {
    const stat = fstatSync(fd);
    const isMeant = stat.isCharacterDevice() && BigInt(stat.rdev) === deviceNumber(major, minor);
    if (!isMeant) throw refuse('open_device', what(), 'ENODEV');
    const OPEN_TREE_CLONE = 1;
    return check(
      syscall3(SYS_OPEN_TREE, fd, cstring(''), OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC),
      'open_tree',
      what,
    );
  } finally {
    closeSync(fd);
  }
}

/** move_mount(2) of a descriptor that open_tree gave. No magic link is followed; ENOTDIR for a file on a directory and the reverse. */
export function moveMount(fd: number, target: Path, flags: number): void {
  const follow = (flags & MOVE_MOUNT_T_SYMLINKS) === 0 ? OPEN.NOFOLLOW : 0;
  const place = openat2(AT_FDCWD, target, OPEN.PATH | follow, RESOLVE.NO_MAGICLINKS);
  const what = () => `attach a mount at ${printable(target)}`;
  const all = (flags & ~MOVE_MOUNT_T_SYMLINKS) | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  const empty = cstring('');
  try {
    check(syscall6(SYS_MOVE_MOUNT, fd, empty, place, empty, all), 'move_mount', what);
  } catch (error) {
    const differ = () => fstatSync(fd).isDirectory() !== fstatSync(place).isDirectory();
    if (error instanceof SyscallError && error.errnoName === 'EINVAL' && differ()) {
      throw refuse('move_mount', what(), 'ENOTDIR');
    }
    throw error;
  } finally {
    closeSync(place);
  }
}

/** move_mount(2) of a descriptor that open_tree gave, onto the one file or directory that is open at `place`. */
export function moveTree(fd: number, place: number, shown: Path): void {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  const empty = cstring('');
  check(
    syscall6(SYS_MOVE_MOUNT, fd, empty, place, empty, flags),
    'move_mount',
    () => `attach a mount at ${printable(shown)}`,
  );
}

function setattr(fd: number, path: Path, flags: number, values: readonly number[]): void {
  const attr = Buffer.alloc(32);
  for (const [index, value] of values.entries()) attr.writeBigUInt64LE(BigInt(value), index * 8);
  check(
    syscall5(SYS_MOUNT_SETATTR, fd, cstring(path), flags, attr, attr.length),
    'mount_setattr',
    () => `change the mount at ${printable(path)}`,
  );
}

/** mount_setattr(2), MOUNT_ATTR_IDMAP, of a descriptor that open_tree(2) cloned: from here on its files have the owners that the user
 *  namespace `userns` (/proc/PID/ns/user) gives to the ids on disk. Linux 5.12; overlay takes such layers since 5.19. */
export function mapMount(fd: number, userns: string): void {
  const namespace = openSync(userns, 'r');
  try {
    const attr = Buffer.alloc(32);
    attr.writeBigUInt64LE(BigInt(MOUNT_ATTR_IDMAP), 0);
    attr.writeBigUInt64LE(BigInt(namespace), 24);
    const result = syscall5(SYS_MOUNT_SETATTR, fd, cstring(''), AT_EMPTY_PATH, attr, attr.length);
    check(result, 'mount_setattr', () => `map the owners of a mount by ${userns}`);
  } finally {
    closeSync(namespace);
  }
}

/** mount_setattr(2). `at` holds AT_RECURSIVE and friends; `propagation` is an MS_ constant or 0. */
export function mountSetattr(target: Path, at: number, set: number, clear: number, propagation: number): void {
  setattr(AT_FDCWD, target, at, [set, clear, propagation]);
}

/** As {@link mountSetattr} on a descriptor that open_tree gave.
 *  @param namespace descriptor of a user namespace, for MOUNT_ATTR_IDMAP */
export function treeSetattr(
  fd: number,
  at: number,
  set: number,
  clear: number,
  propagation: number,
  namespace = 0,
): void {
  setattr(fd, '', at | AT_EMPTY_PATH, [set, clear, propagation, namespace]);
}
