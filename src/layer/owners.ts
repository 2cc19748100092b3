/** Files whose owners are said in the ids of another user namespace: owners, and the attributes that have ids in them.
 *  @see capabilities(7), "Namespaced file capabilities"; linux/posix_acl_xattr.h */
import { type IdMaps, toContainer, toHost } from '../spec/id-map.ts';

/** What an id becomes. */
export interface Owners {
  uid(id: number): number;
  gid(id: number): number;
}

/** Stands outside for what the map does not have: the last id that there is. In the container it is shown as nobody's. */
export const NO_HOST_ID = 2 ** 32 - 2;
/** What the kernel shows of ids that a namespace does not have. */
export const OVERFLOW_ID = 65534;

/** From the ids of the container to those outside. */
export function ownersOutside({ uids, gids }: IdMaps): Owners {
  return { uid: (id) => toHost(uids, id) ?? NO_HOST_ID, gid: (id) => toHost(gids, id) ?? NO_HOST_ID };
}

/** The way back. What the map does not have is nobody's, as in the container. */
export function ownersInside({ uids, gids }: IdMaps): Owners {
  return { uid: (id) => toContainer(uids, id) ?? OVERFLOW_ID, gid: (id) => toContainer(gids, id) ?? OVERFLOW_ID };
}

/** The value of an attribute whose ids are changed. */
export function shiftXattr(name: string, value: Buffer, owners: Owners): Buffer {
  if (name === 'security.capability') return shiftCapability(value, owners);
  return name === 'system.posix_acl_access' || name === 'system.posix_acl_default' ? shiftAcl(value, owners) : value;
}

const REVISION_MASK = 0xff00_0000;
const [REVISION_1, REVISION_2, REVISION_3] = [0x0100_0000, 0x0200_0000, 0x0300_0000];
/** Bytes of a value of each revision. */
const [SIZE_1, SIZE_2, SIZE_3] = [12, 20, 24];

/** Revision 3 says whose root the capabilities are for; revision 2 means the root 0, and is what 0 is written as. */
function shiftCapability(value: Buffer, owners: Owners): Buffer {
  if (value.length < SIZE_1) return value;
  const magic = value.readUInt32LE(0);
  const revision = (magic & REVISION_MASK) >>> 0;
  const size = { [REVISION_1]: SIZE_1, [REVISION_2]: SIZE_2, [REVISION_3]: SIZE_3 }[revision];
  if (size === undefined || value.length !== size) return value;
  const root = owners.uid(revision === REVISION_3 ? value.readUInt32LE(SIZE_2) : 0);
  const shifted = Buffer.alloc(root === 0 ? SIZE_2 : SIZE_3);
  value.copy(shifted, 0, 0, Math.min(value.length, SIZE_2));
  shifted.writeUInt32LE(((magic & ~REVISION_MASK) | (root === 0 ? REVISION_2 : REVISION_3)) >>> 0, 0);
  if (root !== 0) shifted.writeUInt32LE(root, SIZE_2);
  return shifted;
}

const ACL_HEADER = 4;
const ACL_ENTRY = 8;
const [ACL_USER, ACL_GROUP] = [0x02, 0x08];

function shiftAcl(value: Buffer, owners: Owners): Buffer {
  const shifted = Buffer.from(value);
  for (let at = ACL_HEADER; at + ACL_ENTRY <= value.length; at += ACL_ENTRY) {
    const tag = value.readUInt16LE(at);
    const id = value.readUInt32LE(at + 4);
    if (tag === ACL_USER) shifted.writeUInt32LE(owners.uid(id), at + 4);
    if (tag === ACL_GROUP) shifted.writeUInt32LE(owners.gid(id), at + 4);
  }
  return shifted;
}
