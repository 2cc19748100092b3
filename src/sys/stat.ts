/** What a file is, and what a directory has, relative to a descriptor; names are bytes as latin1. @see statx(2), getdents(2) */
import { S } from '../spec/linux.ts';
import { bind, check, printable } from './ffi.ts';
import { AT_SYMLINK_NOFOLLOW, type Path, pathArgument } from './file.ts';

const statx = bind('int', 'statx', ['int', 'const void *', 'int', 'uint32_t', 'const void *']);
const getdents64 = bind('int64_t', 'getdents64', ['int', 'const void *', 'uint64_t']);

/** The part of a mode that says what a file is: compare with S_IFREG and the like. @see inode(7) */
export const TYPE_MASK = 0o170000;

const STATX_BASIC_STATS = 0x7ff;
const STATX_ATTR_MOUNT_ROOT = 0x2000;
const STATX_BYTES = 256;

export interface FileStatus {
  /** Type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  links: number;
  size: number;
  /** Modification time: whole seconds, and nanoseconds on top. */
  mtime: number;
  mtimeNsec: number;
  /** When anything about it changed last, which nobody can set. */
  ctime: number;
  ctimeNsec: number;
  /** Of a device node. */
  deviceMajor: number;
  deviceMinor: number;
  /** 512-byte blocks that are really there. */
  blocks: number;
  /** The same for two names of one file, and for no others: file system and inode. */
  identity: string;
  /** Is something mounted at this name? False with a kernel that does not tell (before 5.8). */
  isMountRoot: boolean;
}

const typeOf = ({ mode }: Pick<FileStatus, 'mode'>) => mode & TYPE_MASK;
export const isDirectory = (status: Pick<FileStatus, 'mode'>): boolean => typeOf(status) === S.S_IFDIR;
export const isRegular = (status: Pick<FileStatus, 'mode'>): boolean => typeOf(status) === S.S_IFREG;
export const isSymlink = (status: Pick<FileStatus, 'mode'>): boolean => typeOf(status) === S.S_IFLNK;

const bytes = Buffer.alloc(STATX_BYTES);
const view = new DataView(bytes.buffer, bytes.byteOffset, STATX_BYTES);

/** A final symlink is asked itself. With AT_EMPTY_PATH in `flags` and an empty path: the descriptor's own file. */
export function statAt(dirfd: number, path: Path, flags = AT_SYMLINK_NOFOLLOW): FileStatus {
  const result = statx(dirfd, pathArgument(path), flags, STATX_BASIC_STATS, bytes);
  check(result, 'statx', () => `look at ${printable(path)}`);
  const links = view.getUint32(16, true);
  return {
    mode: view.getUint16(28, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    links,
    size: Number(view.getBigUint64(40, true)),
    mtime: Number(view.getBigInt64(112, true)),
    mtimeNsec: view.getUint32(120, true),
    ctime: Number(view.getBigInt64(96, true)),
    ctimeNsec: view.getUint32(104, true),
    deviceMajor: view.getUint32(128, true),
    deviceMinor: view.getUint32(132, true),
    blocks: Number(view.getBigUint64(48, true)),
    identity: `${view.getUint32(136, true)}:${view.getUint32(140, true)}:${view.getBigUint64(32, true)}`,
    isMountRoot: (view.getUint32(8, true) & STATX_ATTR_MOUNT_ROOT) !== 0,
  };
}

const DENTS_BYTES = 0x10000;
let dents: Buffer | undefined;

/** Names in an open directory but `.` and `..`, sorted by their bytes, each byte a character (latin1).
 *  Reads from the descriptor's position: open the directory for this. */
export function namesIn(fd: number): string[] {
  dents ??= Buffer.alloc(DENTS_BYTES);
  const found: string[] = [];
  for (;;) {
    const length = check(getdents64(fd, dents, DENTS_BYTES), 'getdents64', () => 'list a directory');
    if (length === 0) break;
    for (let at = 0; at < length; at += dents.readUInt16LE(at + 16)) {
      const name = dents.toString('latin1', at + 19, dents.indexOf(0, at + 19));
      if (name !== '.' && name !== '..') found.push(name);
    }
  }
  return found.sort();
}
