/**
 * FUSE_WRITEBACK_CACHE: the kernel keeps what is written and brings it later, many writes in one request: when a file is closed or synced,
 * when there is much of it, or after some seconds. For where it does not write by itself (passthrough.ts); it does one or the other.
 *
 * Of regular files the kernel then knows size, mtime and ctime best: it takes none of these from us, and brings the times when they have
 * changed. To keep a part of a page it reads the rest of it, also for who only writes. @see Documentation/filesystems/fuse-io.rst
 */
import { OPEN } from '../sys/file.ts';
import { FATTR } from './protocol.ts';

let used = false;

export function useWriteback(): void {
  used = true;
}

export const isWritebackUsed = (): boolean => used;

/** O_ACCMODE. */
export const ACCESS = 3;

/** How a file is opened here for a client that opens it with these flags: so that it can be read, whoever writes. */
export const flagsToOpen = (flags: number): number =>
  used && (flags & ACCESS) === OPEN.WRONLY ? (flags & ~ACCESS) | OPEN.RDWR : flags;

const BROUGHT = FATTR.MTIME | FATTR.CTIME;
/** Whose request it is, and by which descriptor. */
const BESIDE = FATTR.FH | FATTR.LOCKOWNER;

/** May this SETATTR be the kernel's own, who brings the times of a file? It does after each change, also where they have not changed. */
export const bringsTimes = (valid: number): boolean => used && (valid & ~BESIDE) === BROUGHT;
