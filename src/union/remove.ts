/** UNLINK and RMDIR, and what hides a name of the layers below. */
import { S } from '../spec/linux.ts';
import { AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, OPEN } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { namesIn } from '../sys/stat.ts';
import { copyAttributes } from './copy-attributes.ts';
import { copyUp, workName } from './copy-up.ts';
import { RENAME_EXCHANGE } from './create.ts';
import { mergedEntries } from './directory.ts';
import { E } from './errno.ts';
import { nameAt, requestNode } from './exchange.ts';
import { inUpper, isBelow, lookup } from './lookup.ts';
import { setOpaque } from './marks.ts';
import { cstring, pathOf } from './memory.ts';
import { look, seen } from './status.ts';
import { seenTimes, setTimes } from './times.ts';
import { directoryFd, hold, isDirectory, isWritable, removeName, type Union, UPPER } from './union.ts';

export function unlink(union: Union): number {
  return remove(union, requestNode(), nameAt(0), false);
}

export function rmdir(union: Union): number {
  return remove(union, requestNode(), nameAt(0), true);
}

function remove(union: Union, parent: number, name: string, directory: boolean): number {
  if (!isWritable(union)) return E.ROFS;
  const node = lookup(union, parent, name);
  if (node < 0) return node;
  if (directory) {
    const error = checkEmpty(union, node);
    if (error < 0) return error;
  } else if (isDirectory(union, node)) return E.ISDIR;
  const hides = isBelow(union, parent, name);
  if (hides) {
    const error = copyUp(union, parent, () => {});
    if (error < 0) return error;
  }
  const upper = directoryFd(union, parent, UPPER);
  if (upper < 0) return upper;
  const isNamed = union.nodes.parent(node) === parent && union.nodes.name(node) === name;
  if (isNamed) hold(union, node);
  const error = hides ? hide(union, upper, name, directory) : removeOnly(union, upper, name, directory);
  if (error === 0 && isNamed) union.nodes.unname(node);
  return error;
}

/** @returns 0, -ENOTEMPTY or another refusal */
export function checkEmpty(union: Union, node: number): number {
  if (!isDirectory(union, node)) return E.NOTDIR;
  const entries = mergedEntries(union, node);
  if (typeof entries === 'number') return entries;
  return entries.length > 0 ? E.NOTEMPTY : 0;
}

/** Puts a whiteout where the name is, in one step for whoever looks. */
function hide(union: Union, upper: number, name: string, directory: boolean): number {
  if (inUpper(upper, name) === 'nothing') return makeWhiteout(upper, name);
  const temporary = workName();
  const made = makeWhiteout(union.work, temporary);
  if (made < 0) return made;
  const flags = directory ? RENAME_EXCHANGE : 0;
  const error = quickly.renameat2(union.work, cstring(temporary), upper, cstring(name), flags);
  if (error < 0) removeName(union.work, temporary);
  else if (directory) removeTree(union.work, temporary);
  return error;
}

/** @returns 0 or -errno */
export function makeWhiteout(directory: number, name: string): number {
  return quickly.mknodat(directory, cstring(name), S.S_IFCHR, 0);
}

/** Nothing is below: the name just goes. A directory may have whiteouts, which are nothing to whom it was shown. */
function removeOnly(union: Union, upper: number, name: string, directory: boolean): number {
  const error = removeName(upper, name, directory ? AT_REMOVEDIR : 0);
  if (error !== E.NOTEMPTY) return error;
  const temporary = workName();
  const moved = quickly.renameat2(upper, cstring(name), union.work, cstring(temporary), 0);
  if (moved === 0) removeTree(union.work, temporary);
  return moved;
}

const DIRECTORY = OPEN.RDONLY | OPEN.DIRECTORY | OPEN.NOFOLLOW | OPEN.CLOEXEC;

/** Removes a directory of the work directory that has whiteouts, and nothing else. */
export function removeTree(parent: number, name: string): void {
  const fd = quickly.openat(parent, cstring(name), DIRECTORY, 0);
  if (fd < 0) return;
  for (const each of namesIn(fd)) removeName(fd, each);
  quickly.close(fd);
  removeName(parent, name, AT_REMOVEDIR);
}

/** A directory that shows nothing, but has whiteouts, becomes one that has nothing: so that it can be renamed over.
 *  @see the kernel's ovl_clear_empty @returns 0 or -errno */
export function clearDirectory(union: Union, upper: number, name: string): number {
  const { work } = union;
  const temporary = workName();
  look(upper, cstring(name));
  const [mode, uid, gid, times] = [seen.mode() & 0o7777, seen.uid(), seen.gid(), seenTimes()];
  let error = quickly.mkdirat(work, cstring(temporary), 0o700);
  if (error < 0) return error;
  error = quickly.fchownat(work, cstring(temporary), uid, gid, AT_SYMLINK_NOFOLLOW);
  if (error === 0) error = copyAttributes(union, { fd: upper, text: name }, { fd: work, text: temporary });
  if (error === 0) error = quickly.chmod(pathOf(work, temporary), mode);
  if (error === 0) error = setOpaque(union, work, temporary);
  if (error === 0) error = setTimes(work, cstring(temporary), times[0], times[1]);
  if (error === 0) error = quickly.renameat2(work, cstring(temporary), upper, cstring(name), RENAME_EXCHANGE);
  removeTree(work, temporary);
  return error;
}
