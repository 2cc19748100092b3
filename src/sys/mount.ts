/** Mounts by system call. Every function: @throws SyscallError. Paths are bytes or text, as the kernel sees them. */
import { closeSync, openSync } from 'node:fs';
import { bind, check, cstring, printable } from './ffi.ts';

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
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const MOUNT_ATTR_IDMAP = 0x100000;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;

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

/** move_mount(2) of a descriptor that open_tree gave. */
export function moveMount(fd: number, target: Path, flags: number): void {
  const what = () => `attach a mount at ${printable(target)}`;
  const all = flags | MOVE_MOUNT_F_EMPTY_PATH;
  check(syscall6(SYS_MOVE_MOUNT, fd, cstring(''), AT_FDCWD, cstring(target), all), 'move_mount', what);
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
  const attr = Buffer.alloc(32);
  attr.writeBigUInt64LE(BigInt(set), 0);
  attr.writeBigUInt64LE(BigInt(clear), 8);
  attr.writeBigUInt64LE(BigInt(propagation), 16);
  check(
    syscall5(SYS_MOUNT_SETATTR, AT_FDCWD, cstring(target), at, attr, attr.length),
    'mount_setattr',
    () => `change the mount at ${printable(target)}`,
  );
}
