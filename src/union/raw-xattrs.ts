/** Extended attributes of a file of a layer: a name in a directory, which is not followed, or with an empty text the descriptor's own file. */
import { AT_SYMLINK_NOFOLLOW } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { cstring, pathOf } from './memory.ts';

/** The most that a value or a list can have. @see xattr(7) */
export const MOST_VALUE = 0x10000;

/** `struct xattr_args`: address of the value, its size, flags. */
const args = allocate(16);
const words = new Uint32Array(args.bytes.buffer, 0, 4);

/** Whether the kernel takes a descriptor and a name (Linux 6.13): a way through `/proc` costs twice as much. Without a name it would want
 *  a descriptor that is not O_PATH. */
let hasAt = true;

function get(fd: number, text: string, name: string, address: number, size: number): number {
  if (hasAt && text !== '') {
    [words[0], words[1], words[2]] = [address % 2 ** 32, Math.floor(address / 2 ** 32), size];
    const length = quickly.getxattrat(fd, cstring(text), AT_SYMLINK_NOFOLLOW, cstring(name), args.address);
    // EPERM is what filters say that do not know the call; of reading an attribute nothing else says it.
    if (length !== E.NOSYS && length !== E.PERM) return length;
    hasAt = false;
  }
  return (text === '' ? quickly.getxattr : quickly.lgetxattr)(pathOf(fd, text), cstring(name), address, size);
}

/** Each returns what its system call returns, or -errno. `address` is where the value is, or comes to. */
export const raw = {
  get,
  set: (fd: number, text: string, name: string, address: number, size: number, flags = 0): number =>
    (text === '' ? quickly.setxattr : quickly.lsetxattr)(pathOf(fd, text), cstring(name), address, size, flags),
  list: (fd: number, text: string, address: number, size: number): number =>
    (text === '' ? quickly.listxattr : quickly.llistxattr)(pathOf(fd, text), address, size),
  remove: (fd: number, text: string, name: string): number =>
    (text === '' ? quickly.removexattr : quickly.lremovexattr)(pathOf(fd, text), cstring(name)),
} as const;
