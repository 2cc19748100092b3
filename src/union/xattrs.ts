/** SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR. Attributes of overlayfs are not shown; a file system above that has its own gets them under another name. */
import { maySetGroupId, SET_GROUP_ID } from './attributes.ts';
import { isOwn } from './copy-attributes.ts';
import { copyUp } from './copy-up.ts';
import { E } from './errno.ts';
import { ANSWER, addressOf, MOST_DATA, nameAt, output, putSize, requestNode, u32 } from './exchange.ts';
import { isOpenToWrite } from './handles.ts';
import { CAPABILITY, noteCapability } from './late-writes.ts';
import { buffer } from './memory.ts';
import { setPermissions } from './permissions.ts';
import { OUT_HEADER } from './protocol.ts';
import { MOST_VALUE, raw } from './raw-xattrs.ts';
import { seen } from './status.ts';
import { isUpper, lookAt, realOf, type Union } from './union.ts';

/** The name on disk. @see Documentation/filesystems/overlayfs.rst, Nested overlayfs mounts */
const stored = ({ prefix }: Union, name: string): string =>
  name.startsWith(prefix) ? `${prefix}overlay.${name.slice(prefix.length)}` : name;

/** `struct fuse_getxattr_in`: size. */
const GET_BYTES = 8;

export function getxattr(union: Union): number {
  const room = u32(0);
  const name = stored(union, nameAt(GET_BYTES));
  const { fd, text } = realOf(union, requestNode());
  if (fd < 0) return fd;
  const length = raw.get(fd, text, name, ANSWER, Math.min(room, MOST_DATA));
  return length < 0 || room > 0 ? length : putSize(length);
}

export function listxattr(union: Union): number {
  const room = u32(0);
  const { fd, text } = realOf(union, requestNode());
  if (fd < 0) return fd;
  const length = raw.list(fd, text, buffer.address, MOST_VALUE);
  if (length < 0) return length;
  const { prefix } = union;
  const names = length === 0 ? [] : buffer.bytes.toString('latin1', 0, length - 1).split('\0');
  const shown = names
    .filter((name) => !isOwn(union, name))
    .map((name) => (name.startsWith(prefix) ? prefix + name.slice(prefix.length + 'overlay.'.length) : name));
  const list = shown.map((name) => `${name}\0`).join('');
  if (room === 0) return putSize(list.length);
  if (list.length > room) return E.RANGE;
  return output.bytes.write(list, OUT_HEADER, 'latin1');
}

/** `struct fuse_setxattr_in` with SETXATTR_EXT: size, flags, more flags. */
const SET_BYTES = 16;
const ACL_KILL_SGID = 1;
const ACCESS_LIST = 'system.posix_acl_access';

export function setxattr(union: Union): number {
  const node = requestNode();
  const [size, flags, more] = [u32(0), u32(4), u32(8)];
  const name = nameAt(SET_BYTES);
  const value = addressOf(SET_BYTES + name.length + 1);
  const error = copyUp(union, node);
  if (error < 0) return error;
  const { fd, text } = realOf(union, node);
  if (fd < 0) return fd;
  const set = raw.set(fd, text, stored(union, name), value, size, flags);
  if (name === CAPABILITY && isOpenToWrite(node)) noteCapability(node);
  if (set < 0 || (more & ACL_KILL_SGID) === 0) return set;
  return clearSetGroupId(union, node);
}

export function removexattr(union: Union): number {
  const node = requestNode();
  const name = stored(union, nameAt(0));
  const cleared = name === ACCESS_LIST ? endForeignSetGroupId(union, node) : 0;
  if (cleared < 0) return cleared;
  if (!isUpper(union, node)) {
    // Who removes what is not there copies nothing.
    const { fd, text } = realOf(union, node);
    const there = fd < 0 ? fd : raw.get(fd, text, name, buffer.address, 0);
    if (there < 0) return there;
  }
  const error = copyUp(union, node);
  if (error < 0) return error;
  const { fd, text } = realOf(union, node);
  return fd < 0 ? fd : raw.remove(fd, text, name);
}

/** What the kernel says of an access list that is set, it does not say of one that is removed: the set-group-ID bit goes where who asks is
 *  not of the group. overlayfs does that first, also where there is no list then. */
function endForeignSetGroupId(union: Union, node: number): number {
  const error = lookAt(union, node);
  if (error < 0 || (seen.mode() & SET_GROUP_ID) === 0 || maySetGroupId(seen.gid())) return error;
  const copied = copyUp(union, node);
  return copied < 0 ? copied : clearSetGroupId(union, node);
}

function clearSetGroupId(union: Union, node: number): number {
  const error = lookAt(union, node);
  if (error < 0) return error;
  const { fd, text } = realOf(union, node);
  return fd < 0 ? fd : setPermissions(fd, text, seen.mode() & 0o7777 & ~SET_GROUP_ID);
}
