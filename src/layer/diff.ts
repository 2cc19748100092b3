/** Packs a directory as a tar: an overlay's upper directory as a layer, or a plain tree. The same directory gives the same bytes. */
import { TsboxError } from '../errors.ts';
import { S } from '../spec/linux.ts';
import { AT_EMPTY_PATH, close, OPEN, openat, readlinkat } from '../sys/file.ts';
import { isDirectory, statAt, TYPE_MASK } from '../sys/stat.ts';
import { fgetxattr, flistxattr, lgetxattr, llistxattr } from '../sys/xattr.ts';
import { baseOf, bytesOf, parentOf, quoted } from './entry.ts';
import { createOutput, type Output } from './output.ts';
import { type Owners, shiftXattr } from './owners.ts';
import { type Item, isGone, walkTree } from './walk.ts';
import {
  isOverlayXattr,
  isWhiteout,
  OPAQUE_MARKER,
  OPAQUE_XATTR,
  type UnionForm,
  WHITEOUT_PREFIX,
} from './whiteout.ts';
import { archiveEnd, encodeHeader, paddingOf, type WrittenEntry } from './write.ts';

export interface TreeOptions {
  /** Leaves out what this says true to, a directory with all it has; paths are relative, without a slash at either end. */
  exclude?: (path: string) => boolean;
  /** What the ids of the files become in the tar; they stay as they are when absent. */
  owners?: Owners | undefined;
  /** Told what could not be packed as it is: one sentence each, for a person. */
  onNotice?: (notice: string) => void;
}

export interface DiffOptions extends TreeOptions {
  /** The form of the whiteouts in the directory. */
  whiteouts: UnionForm;
}

const TYPES: Readonly<Record<number, WrittenEntry['type']>> = {
  [S.S_IFREG]: 'file',
  [S.S_IFDIR]: 'directory',
  [S.S_IFLNK]: 'symlink',
  [S.S_IFCHR]: 'char',
  [S.S_IFBLK]: 'block',
  [S.S_IFIFO]: 'fifo',
};

/** The layer that an overlay's upper directory is: an uncompressed tar, in large chunks. Whiteouts and opaque directories take the
 *  OCI form, sockets are left out, attributes of overlayfs too.
 *  @throws ERR_TSBOX_UNSUPPORTED for what a layer cannot say: a real file called `.wh.*`, a redirect or metacopy of overlayfs */
export async function* diffLayer(
  upperDir: string | Buffer,
  options: DiffOptions,
): AsyncGenerator<Buffer, void, undefined> {
  yield* packTree(upperDir, options, options.whiteouts);
}

/** A directory with all it has, but its own entry: an uncompressed tar, in large chunks. Sockets are left out. A file that becomes
 *  shorter while it is read is filled up with zeros, with a notice. */
export async function* writeTree(
  rootDir: string | Buffer,
  options: TreeOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  yield* packTree(rootDir, options, undefined);
}

/** What of a tree makes a layer. */
export interface Part {
  /** What has changed, with the directories that it is in: paths below the root, bytes as latin1. */
  only: ReadonlySet<string>;
  /** What is there no more, likewise. */
  gone: readonly string[];
}

/** Some of a tree as a layer: an uncompressed tar, in large chunks, whiteouts first.
 *  @throws ERR_TSBOX_UNSUPPORTED for a real file called `.wh.*` */
export async function* packPart(
  rootDir: string | Buffer,
  { only, gone }: Part,
  options: Pick<TreeOptions, 'owners' | 'onNotice'> = {},
): AsyncGenerator<Buffer, void, undefined> {
  yield* packItems(
    walkTree(rootDir, (path) => only.has(path)),
    options,
    undefined,
    gone,
  );
}

/** One file, or one directory with all it has. */
export interface Resource {
  /** The directory that it is in, and its name there: `.` for that directory itself. */
  dirfd: number;
  base: Buffer;
  /** What it is called in the tar, bytes as latin1: `.` and `a` give `./x` and `a/x`. */
  name: string;
}

/** The tar of one thing, its own entry first. `exclude` is asked for what is below it, by paths from there.
 *  @throws SyscallError ENOENT when it is not there */
export async function* writeResource(
  resource: Resource,
  options: TreeOptions = {},
): AsyncGenerator<Buffer, void, undefined> {
  yield* packItems(resourceItems(resource, entering(options)), options, undefined);
}

function* resourceItems({ dirfd, base, name }: Resource, enter: (path: string) => boolean): Generator<Item> {
  const status = statAt(dirfd, base);
  if (!isDirectory(status)) {
    yield { path: name, base, dirfd, status, fd: -1 };
    return;
  }
  const fd = openat(dirfd, base, OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW);
  try {
    yield { path: name, base: bytesOf('.'), dirfd: fd, status: statAt(fd, '', AT_EMPTY_PATH), fd };
    const inside = name === '/' ? '/' : `${name}/`;
    for (const item of walkTree(`/proc/self/fd/${fd}`, enter)) yield { ...item, path: inside + item.path };
  } finally {
    close(fd);
  }
}

function entering({ exclude }: TreeOptions): (path: string) => boolean {
  return exclude === undefined ? () => true : (path) => !exclude(bytesOf(path).toString());
}

type Form = DiffOptions['whiteouts'] | undefined;

function* packTree(root: string | Buffer, options: TreeOptions, form: Form): Generator<Buffer, void, undefined> {
  yield* packItems(walkTree(root, entering(options)), options, form);
}

function* packItems(
  items: Iterable<Item>,
  options: TreeOptions,
  form: Form,
  gone?: readonly string[],
): Generator<Buffer, void, undefined> {
  const linked = new Map<string, string>();
  const output = createOutput();
  for (const path of gone ?? [])
    yield* output.put(encodeHeader(marker(whiteoutName(path), { mtime: 0, mtimeNsec: 0 })));
  for (const item of items) {
    const type = TYPES[item.status.mode & TYPE_MASK];
    if (type === undefined) {
      options.onNotice?.(`${quoted(item.path)} is a socket and was left out`);
      continue;
    }
    if (form !== undefined && isWhiteout(item.status, form, (name) => xattrOf(item, name))) {
      yield* output.put(encodeHeader(marker(whiteoutName(item.path), item.status)));
      continue;
    }
    if ((form !== undefined || gone !== undefined) && baseOf(item.path).startsWith(WHITEOUT_PREFIX)) {
      throw new TsboxError(
        'ERR_TSBOX_UNSUPPORTED',
        `pack ${quoted(item.path)}: a layer cannot have a file of this name`,
      );
    }
    yield* packItem(item, type, form, linked, output, options);
  }
  yield* output.put(archiveEnd());
  yield* output.rest();
}

function* packItem(
  item: Item,
  type: WrittenEntry['type'],
  form: Form,
  linked: Map<string, string>,
  output: Output,
  options: TreeOptions,
): Generator<Buffer> {
  const first = item.status.links > 1 && type !== 'directory' ? linked.get(item.status.identity) : undefined;
  if (item.status.links > 1 && first === undefined && type !== 'directory') linked.set(item.status.identity, item.path);
  const entry = describe(item, first === undefined ? type : 'link', options.owners);
  if (first !== undefined) {
    entry.linkname = first;
    yield* output.put(encodeHeader(entry));
    return;
  }
  if (type === 'file') {
    const found = yield* packFile(item, entry, form, output, options);
    if (!found) linked.delete(item.status.identity);
    return;
  }
  try {
    if (type === 'symlink') entry.linkname = readlinkat(item.dirfd, item.base).toString('latin1');
    const names = type === 'directory' ? flistxattr(item.fd) : llistxattr(nameOf(item));
    entry.xattrs = readXattrs(item.path, names, form, options.owners, (name) =>
      type === 'directory' ? fgetxattr(item.fd, name) : lgetxattr(nameOf(item), name),
    );
  } catch (error) {
    if (!isGone(error)) throw error;
    linked.delete(item.status.identity);
    return;
  }
  yield* output.put(encodeHeader(entry));
  if (type === 'directory' && form !== undefined && fgetxattr(item.fd, OPAQUE_XATTR[form])?.toString() === 'y') {
    yield* output.put(encodeHeader(marker(`${item.path}/${OPAQUE_MARKER}`, item.status)));
  }
}

/** @returns false when the file was removed meanwhile, or another took its place */
function* packFile(
  item: Item,
  entry: WrittenEntry,
  form: Form,
  output: Output,
  options: TreeOptions,
): Generator<Buffer, boolean> {
  let fd: number;
  try {
    fd = openat(item.dirfd, item.base, OPEN.RDONLY | OPEN.NOFOLLOW | OPEN.NONBLOCK);
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
  try {
    if (statAt(fd, '', AT_EMPTY_PATH).identity !== item.status.identity) return false;
    entry.xattrs = readXattrs(item.path, flistxattr(fd), form, options.owners, (name) => fgetxattr(fd, name));
    yield* output.put(encodeHeader(entry));
    const short = yield* output.copy(fd, entry.size, bytesOf(item.path));
    if (short > 0) options.onNotice?.(`${quoted(item.path)} became ${short} bytes shorter while it was read`);
    yield* output.put(paddingOf(entry.size));
    return true;
  } finally {
    close(fd);
  }
}

function describe(item: Item, type: WrittenEntry['type'], owners: Owners | undefined): WrittenEntry {
  const { status } = item;
  const device = type === 'char' || type === 'block';
  return {
    name: type === 'directory' && item.path !== '/' ? `${item.path}/` : item.path,
    type,
    mode: status.mode & 0o7777,
    uid: owners?.uid(status.uid) ?? status.uid,
    gid: owners?.gid(status.gid) ?? status.gid,
    size: type === 'file' ? status.size : 0,
    mtime: status.mtime,
    mtimeNsec: status.mtimeNsec,
    linkname: '',
    deviceMajor: device ? status.deviceMajor : 0,
    deviceMinor: device ? status.deviceMinor : 0,
    xattrs: undefined,
  };
}

function whiteoutName(path: string): string {
  const parent = parentOf(path);
  return `${parent === '' ? '' : `${parent}/`}${WHITEOUT_PREFIX}${baseOf(path)}`;
}

/** An empty file whose name says something. */
function marker(name: string, { mtime, mtimeNsec }: Pick<WrittenEntry, 'mtime' | 'mtimeNsec'>): WrittenEntry {
  const rest = { linkname: '', deviceMajor: 0, deviceMinor: 0, xattrs: undefined };
  return { name, type: 'file', mode: 0o600, uid: 0, gid: 0, size: 0, mtime, mtimeNsec, ...rest };
}

/** For the calls that know no directory descriptor; the last component is not followed. */
function nameOf(item: Item): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${item.dirfd}/`), item.base]);
}

/** What is gone meanwhile has none. */
function xattrOf(item: Item, name: string): Buffer | undefined {
  try {
    return lgetxattr(nameOf(item), name);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function readXattrs(
  path: string,
  names: readonly string[],
  form: Form,
  owners: Owners | undefined,
  read: (name: string) => Buffer | undefined,
): Map<string, Buffer> | undefined {
  let found: Map<string, Buffer> | undefined;
  for (const name of names) {
    if (isOverlayXattr(name)) {
      if (form !== undefined && /overlay\.(redirect|metacopy)$/.test(name)) throw incomplete(path, name);
      continue;
    }
    const value = read(name);
    found ??= new Map();
    if (value !== undefined) found.set(name, owners === undefined ? value : shiftXattr(name, value, owners));
  }
  return found;
}

function incomplete(path: string, attribute: string): TsboxError {
  const hint = 'The overlay was mounted with redirect_dir or metacopy on. tsbox mounts with both off.';
  return new TsboxError(
    'ERR_TSBOX_UNSUPPORTED',
    `pack ${quoted(path)}: it has ${attribute}, so parts of it lie elsewhere`,
    { hint },
  );
}
