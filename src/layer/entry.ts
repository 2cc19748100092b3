/** What a tar entry is, and how it is spoken of. Names on Linux are bytes: here each byte is one character (latin1). */
import { TsboxError } from '../errors.ts';
import { printable } from '../sys/ffi.ts';

export type EntryType =
  | 'file'
  | 'link' // a hard link
  | 'symlink'
  | 'char'
  | 'block'
  | 'directory'
  | 'fifo'
  | 'none'; // a PAX global header or a volume label: nothing to unpack

/** A part of a sparse file that has data. */
export interface Extent {
  offset: number;
  length: number;
}

export interface TarEntry {
  /** As it stands in the archive, bytes as latin1: not yet safe to use. */
  name: string;
  type: EntryType;
  /** The twelve permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the file once it is unpacked, holes included; 0 for what has no data. */
  size: number;
  /** Bytes of data that follow in the archive. */
  stored: number;
  /** Whole seconds since 1970, which may be negative, and nanoseconds on top. */
  mtime: number;
  mtimeNsec: number;
  /** Target of a symlink or hard link, bytes as latin1. */
  linkname: string;
  deviceMajor: number;
  deviceMinor: number;
  xattrs: Map<string, Buffer> | undefined;
  /** ACLs as text: `access` and `default`. */
  acls: Map<string, string> | undefined;
  /** Where the stored bytes belong, in order; undefined for a file without holes. */
  sparse: Extent[] | undefined;
}

/** The bytes of a name. */
export function bytesOf(name: string): Buffer {
  return Buffer.from(name, 'latin1');
}

/** A name for an error message. */
export function quoted(name: string): string {
  return `"${printable(bytesOf(name.length > 300 ? `${name.slice(0, 300)}...` : name))}"`;
}

/** The archive is not what it says: `tar entry "a/b": the size is negative`. */
export function damaged(name: string | undefined, what: string, hint?: string): TsboxError {
  const place = name === undefined || name === '' ? 'tar archive' : `tar entry ${quoted(name)}`;
  return new TsboxError('ERR_TSBOX_DAMAGED', `${place}: ${what}`, hint === undefined ? {} : { hint });
}

export function nameTooLong(name: string): TsboxError {
  return damaged(name, 'a part of the name is longer than 255 bytes');
}

/** A path below the root may have this many bytes: the longest that one system call takes. */
export const MAX_PATH = 4095;

/** A name as a path below the root: without `.`, doubled or trailing slashes; '' is the root itself.
 *  @throws ERR_TSBOX_DAMAGED on an absolute name, on `..`, and on a name that is too long for a path */
export function pathOf(name: string, ofEntry = name): string {
  if (name.length > MAX_PATH) throw damaged(ofEntry, `a name of ${name.length} bytes (at most ${MAX_PATH})`);
  if (isPlain(name)) return name;
  if (name === '') throw damaged(ofEntry, 'it has no name');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  // Kaniko writes the root itself as "/".
  if (name.startsWith('/') && parts.length > 0) throw damaged(ofEntry, `the name ${quoted(name)} is absolute`);
  if (parts.includes('..')) throw damaged(ofEntry, `the name ${quoted(name)} has ".." in it`);
  return parts.join('/');
}

const SLASH = 0x2f;
const DOT = 0x2e;

/** Most names need nothing: no component is empty or begins with a dot. Others take the slow way. */
function isPlain(name: string): boolean {
  let previous = SLASH;
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (previous === SLASH && (code === SLASH || code === DOT)) return false;
    previous = code;
  }
  return previous !== SLASH;
}

/** The directory that a path is in: '' is the root. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}

/** The last component of a path. */
export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
