/** POSIX ACLs: GNU tar writes them as text, the kernel takes them as bytes. @see acl(5), linux/posix_acl_xattr.h */
import { damaged } from './entry.ts';

const TAGS: Readonly<Record<string, readonly [unnamed: number, named: number]>> = {
  user: [0x01, 0x02],
  group: [0x04, 0x08],
  mask: [0x10, 0x10],
  other: [0x20, 0x20],
};
const VERSION = 2;
const UNDEFINED_ID = 0xffff_ffff;

interface AclEntry {
  tag: number;
  permissions: number;
  id: number;
}

/** undefined for a user or group by name: whose name that is, only the machine that packed it knows. */
function parseEntry(text: string, name: string): AclEntry | undefined {
  // A number may follow in a fourth field: GNU tar's way to add the id to a name.
  const [kind = '', who = '', permissions = '', number = ''] = text.trim().split(':');
  const full = Object.keys(TAGS).find((tag) => tag === kind || tag[0] === kind);
  if (full === undefined || !/^[r-][w-][x-]$/.test(permissions))
    throw damaged(name, `not an ACL entry: ${JSON.stringify(text)}`);
  const [unnamed, named] = TAGS[full]!;
  const bits = [...permissions].reduce((sum, c) => sum * 2 + (c === '-' ? 0 : 1), 0);
  if (who === '') return { tag: unnamed, permissions: bits, id: UNDEFINED_ID };
  const id = Number(number === '' ? who : number);
  if (!Number.isInteger(id) || id < 0 || id >= UNDEFINED_ID) return undefined;
  return { tag: named, permissions: bits, id };
}

/** The value of `system.posix_acl_access` or `_default` for an ACL of one entry a line or between commas; undefined when it
 *  speaks of users or groups by name. `name` is the tar entry's, for errors. @throws ERR_TSBOX_DAMAGED */
export function aclBytes(text: string, name: string): Buffer | undefined {
  const lines = text.split(/[\n,]/).map((line) => line.replace(/#.*/, ''));
  const entries: AclEntry[] = [];
  for (const line of lines) {
    if (line.trim() === '') continue;
    const entry = parseEntry(line, name);
    if (entry === undefined) return undefined;
    entries.push(entry);
  }
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const value = Buffer.alloc(4 + 8 * entries.length);
  value.writeUInt32LE(VERSION, 0);
  entries.forEach((entry, i) => {
    value.writeUInt16LE(entry.tag, 4 + 8 * i);
    value.writeUInt16LE(entry.permissions, 6 + 8 * i);
    value.writeUInt32LE(entry.id, 8 + 8 * i);
  });
  return value;
}
