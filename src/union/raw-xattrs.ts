/** Extended attributes of a file of a layer: a name in a directory, which is not followed, or with an empty text the descriptor's own file. */
import { quickly } from '../sys/quick.ts';
import { cstring, pathOf } from './memory.ts';

/** The most that a value or a list can have. @see xattr(7) */
export const MOST_VALUE = 0x10000;

/** Each returns what its system call returns, or -errno. `address` is where the value is, or comes to. */
export const raw = {
  get: (fd: number, text: string, name: string, address: number, size: number): number =>
    (text === '' ? quickly.getxattr : quickly.lgetxattr)(pathOf(fd, text), cstring(name), address, size),
  set: (fd: number, text: string, name: string, address: number, size: number, flags = 0): number =>
    (text === '' ? quickly.setxattr : quickly.lsetxattr)(pathOf(fd, text), cstring(name), address, size, flags),
  list: (fd: number, text: string, address: number, size: number): number =>
    (text === '' ? quickly.listxattr : quickly.llistxattr)(pathOf(fd, text), address, size),
  remove: (fd: number, text: string, name: string): number =>
    (text === '' ? quickly.removexattr : quickly.lremovexattr)(pathOf(fd, text), cstring(name)),
} as const;
