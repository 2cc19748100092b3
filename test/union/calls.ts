/** Every kind of call that a program makes on files, as data: so that the same can be done on two mounts, and a failing list be made shorter. */
import { bind, lastErrno } from '../../src/sys/ffi.ts';
import { allocate, quickly } from '../../src/sys/quick.ts';
import { cstring } from '../../src/union/memory.ts';
import { encodeTimes, type Status, statOf } from './status.ts';

const I = 'int64_t';
const extra = {
  setfsuid: bind('int', 'setfsuid', [I]),
  setfsgid: bind('int', 'setfsgid', [I]),
  faccessat: bind('int', 'faccessat', [I, I, I, I]),
  flock: bind('int', 'flock', [I, I]),
  fgetxattr: bind(I, 'fgetxattr', [I, I, I, I]),
  fsetxattr: bind('int', 'fsetxattr', [I, I, I, I, I]),
  fremovexattr: bind('int', 'fremovexattr', [I, I]),
  fchown: bind('int', 'fchown', [I, I, I]),
  mmap: bind(I, 'mmap', [I, I, I, I, I, I]),
  munmap: bind('int', 'munmap', [I, I]),
  madvise: bind('int', 'madvise', [I, I, I]),
  memcpy: bind(I, 'memcpy', [I, I, I]),
};

const checked = (result: number): number => (result === -1 ? -lastErrno() : result);

/** One mount, and what is open on it. */
export interface Side {
  root: number;
  files: Map<number, number>;
}

/** A call: its kind, paths and numbers. Of two paths the second one is new. */
export interface Call {
  kind: Kind;
  path: string;
  other: string;
  slot: number;
  n: number;
  m: number;
}

/** What is compared: a number, or what was seen. */
export type Outcome = number | string;

const O = {
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NOFOLLOW: 0o400000,
  DIRECTORY: 0o200000,
  PATH: 0o10000000,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
  TMPFILE: 0o20200000,
} as const;
const AT = { NOFOLLOW: 0x100, REMOVEDIR: 0x200, FOLLOW: 0x400, EMPTY_PATH: 0x1000, FDCWD: -100 } as const;
const memory = allocate(0x40000);
const MODES = [0o644, 0o600, 0o755, 0o4755, 0o2755, 0o6711, 0o1777, 0o000, 0o2750, 0o444];
const IDS = [0, 1000, 1001, -1];
const SIZES = [0, 1, 100, 4095, 4096, 4097, 10000, 70000];
const XATTRS = [
  'user.a',
  'user.b',
  'trusted.t',
  'security.capability',
  'trusted.overlay.opaque',
  'trusted.overlay.x',
  'user.overlay.opaque',
  'system.posix_acl_access',
  'system.posix_acl_default',
];

/** Major number 120 is nobody's: a node that leads to a disk would be opened and written to, as root. @see Documentation/admin-guide/devices.txt */
const NO_DISK = 0x7801;

const at = <T>(list: readonly T[], n: number): T => list[n % list.length]!;

function open(side: Side, { path, slot, n }: Call, flags: number): Outcome {
  const fd = quickly.openat(side.root, cstring(path), flags | O.NONBLOCK | O.CLOEXEC, at(MODES, n));
  if (fd < 0) return fd;
  const before = side.files.get(slot);
  if (before !== undefined) quickly.close(before);
  side.files.set(slot, fd);
  return 0;
}

/** An access list: its owner, a user, the group, the mask, others. @see posix_acl_xattr.h */
function acl(n: number): Buffer {
  const bits = [7, n & 7, 5, (n >> 3) & 7, (n >> 6) & 5];
  const value = Buffer.alloc(4 + 5 * 8);
  value.writeUInt32LE(2, 0);
  [1, 2, 4, 0x10, 0x20].forEach((tag, i) => {
    value.writeUInt16LE(tag, 4 + i * 8);
    value.writeUInt16LE(bits[i]!, 6 + i * 8);
    value.writeInt32LE(tag === 2 ? 1000 : -1, 8 + i * 8);
  });
  return value;
}

/** A file capability. @see struct vfs_cap_data */
const CAPABILITY = Buffer.from('0100000201000000000000000000000000000000', 'hex');

function valueFor(name: string, n: number): Buffer {
  if (name.startsWith('system.')) return acl(n);
  if (name === 'security.capability') return CAPABILITY;
  return Buffer.from(name.endsWith('opaque') ? 'y' : `v${n % 7}`);
}

const content = (n: number, length: number): void => {
  memory.bytes.fill(97 + (n % 26), 0, length);
};

const file = (side: Side, { slot }: Call): number => side.files.get(slot) ?? -1;

function readBack(length: number): Outcome {
  if (length < 0) return length;
  let hash = 0;
  for (let i = 0; i < length; i++) hash = (Math.imul(hash, 31) + memory.bytes[i]!) | 0;
  return `${length}:${hash}`;
}

function stat(fd: number, path: string, flags: number): Outcome {
  const status = statOf(fd, path, flags);
  return typeof status === 'number' ? status : shown(status);
}

/** Which of the times can be compared: those that are from before the test. */
export function shown(status: Status): string {
  const { mode, uid, gid, links, size, device, mtime } = status;
  const isDirectory = (mode & 0o170000) === 0o040000;
  return [
    mode.toString(8),
    uid,
    gid,
    isDirectory ? '' : `${links} ${size} ${device}`,
    mtime < 1.6e9 ? mtime : 'now',
  ].join(' ');
}

function names(side: Side, path: string): Outcome {
  const fd = quickly.openat(side.root, cstring(path), O.DIRECTORY | O.CLOEXEC, 0);
  if (fd < 0) return fd;
  const found: string[] = [];
  for (;;) {
    const length = quickly.getdents(fd, memory.address, 0x8000);
    if (length < 0) return length;
    if (length === 0) break;
    for (let i = 0; i < length; i += memory.bytes.readUInt16LE(i + 16)) {
      found.push(`${memory.bytes[i + 18]}${memory.bytes.toString('latin1', i + 19, memory.bytes.indexOf(0, i + 19))}`);
    }
  }
  quickly.close(fd);
  return found.sort().join('/');
}

function copyRange(side: Side, call: Call): Outcome {
  const [from, to] = [file(side, call), side.files.get(call.n % 5) ?? -1];
  memory.bytes.writeBigInt64LE(0n, 0);
  memory.bytes.writeBigInt64LE(BigInt(at(SIZES, call.m)), 8);
  return quickly.copyFileRange(from, memory.address, to, memory.address + 8, at(SIZES, call.n), 0);
}

/** Of a mapping that has not what read(2) gives, or that cannot be read at all. */
export const STALE = 'stale';
const MADV_POPULATE_READ = 22;

/** Has a mapping of the first bytes of a file what it should? Asked so that a page which is not there ends nobody by SIGBUS. */
function isStale(address: number, length: number, fd: number): boolean {
  if (extra.madvise(address, length, MADV_POPULATE_READ) !== 0) return true;
  const size = quickly.pread(fd, memory.address, length, 0);
  const read = readBack(size);
  extra.memcpy(memory.address, address, length);
  return read !== readBack(length);
}

function mapped(side: Side, call: Call): Outcome {
  const [length, writes, shared] = [4096, (call.n & 1) === 1, (call.n & 2) === 2];
  const fd = file(side, call);
  const status = statOf(fd, '', AT.EMPTY_PATH);
  if (typeof status === 'number' || status.size < length) return -1000;
  const address = checked(extra.mmap(0, length, writes ? 3 : 1, shared ? 1 : 2, fd, 0));
  if (address < 0) return address;
  if (isStale(address, length, fd)) {
    extra.munmap(address, length);
    return STALE;
  }
  content(call.n, 16);
  if (writes) extra.memcpy(address + (call.m % 4000), memory.address, 16);
  extra.memcpy(memory.address, address, length);
  extra.munmap(address, length);
  return readBack(length);
}

function removeAll(side: Side, path: string): Outcome {
  const listed = names(side, path);
  if (typeof listed === 'string' && listed !== '') {
    for (const each of listed.split('/')) {
      const name = each.replace(/^\d+/, '');
      if (name !== '.' && name !== '..') removeAll(side, `${path}/${name}`);
    }
  }
  const removed = quickly.unlinkat(side.root, cstring(path), 0);
  return removed === 0 ? 0 : quickly.unlinkat(side.root, cstring(path), AT.REMOVEDIR);
}

type Do = (side: Side, call: Call) => Outcome;

const xattrPath = (side: Side, path: string): string => `/proc/self/fd/${side.root}/${path}`;

function setXattr({ root }: Side, { path, n, m }: Call, follow: boolean): Outcome {
  const name = at(XATTRS, n);
  const value = valueFor(name, m);
  value.copy(memory.bytes);
  const call = follow ? quickly.setxattr : quickly.lsetxattr;
  return call(cstring(`/proc/self/fd/${root}/${path}`), cstring(name), memory.address, value.length, m % 3);
}

const clean = (text: string): string =>
  text
    .split('\0')
    .filter((name) => name !== '')
    .sort()
    .join(' ');

const KINDS = {
  openRead: (s, c) => open(s, c, 0),
  openWrite: (s, c) => open(s, c, O.WRONLY),
  openBoth: (s, c) => open(s, c, O.RDWR),
  openAppend: (s, c) => open(s, c, O.WRONLY | O.APPEND),
  openTruncate: (s, c) => open(s, c, O.WRONLY | O.TRUNC),
  openReadTruncate: (s, c) => open(s, c, O.TRUNC),
  openCreate: (s, c) => open(s, c, O.RDWR | O.CREAT),
  openExclusive: (s, c) => open(s, c, O.RDWR | O.CREAT | O.EXCL),
  openDirectory: (s, c) => open(s, c, O.DIRECTORY),
  openNoFollow: (s, c) => open(s, c, O.NOFOLLOW),
  openPath: (s, c) => open(s, c, O.PATH | O.NOFOLLOW),
  openUnnamed: (s, c) => open(s, c, O.RDWR | O.TMPFILE),
  close: (s, c) => {
    const fd = s.files.get(c.slot);
    s.files.delete(c.slot);
    return fd === undefined ? -9 : quickly.close(fd);
  },
  read: (s, c) => readBack(quickly.read(file(s, c), memory.address, at(SIZES, c.n))),
  pread: (s, c) => readBack(quickly.pread(file(s, c), memory.address, at(SIZES, c.n), at(SIZES, c.m))),
  write: (s, c) => {
    content(c.m, at(SIZES, c.n));
    return quickly.write(file(s, c), memory.address, at(SIZES, c.n));
  },
  pwrite: (s, c) => {
    content(c.n, 5000);
    return quickly.pwrite(file(s, c), memory.address, 1 + (c.n % 5000), at(SIZES, c.m));
  },
  mapped,
  ftruncate: (s, c) => quickly.ftruncate(file(s, c), at(SIZES, c.n)),
  truncate: (s, c) => quickly.truncate(cstring(xattrPath(s, c.path)), at(SIZES, c.n)),
  fsync: (s, c) => quickly.fsync(file(s, c)),
  fdatasync: (s, c) => quickly.fdatasync(file(s, c)),
  seekEnd: (s, c) => Number(quickly.lseek(file(s, c), at([0, -1, -4096], c.n), 2)),
  fallocate: (s, c) => quickly.fallocate(file(s, c), at(ALLOCATIONS, c.n), at(SIZES, c.m), 1 + at(SIZES, c.n)),
  copyRange,
  mkdir: (s, c) => quickly.mkdirat(s.root, cstring(c.path), at(MODES, c.n)),
  rmdir: (s, c) => quickly.unlinkat(s.root, cstring(c.path), AT.REMOVEDIR),
  unlink: (s, c) => quickly.unlinkat(s.root, cstring(c.path), 0),
  removeAll: (s, c) => removeAll(s, c.path),
  rename: (s, c) => quickly.renameat2(s.root, cstring(c.path), s.root, cstring(c.other), 0),
  renameNoReplace: (s, c) => quickly.renameat2(s.root, cstring(c.path), s.root, cstring(c.other), 1),
  renameExchange: (s, c) => quickly.renameat2(s.root, cstring(c.path), s.root, cstring(c.other), 2),
  renameWhiteout: (s, c) => quickly.renameat2(s.root, cstring(c.path), s.root, cstring(c.other), 4),
  link: (s, c) => quickly.linkat(s.root, cstring(c.path), s.root, cstring(c.other), 0),
  linkFollow: (s, c) => quickly.linkat(s.root, cstring(c.path), s.root, cstring(c.other), AT.FOLLOW),
  linkOpen: (s, c) =>
    quickly.linkat(AT.FDCWD, cstring(`/proc/self/fd/${file(s, c)}`), s.root, cstring(c.other), AT.FOLLOW),
  symlink: (s, c) => quickly.symlinkat(cstring(c.other), s.root, cstring(c.path)),
  readlink: (s, c) => readBack(quickly.readlinkat(s.root, cstring(c.path), memory.address, 4096)),
  mkfifo: (s, c) => quickly.mknodat(s.root, cstring(c.path), 0o010000 | at(MODES, c.n), 0),
  mknodChar: (s, c) => quickly.mknodat(s.root, cstring(c.path), 0o020000 | at(MODES, c.n), 0x103),
  mknodBlock: (s, c) => quickly.mknodat(s.root, cstring(c.path), 0o060000 | at(MODES, c.n), NO_DISK),
  mknodSocket: (s, c) => quickly.mknodat(s.root, cstring(c.path), 0o140000 | at(MODES, c.n), 0),
  mknodFile: (s, c) => quickly.mknodat(s.root, cstring(c.path), 0o100000 | at(MODES, c.n), 0),
  mknodWhiteout: (s, c) => quickly.mknodat(s.root, cstring(c.path), 0o020000, 0),
  chmod: (s, c) => quickly.chmod(cstring(xattrPath(s, c.path)), at(MODES, c.n)),
  fchmod: (s, c) => quickly.fchmod(file(s, c), at(MODES, c.n)),
  chown: (s, c) => quickly.fchownat(s.root, cstring(c.path), at(IDS, c.n), at(IDS, c.m), 0),
  lchown: (s, c) => quickly.fchownat(s.root, cstring(c.path), at(IDS, c.n), at(IDS, c.m), AT.NOFOLLOW),
  fchown: (s, c) => checked(extra.fchown(file(s, c), at(IDS, c.n), at(IDS, c.m))),
  utimes: (s, c) => quickly.utimensat(s.root, cstring(c.path), encodeTimes(c.n, c.m), 0),
  lutimes: (s, c) => quickly.utimensat(s.root, cstring(c.path), encodeTimes(c.n, c.m), AT.NOFOLLOW),
  stat: (s, c) => stat(s.root, c.path, 0),
  lstat: (s, c) => stat(s.root, c.path, AT.NOFOLLOW),
  fstat: (s, c) => stat(file(s, c), '', AT.EMPTY_PATH),
  access: (s, c) => checked(extra.faccessat(s.root, cstring(c.path), c.n & 7, 0x200)),
  setxattr: (s, c) => setXattr(s, c, true),
  lsetxattr: (s, c) => setXattr(s, c, false),
  fsetxattr: (s, c) => {
    const value = valueFor(at(XATTRS, c.n), c.m);
    value.copy(memory.bytes);
    return checked(extra.fsetxattr(file(s, c), cstring(at(XATTRS, c.n)), memory.address, value.length, 0));
  },
  getxattr: (s, c) =>
    readBack(quickly.getxattr(cstring(xattrPath(s, c.path)), cstring(at(XATTRS, c.n)), memory.address, 1000)),
  getxattrSize: (s, c) =>
    quickly.lgetxattr(cstring(xattrPath(s, c.path)), cstring(at(XATTRS, c.n)), memory.address, c.m % 3),
  listxattr: (s, c) => {
    const length = quickly.llistxattr(cstring(xattrPath(s, c.path)), memory.address, 4096);
    return length < 0 ? length : clean(memory.bytes.toString('latin1', 0, length));
  },
  removexattr: (s, c) => quickly.lremovexattr(cstring(xattrPath(s, c.path)), cstring(at(XATTRS, c.n))),
  fremovexattr: (s, c) => checked(extra.fremovexattr(file(s, c), cstring(at(XATTRS, c.n)))),
  readdir: (s, c) => names(s, c.path),
  flock: (s, c) => checked(extra.flock(file(s, c), at([1, 2, 8], c.n) | 4)),
} satisfies Record<string, Do>;

export type Kind = keyof typeof KINDS;
export const ALL_KINDS = Object.keys(KINDS) as Kind[];

/** What fallocate(2) is asked for: nothing more, FALLOC_FL_KEEP_SIZE, that and FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE. */
const ALLOCATIONS = [0, 1, 3, 16];

/** Calls whose mtime the kernel's half of FUSE decides when it keeps what is written, see src/union/README.md: truncate(2) to the size that
 *  the file has; fallocate(2) that the file system refuses. */
export function isTimedByKernel({ kind, path, n }: Call, { root }: Side): boolean {
  if (kind === 'fallocate') return at(ALLOCATIONS, n) === 16;
  if (kind !== 'truncate') return false;
  const status = statOf(root, path, 0);
  return typeof status === 'object' && status.size === at(SIZES, n);
}

/** Makes the call as a user. */
export function carryOut(side: Side, call: Call, uid: number): Outcome {
  if (uid !== 0) {
    extra.setfsgid(uid);
    extra.setfsuid(uid);
  }
  try {
    return (KINDS[call.kind] as Do)(side, call);
  } finally {
    if (uid !== 0) {
      extra.setfsuid(0);
      extra.setfsgid(0);
    }
  }
}

/** What a failing list is printed as. */
export function describe({ kind, path, other, slot, n, m }: Call): string {
  const name = (text: string): string =>
    JSON.stringify(text.length > 60 ? `${text.slice(0, 20)}...(${text.length})` : text);
  return `${kind} ${name(path)} ${name(other)} slot=${slot} n=${n} m=${m}`;
}
