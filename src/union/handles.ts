/** Open files. A handle's number is its descriptor here. */
import { AT_FDCWD, OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { pathOf } from './memory.ts';
import { realOf, type Union } from './union.ts';

/** Descriptors of files of lower layers, by node: when one is copied up they are to read the copy, for the kernel keeps one cache for all. */
const lower = new Map<number, Set<number>>();

export function noteLower(node: number, fd: number): void {
  const set = lower.get(node);
  if (set === undefined) lower.set(node, new Set([fd]));
  else set.add(fd);
}

/** Before it is closed. */
export function forgetLower(node: number, fd: number): void {
  const set = lower.get(node);
  if (set?.delete(fd) === true && set.size === 0) lower.delete(node);
}

/** Opens the node's file. @returns a descriptor, -errno */
export function openReal(union: Union, node: number, flags: number): number {
  const { fd, name, text } = realOf(union, node);
  if (fd < 0) return fd;
  if (text !== '') return quickly.openat(fd, name, flags | OPEN.NOFOLLOW | OPEN.CLOEXEC, 0);
  return quickly.openat(AT_FDCWD, pathOf(fd), flags | OPEN.CLOEXEC, 0);
}

/** The node has just been copied up: whoever has it open reads the copy from now on. */
export function switchToUpper(union: Union, node: number): void {
  const set = lower.get(node);
  if (set === undefined) return;
  lower.delete(node);
  for (const fd of set) {
    const copy = openReal(union, node, OPEN.RDONLY);
    if (copy < 0) continue;
    quickly.dup3(copy, fd, OPEN.CLOEXEC);
    quickly.close(copy);
  }
}
