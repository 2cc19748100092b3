/**
 * What pathname calls do, as a matrix of data: each operation, on each kind of file, wherever it lies, in each kind of directory, by each
 * kind of user. What has to happen is not written here: the kernel's overlay says it.
 */
import { allocate, quickly } from '../../src/sys/quick.ts';
import { cstring } from '../../src/union/memory.ts';

/** A directory's descriptor, in which `x` is what it is about. */
type Operation = (at: number) => number;

const O = {
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;
const NOFOLLOW = 0x100;
const REMOVEDIR = 0x200;
const NOW = 0x3fffffff;
const OMIT = 0x3ffffffe;
const IFIFO = 0o010000;
const IFSOCK = 0o140000;

/** Whose the files are. */
export const OWNER = 1000;

const memory = allocate(8192);
const LONG = 'n'.repeat(255);

/** The path for calls that take no descriptor. */
const whole = (at: number, name: string): number => cstring(`/proc/self/fd/${at}/${name}`);

function opens(name: string, flags: number, then: (fd: number, at: number) => number = () => 0): Operation {
  return (at) => {
    const fd = quickly.openat(at, cstring(name), flags | O.NONBLOCK | O.CLOEXEC, 0o6764);
    if (fd < 0) return fd;
    const result = then(fd, at);
    quickly.close(fd);
    return result;
  };
}

const times = allocate(32);

function setsTimes(atime: readonly [number, number], mtime: readonly [number, number], flags = 0): Operation {
  return (at) => {
    for (const [index, [seconds, nanoseconds]] of [atime, mtime].entries()) {
      times.bytes.writeBigInt64LE(BigInt(seconds), index * 16);
      times.bytes.writeBigInt64LE(BigInt(nanoseconds), index * 16 + 8);
    }
    return quickly.utimensat(at, cstring('x'), times.address, flags);
  };
}

const writes = (fd: number): number => quickly.write(fd, memory.address, 10);
const reads = (fd: number): number => quickly.read(fd, memory.address, 10);

const chowns =
  (name: string, uid: number, gid: number, flags = 0): Operation =>
  (at) =>
    quickly.fchownat(at, cstring(name), uid, gid, flags);
const renames =
  (from: string, to: string, flags = 0): Operation =>
  (at) =>
    quickly.renameat2(at, cstring(from), at, cstring(to), flags);
const links =
  (from: string, to: string, flags = 0): Operation =>
  (at) =>
    quickly.linkat(at, cstring(from), at, cstring(to), flags);

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  'open O_RDONLY': opens('x', 0, reads),
  'open O_WRONLY': opens('x', O.WRONLY, () => 0),
  'open O_WRONLY and write': opens('x', O.WRONLY, writes),
  'open O_RDWR and read': opens('x', O.RDWR, reads),
  'open O_WRONLY|O_APPEND and write': opens('x', O.WRONLY | O.APPEND, writes),
  'open O_RDONLY|O_TRUNC': opens('x', O.TRUNC),
  'open O_WRONLY|O_TRUNC': opens('x', O.WRONLY | O.TRUNC),
  'open O_RDWR|O_TRUNC and write': opens('x', O.RDWR | O.TRUNC, writes),
  'open O_RDONLY|O_CREAT': opens('x', O.CREAT),
  'open O_RDWR|O_CREAT and write': opens('x', O.RDWR | O.CREAT, writes),
  'open O_WRONLY|O_CREAT|O_TRUNC': opens('x', O.WRONLY | O.CREAT | O.TRUNC),
  'open O_RDWR|O_CREAT|O_APPEND': opens('x', O.RDWR | O.CREAT | O.APPEND, writes),
  'open O_RDWR|O_CREAT|O_EXCL': opens('x', O.RDWR | O.CREAT | O.EXCL),
  'open O_RDWR|O_CREAT|O_EXCL|O_TRUNC': opens('x', O.RDWR | O.CREAT | O.EXCL | O.TRUNC),
  'open O_RDWR|O_CREAT|O_EXCL of another name': opens('new', O.RDWR | O.CREAT | O.EXCL, writes),
  'open O_RDWR|O_CREAT|O_DIRECTORY': opens('x', O.RDWR | O.CREAT | O.DIRECTORY),
  'open O_DIRECTORY': opens('x', O.DIRECTORY),
  'open O_NOFOLLOW': opens('x', O.NOFOLLOW),
  'open O_WRONLY|O_NOFOLLOW': opens('x', O.WRONLY | O.NOFOLLOW),
  'open O_NOATIME': opens('x', O.NOATIME, reads),
  'open O_PATH': opens('x', O.PATH),
  'open with a slash behind': opens('x/', 0),
  'open O_CREAT with a slash behind': opens('x/', O.CREAT | O.RDWR),
  'open below it': opens('x/y', O.CREAT | O.RDWR),
  'open O_TMPFILE in it': opens('x', 0o20000000 | O.DIRECTORY | O.RDWR, writes),
  'open of a name of 255 bytes': opens(LONG, O.CREAT | O.RDWR),
  'open of a name of 256 bytes': opens(`${LONG}n`, O.CREAT | O.RDWR),
  'open and fchmod': opens('x', 0, (fd) => quickly.fchmod(fd, 0o640)),
  'open and ftruncate': opens('x', O.RDWR, (fd) => quickly.ftruncate(fd, 2)),
  'open and ftruncate to the same size': opens('x', O.RDWR, (fd) => quickly.ftruncate(fd, 5)),
  'open and fsync': opens('x', 0, (fd) => quickly.fsync(fd)),
  'open, unlink and write': opens('x', O.RDWR, (fd, at) => quickly.unlinkat(at, cstring('x'), 0) || writes(fd)),
  chmod: (at) => quickly.chmod(whole(at, 'x'), 0o711),
  'chmod to what it is not': (at) => quickly.chmod(whole(at, 'x'), 0o7777),
  'chmod below it': (at) => quickly.chmod(whole(at, 'x/y'), 0o777),
  'chmod with a slash behind': (at) => quickly.chmod(whole(at, 'x/'), 0o700),
  'chown to who has it': chowns('x', 1000, 1000),
  'chown of the group to one of his': chowns('x', -1, 2000),
  'chown of the group to another one': chowns('x', -1, 3000),
  'chown to root': chowns('x', 0, 0),
  'chown to another user': chowns('x', 65534, -1),
  lchown: chowns('x', 1000, 2000, NOFOLLOW),
  'truncate to nothing': (at) => quickly.truncate(whole(at, 'x'), 0),
  'truncate to less': (at) => quickly.truncate(whole(at, 'x'), 3),
  'truncate to the same': (at) => quickly.truncate(whole(at, 'x'), 5),
  'truncate to more': (at) => quickly.truncate(whole(at, 'x'), 50_000),
  'truncate to too much': (at) => quickly.truncate(whole(at, 'x'), -1),
  'utimensat now': (at) => quickly.utimensat(at, cstring('x'), 0, 0),
  'utimensat UTIME_NOW, UTIME_NOW': setsTimes([0, NOW], [0, NOW]),
  'utimensat UTIME_NOW, UTIME_OMIT': setsTimes([0, NOW], [0, OMIT]),
  'utimensat UTIME_OMIT, UTIME_NOW': setsTimes([0, OMIT], [0, NOW]),
  'utimensat UTIME_OMIT, UTIME_OMIT': setsTimes([0, OMIT], [0, OMIT]),
  'utimensat of both': setsTimes([1_100_000_000, 123_456_789], [1_200_000_000, 987_654_321]),
  'utimensat of one': setsTimes([0, OMIT], [1_200_000_000, 1]),
  'utimensat of before 1970': setsTimes([-5, 5], [-1, 999_999_999]),
  'utimensat of after 2106': setsTimes([5_000_000_000, 5], [6_000_000_000, 999_999_999]),
  'utimensat of a symlink': setsTimes([1, 1], [2, 2], NOFOLLOW),
  'utimensat of a wrong number': setsTimes([1, 1_000_000_000], [2, 2]),
  unlink: (at) => quickly.unlinkat(at, cstring('x'), 0),
  'unlink with a slash behind': (at) => quickly.unlinkat(at, cstring('x/'), 0),
  'unlink below it': (at) => quickly.unlinkat(at, cstring('x/y'), 0),
  rmdir: (at) => quickly.unlinkat(at, cstring('x'), REMOVEDIR),
  'rmdir with a slash behind': (at) => quickly.unlinkat(at, cstring('x/'), REMOVEDIR),
  'rmdir of its dot': (at) => quickly.unlinkat(at, cstring('x/.'), REMOVEDIR),
  'rmdir of its dots': (at) => quickly.unlinkat(at, cstring('x/..'), REMOVEDIR),
  rename: renames('x', 'new'),
  'rename to itself': renames('x', 'x'),
  'rename with slashes behind': renames('x/', 'new/'),
  'rename over a file': renames('x', 'f'),
  'rename over an empty directory': renames('x', 'e'),
  'rename over a full directory': renames('x', 'q'),
  'rename into another directory': renames('x', 'q/new'),
  'rename over a file in another directory': renames('x', 'q/k'),
  'rename into itself': renames('x', 'x/y'),
  'rename of a file over it': renames('f', 'x'),
  'rename of an empty directory over it': renames('e', 'x'),
  'rename of a full directory over it': renames('q', 'x'),
  'rename of what is not there': renames('nothing', 'x'),
  'rename to a name of 256 bytes': renames('x', `${LONG}n`),
  'rename RENAME_NOREPLACE': renames('x', 'f', 1),
  'rename RENAME_EXCHANGE': renames('x', 'f', 2),
  'rename RENAME_EXCHANGE with a directory': renames('x', 'e', 2),
  'rename RENAME_EXCHANGE with nothing': renames('x', 'new', 2),
  link: links('x', 'new'),
  'link following': links('x', 'new', 0x400),
  'link to itself': links('x', 'x'),
  'link over a file': links('x', 'f'),
  'link over it': links('f', 'x'),
  'link into another directory': links('x', 'q/new'),
  'link below it': links('f', 'x/y'),
  'link to a name of 256 bytes': links('x', `${LONG}n`),
  symlink: (at) => quickly.symlinkat(cstring('x'), at, cstring('new')),
  'symlink over it': (at) => quickly.symlinkat(cstring('f'), at, cstring('x')),
  'symlink to a target of 4095 bytes': (at) => quickly.symlinkat(cstring('t'.repeat(4095)), at, cstring('new')),
  mkdir: (at) => quickly.mkdirat(at, cstring('new'), 0o1753),
  'mkdir over it': (at) => quickly.mkdirat(at, cstring('x'), 0o755),
  'mkdir below it': (at) => quickly.mkdirat(at, cstring('x/y'), 0o755),
  'mkdir with a slash behind': (at) => quickly.mkdirat(at, cstring('x/'), 0o755),
  mkfifo: (at) => quickly.mknodat(at, cstring('new'), IFIFO | 0o6753, 0),
  'mkfifo over it': (at) => quickly.mknodat(at, cstring('x'), IFIFO | 0o644, 0),
  'mkfifo below it': (at) => quickly.mknodat(at, cstring('x/y'), IFIFO | 0o644, 0),
  'mknod of a device': (at) => quickly.mknodat(at, cstring('new'), 0o060640, 0x12345),
  'mknod of a device over it': (at) => quickly.mknodat(at, cstring('x'), 0o020640, 0x103),
  'mknod of a socket': (at) => quickly.mknodat(at, cstring('new'), IFSOCK | 0o640, 0),
  'mknod of 0:0': (at) => quickly.mknodat(at, cstring('new'), 0o020640, 0),
  readlink: (at) => quickly.readlinkat(at, cstring('x'), memory.address, 4096),
  'readlink of a part': (at) => quickly.readlinkat(at, cstring('x'), memory.address, 1),
  'setxattr user.a': (at) => quickly.setxattr(whole(at, 'x'), cstring('user.a'), memory.address, 3, 0),
  'setxattr trusted.a': (at) => quickly.lsetxattr(whole(at, 'x'), cstring('trusted.a'), memory.address, 3, 0),
  'setxattr XATTR_REPLACE': (at) => quickly.setxattr(whole(at, 'x'), cstring('user.a'), memory.address, 3, 2),
  'getxattr of none': (at) => quickly.getxattr(whole(at, 'x'), cstring('user.a'), memory.address, 100),
  'removexattr of none': (at) => quickly.removexattr(whole(at, 'x'), cstring('user.a')),
  'statx below it': (at) => quickly.statx(at, cstring('x/y'), 0, 0x7ff, memory.address),
  'statx with a slash behind': (at) => quickly.statx(at, cstring('x/'), 0, 0x7ff, memory.address),
  'readdir of it': opens('x', O.DIRECTORY, (fd) => quickly.getdents(fd, memory.address, 4096)),
  'a bad address': (at) => quickly.unlinkat(at, -4096, 0),
};

const makes =
  (name: string, mode: number, size = 5, group = OWNER): Operation =>
  (at) => {
    const fd = quickly.openat(at, cstring(name), O.CREAT | O.WRONLY | O.CLOEXEC, 0o600);
    quickly.write(fd, cstring('12345'), size);
    quickly.close(fd);
    // Before the permissions: chown(2) takes some of them away.
    quickly.fchownat(at, cstring(name), OWNER, group, 0);
    return quickly.chmod(whole(at, name), mode);
  };

/** What is beside `x`: a file, an empty directory, a full one. */
export const BESIDE: readonly Operation[] = [
  makes('f', 0o664),
  (at) => quickly.mkdirat(at, cstring('e'), 0o775),
  (at) => quickly.mkdirat(at, cstring('q'), 0o775) || makes('q/k', 0o664)(at),
];

/** What `x` is made of in a lower layer, or in the upper one. */
export const KINDS: Readonly<Record<string, Operation>> = {
  file: makes('x', 0o664),
  empty: makes('x', 0o664, 0),
  program: makes('x', 0o6775),
  'file of another group with set-group-ID': makes('x', 0o2666, 5, 3000),
  hardlink: (at) => makes('x', 0o664)(at) || quickly.linkat(at, cstring('x'), at, cstring('x2'), 0),
  directory: (at) => quickly.mkdirat(at, cstring('x'), 0o775),
  'full directory': (at) => quickly.mkdirat(at, cstring('x'), 0o775) || makes('x/z', 0o644)(at),
  fifo: (at) => quickly.mknodat(at, cstring('x'), IFIFO | 0o664, 0),
  socket: (at) => quickly.mknodat(at, cstring('x'), IFSOCK | 0o664, 0),
  device: (at) => quickly.mknodat(at, cstring('x'), 0o020664, 0x103),
  symlink: (at) => quickly.symlinkat(cstring('f'), at, cstring('x')),
  'symlink to a directory': (at) => quickly.symlinkat(cstring('q'), at, cstring('x')),
  'symlink to nothing': (at) => quickly.symlinkat(cstring('new'), at, cstring('x')),
  'symlink to itself': (at) => quickly.symlinkat(cstring('x'), at, cstring('x')),
};

/** Where `x` lies. Removed: in a lower layer, behind a whiteout. Opaque: made anew over that. */
export const PLACES = ['lower', 'upper', 'copied', 'removed', 'opaque'] as const;
export type Place = (typeof PLACES)[number];

/** The directory around it: its permissions and owner. */
export const PARENTS: Readonly<Record<string, readonly [mode: number, uid: number, gid: number]>> = {
  ordinary: [0o755, 1000, 1000],
  closed: [0o755, 0, 0],
  open: [0o777, 0, 0],
  sticky: [0o1777, 3000, 3000],
  setgid: [0o2777, 3000, 2000],
  unsearchable: [0o700, 3000, 3000],
};

export const USERS: Readonly<Record<string, readonly [uid: number, gid: number, groups: readonly number[]]>> = {
  root: [0, 0, [0]],
  owner: [1000, 1000, [1000, 2000]],
  member: [65534, 65534, [1000, 2000]],
  nobody: [65534, 65534, []],
};
