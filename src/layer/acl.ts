/** POSIX ACLs: GNU tar writes them as text, the kernel takes them as bytes. @see acl(5), linux/posix_acl_xattr.h */
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

/** undefined for what is no entry, and for a user or group by name: whose name that is, only the machine that packed it knows. */
function parseEntry(text: string): AclEntry | undefined {
  // A number may follow in a fourth field: GNU tar's way to add the id to a name. `mask` and `other` may lack their empty field.
  const fields = text.trim().split(':');
  if (fields.length === 2) fields.splice(1, 0, '');
  const [kind = '', who = '', permissions = '', number = ''] = fields;
  const full = Object.keys(TAGS).find((tag) => tag === kind || tag[0] === kind);
  if (full === undefined || !/^[rwx-]{1,3}$/.test(permissions)) return undefined;
  const [unnamed, named] = TAGS[full]!;
  const bits = [...'rwx'].reduce((sum, c) => sum * 2 + (permissions.includes(c) ? 1 : 0), 0);
  if (who === '') return { tag: unnamed, permissions: bits, id: UNDEFINED_ID };
  const digits = number === '' ? who : number;
  const id = Number(digits);
  if (!/^[0-9]+$/.test(digits) || id >= UNDEFINED_ID) return undefined;
  return { tag: named, permissions: bits, id };
}

/** The value of `system.posix_acl_access` or `_default` for an ACL of one entry a line or between commas; undefined when it
 *  speaks of users or groups by name, or is none of POSIX. */
export function aclBytes(text: string): Buffer | undefined {
  const lines = text.split(/[\n,]/).map((line) => line.replace(/#.*/, ''));
  const entries: AclEntry[] = [];
  for (const line of lines) {
    if (line.trim() === '') continue;
    const entry = parseEntry(line);
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
