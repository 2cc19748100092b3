/** PAX extended headers: records `LENGTH KEY=VALUE\n`, whose values are bytes. @see POSIX pax, "pax Extended Header" */
import { damaged } from './entry.ts';

/** What PAX records say about the next entry, or about all that follow. null: back to what the header itself says. */
export interface PaxRecords {
  path?: string | null;
  linkpath?: string | null;
  size?: number | null;
  uid?: number | null;
  gid?: number | null;
  mtime?: number | null;
  mtimeNsec?: number;
  deviceMajor?: number | null;
  deviceMinor?: number | null;
  xattrs?: Map<string, Buffer>;
  /** SCHILY.acl.access and SCHILY.acl.default, as text. */
  acls?: Map<string, string>;
  sparse?: PaxSparse;
}

/** The GNU.sparse.* records. @see GNU tar manual, "Storing Sparse Files" */
export interface PaxSparse {
  major: number;
  minor: number;
  name?: string;
  realSize?: number;
  /** Offsets and lengths in turn, of the versions 0.0 and 0.1. */
  numbers: number[];
}

const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const SPACE = 0x20;

/** Adds the records of one extended header to `into`; later records win. `name` is the entry's, for errors.
 *  @throws ERR_TSBOX_DAMAGED */
export function parsePax(body: Buffer, into: PaxRecords, name: string): void {
  for (let at = 0; at < body.length; ) {
    let length = 0;
    let i = at;
    for (; i < body.length && body[i] !== SPACE; i++) {
      const digit = body[i]! - 0x30;
      if (digit < 0 || digit > 9 || length > body.length) throw damaged(name, 'a PAX record has no length');
      length = length * 10 + digit;
    }
    const end = at + length - 1;
    if (i === at || end <= i || end >= body.length || body[end] !== NEWLINE) {
      throw damaged(name, 'a PAX record has a wrong length');
    }
    const equals = body.indexOf(EQUALS, i + 1);
    if (equals === -1 || equals >= end || equals === i + 1) throw damaged(name, 'a PAX record has no key');
    setRecord(into, body.toString('latin1', i + 1, equals), body.subarray(equals + 1, end), name);
    at = end + 1;
  }
}

/** About how many bytes of values the records hold. */
export function sizeOfPax(records: PaxRecords): number {
  let size = 8 * (records.sparse?.numbers.length ?? 0);
  for (const text of [records.path, records.linkpath, records.sparse?.name]) size += text?.length ?? 0;
  for (const [name, value] of [...(records.xattrs ?? []), ...(records.acls ?? [])]) size += name.length + value.length;
  return size;
}

function setRecord(into: PaxRecords, key: string, value: Buffer, name: string): void {
  const empty = value.length === 0;
  if (key === 'path') into.path = empty ? null : text(value, key, name);
  else if (key === 'linkpath') into.linkpath = empty ? null : text(value, key, name);
  else if (key === 'size') into.size = empty ? null : whole(value, key, name);
  else if (key === 'uid') into.uid = empty ? null : whole(value, key, name);
  else if (key === 'gid') into.gid = empty ? null : whole(value, key, name);
  else if (key === 'mtime') setTime(into, value, name);
  else if (key === 'SCHILY.devmajor') into.deviceMajor = empty ? null : whole(value, key, name);
  else if (key === 'SCHILY.devminor') into.deviceMinor = empty ? null : whole(value, key, name);
  else if (key.startsWith('SCHILY.xattr.')) setXattr(into, decoded(key.slice(13)), Buffer.from(value), name);
  else if (key.startsWith('LIBARCHIVE.xattr.')) setLibarchiveXattr(into, key.slice(17), value, name);
  else if (key.startsWith('SCHILY.acl.')) setAcl(into, key.slice(11), value);
  else if (key.startsWith('GNU.sparse.')) setSparse(into, key.slice(11), value, name);
}

function text(value: Buffer, key: string, name: string): string {
  if (value.includes(0)) throw damaged(name, `the PAX record ${key} has a NUL in it`);
  return value.toString('latin1');
}

function whole(value: Buffer, key: string, name: string): number {
  const digits = value.toString('latin1');
  const number = /^[0-9]{1,20}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(number <= Number.MAX_SAFE_INTEGER))
    throw damaged(name, `the PAX record ${key} is not a number, or out of range`);
  return number;
}

/** Decimal seconds with a fraction, which may be negative: -1.5 is second -2 and 500,000,000 ns. */
function setTime(into: PaxRecords, value: Buffer, name: string): void {
  if (value.length === 0) {
    into.mtime = null;
    return;
  }
  const parts = /^(-?)([0-9]{1,16})(?:\.([0-9]*))?$/.exec(value.toString('latin1'));
  const seconds = Number(parts?.[2]);
  if (parts === null || seconds > Number.MAX_SAFE_INTEGER) throw damaged(name, 'the PAX record mtime is not a time');
  const nanoseconds = Number((parts[3] ?? '').slice(0, 9).padEnd(9, '0'));
  const borrow = parts[1] === '-' && nanoseconds !== 0;
  into.mtime = parts[1] === '-' ? 0 - seconds - (borrow ? 1 : 0) : seconds;
  into.mtimeNsec = borrow ? 1_000_000_000 - nanoseconds : nanoseconds;
}

/** GNU tar's way to have the two characters in a key that a record could not carry. */
function decoded(attribute: string): string {
  return attribute.includes('%') ? attribute.replaceAll('%3D', '=').replaceAll('%25', '%') : attribute;
}

function setXattr(into: PaxRecords, attribute: string, value: Buffer, name: string): void {
  if (attribute === '' || attribute.length > 255 || attribute.includes('\0')) {
    throw damaged(name, 'the name of an extended attribute is empty, too long, or has a NUL in it');
  }
  into.xattrs ??= new Map();
  into.xattrs.set(attribute, value);
}

/** libarchive writes the name in URL encoding and the value in base64; beside it stands the SCHILY record, which is exact. */
function setLibarchiveXattr(into: PaxRecords, encoded: string, value: Buffer, name: string): void {
  const attribute = encoded.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (into.xattrs?.has(attribute) === true) return;
  setXattr(into, attribute, Buffer.from(value.toString('latin1'), 'base64'), name);
}

function setAcl(into: PaxRecords, kind: string, value: Buffer): void {
  into.acls ??= new Map();
  into.acls.set(kind, value.toString('latin1'));
}

function setSparse(into: PaxRecords, key: string, value: Buffer, name: string): void {
  into.sparse ??= { major: 0, minor: 0, numbers: [] };
  const sparse = into.sparse;
  const record = `GNU.sparse.${key}`;
  if (key === 'major') sparse.major = whole(value, record, name);
  else if (key === 'minor') sparse.minor = whole(value, record, name);
  else if (key === 'name') sparse.name = text(value, record, name);
  else if (key === 'size' || key === 'realsize') sparse.realSize = whole(value, record, name);
  else if (key === 'offset' || key === 'numbytes') sparse.numbers.push(whole(value, record, name));
  else if (key === 'map') {
    const numbers = value.length === 0 ? [] : value.toString('latin1').split(',');
    sparse.numbers = numbers.map((number) => whole(Buffer.from(number), record, name));
  }
}
