/** Memory for system calls: names as C strings, and what a call fills. One thread makes one call after another, so each exists once. */
import { allocate } from '../sys/quick.ts';

/** A path in a system call is shorter than this, its NUL included. */
const PATH_MAX = 4096;
const ROOMS = 8;

const paths = allocate(ROOMS * PATH_MAX);
let room = 0;

/** The empty path, for AT_EMPTY_PATH. */
export const EMPTY = allocate(8).address;

/** Text, one character a byte, as a C string. It is good until seven more were made. @returns its address */
export function cstring(text: string): number {
  room = (room + 1) % ROOMS;
  const start = room * PATH_MAX;
  const length = paths.bytes.write(text, start, PATH_MAX - 1, 'latin1');
  paths.bytes[start + length] = 0;
  return paths.address + start;
}

/** A name in a directory, or with an empty text {@link EMPTY}: the descriptor's own file. */
export const nameOf = (text: string): number => (text === '' ? EMPTY : cstring(text));

/** The path of a descriptor, or of a name in the directory that it stands for: for the calls that take no descriptor. A link of `/proc` is
 *  followed, the name is not. @see proc_pid_fd(5) */
export const pathOf = (fd: number, name = ''): number =>
  cstring(name === '' ? `/proc/self/fd/${fd}` : `/proc/self/fd/${fd}/${name}`);

/** For values of attributes, lists, links, parts of files that are copied. */
export const buffer = allocate(0x100000);
