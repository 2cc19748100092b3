/** What the kernel says of a file of a layer. @see statx(2) */
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from '../sys/file.ts';
import { allocate, quickly } from '../sys/quick.ts';
import { TYPE_MASK } from '../sys/stat.ts';
import { EMPTY } from './memory.ts';
import { encodeDevice } from './protocol.ts';

const BYTES = 256;
const STATX_BASIC_STATS = 0x7ff;
/** The file system need not be asked once more for what it has told already. */
const AT_STATX_DONT_SYNC = 0x4000;

const memory = allocate(BYTES);
const words = new Uint32Array(memory.bytes.buffer, memory.bytes.byteOffset, BYTES / 4);
const halves = new Uint16Array(memory.bytes.buffer, memory.bytes.byteOffset, BYTES / 2);

/** Words of `struct statx`. */
const AT = {
  BLKSIZE: 1,
  LINKS: 4,
  UID: 5,
  GID: 6,
  INO: 8,
  SIZE: 10,
  BLOCKS: 12,
  ATIME: 16,
  CTIME: 24,
  MTIME: 28,
} as const;
const MODE = 14; // in half words
const RDEV = 32;
const DEV = 34;

/** Looks at a name in a directory, or with {@link EMPTY} at the descriptor itself; what it says is good until the next look.
 *  @returns 0 or -errno */
export function look(fd: number, name: number): number {
  const flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | (name === EMPTY ? AT_EMPTY_PATH : 0);
  return quickly.statx(fd, name, flags, STATX_BASIC_STATS, memory.address);
}

/** What the last {@link look} has found. */
export const seen = {
  mode: () => halves[MODE]!,
  type: () => halves[MODE]! & TYPE_MASK,
  links: () => words[AT.LINKS]!,
  uid: () => words[AT.UID]!,
  gid: () => words[AT.GID]!,
  inodeLow: () => words[AT.INO]!,
  inodeHigh: () => words[AT.INO + 1]!,
  size: () => words[AT.SIZE]! + words[AT.SIZE + 1]! * 2 ** 32,
  blocks: () => words[AT.BLOCKS]! + words[AT.BLOCKS + 1]! * 2 ** 32,
  deviceMajor: () => words[RDEV]!,
  deviceMinor: () => words[RDEV + 1]!,
  /** The file system that it is on: the same number for the same one. */
  fileSystem: () => words[DEV]! * 2 ** 20 + words[DEV + 1]!,
  /** A character device 0:0 hides what the layers below have by that name. */
  isWhiteout: () => (halves[MODE]! & TYPE_MASK) === S.S_IFCHR && words[RDEV] === 0 && words[RDEV + 1] === 0,
  atime: () => timeAt(AT.ATIME),
  mtime: () => timeAt(AT.MTIME),
} as const;

/** Seconds in two halves, nanoseconds. */
export type Time = readonly [low: number, high: number, nanoseconds: number];

const timeAt = (word: number): Time => [words[word]!, words[word + 1]!, words[word + 2]!];

/** Writes it as `struct fuse_attr`, all but the inode number. @param links as they are to be shown */
export function putAttributes(into: Uint32Array, at: number, links: number): void {
  const word = at / 4;
  into[word + 2] = words[AT.SIZE]!;
  into[word + 3] = words[AT.SIZE + 1]!;
  into[word + 4] = words[AT.BLOCKS]!;
  into[word + 5] = words[AT.BLOCKS + 1]!;
  into[word + 6] = words[AT.ATIME]!;
  into[word + 7] = words[AT.ATIME + 1]!;
  into[word + 8] = words[AT.MTIME]!;
  into[word + 9] = words[AT.MTIME + 1]!;
  into[word + 10] = words[AT.CTIME]!;
  into[word + 11] = words[AT.CTIME + 1]!;
  into[word + 12] = words[AT.ATIME + 2]!;
  into[word + 13] = words[AT.MTIME + 2]!;
  into[word + 14] = words[AT.CTIME + 2]!;
  into[word + 15] = halves[MODE]!;
  into[word + 16] = links;
  into[word + 17] = words[AT.UID]!;
  into[word + 18] = words[AT.GID]!;
  into[word + 19] = encodeDevice(words[RDEV]!, words[RDEV + 1]!);
  into[word + 20] = words[AT.BLKSIZE]!;
  into[word + 21] = 0;
}
