/** What a header means together with PAX records and GNU long names: the entry. */
import { TsboxError } from '../errors.ts';
import { damaged, type EntryType, quoted, type TarEntry } from './entry.ts';
import type { RawHeader } from './header.ts';
import type { PaxRecords } from './pax.ts';

const TYPES: Readonly<Record<string, EntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file', // contiguous
  S: 'file', // old GNU sparse
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  D: 'directory', // GNU, with a list of names as its data
  '6': 'fifo',
  V: 'none', // GNU volume label
  g: 'none',
};

/** `records` over `globals`; attributes of both. */
export function mergePax(globals: PaxRecords | undefined, records: PaxRecords | undefined): PaxRecords {
  const merged: PaxRecords = { ...globals, ...records };
  const [low, high] = [globals?.xattrs, records?.xattrs];
  if (low !== undefined && high !== undefined) merged.xattrs = new Map([...low, ...high]);
  return merged;
}

/** How the map of a sparse file is written, if the entry is one. */
export function sparseKind(
  header: RawHeader,
  entry: TarEntry,
  pax: PaxRecords | undefined,
): 'old' | 'records' | 'data' | undefined {
  if (header.sparse) return 'old';
  if (header.typeflag === 'S') throw damaged(entry.name, 'a sparse file without the map of GNU or star');
  const sparse = pax?.sparse;
  if (sparse === undefined || entry.type !== 'file') return undefined;
  if (sparse.major === 0) return 'records';
  if (sparse.major === 1 && sparse.minor === 0) return 'data';
  const message = `tar entry ${quoted(entry.name)}: sparse format ${sparse.major}.${sparse.minor}`;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message);
}

const NO_DATA: readonly EntryType[] = ['link', 'symlink', 'char', 'block', 'fifo'];

/** Data of a directory belongs to GNU's dump directories only; elsewhere the field is a quota or noise. */
function storedBytes(header: RawHeader, type: EntryType, size: number): number {
  if (type === 'directory' && header.typeflag === '5') return 0;
  return NO_DATA.includes(type) ? 0 : size;
}

/** Linux has 12 bits for the one and 20 for the other. @throws ERR_TSBOX_DAMAGED */
function deviceOf(header: RawHeader, pax: PaxRecords | undefined, name: string): [major: number, minor: number] {
  const [major, minor] = [pax?.deviceMajor ?? header.deviceMajor, pax?.deviceMinor ?? header.deviceMinor];
  if (major >= 0 && major < 2 ** 12 && minor >= 0 && minor < 2 ** 20) return [major, minor];
  throw damaged(name, `the device number ${major}:${minor} is out of range`);
}

const NOBODY = 0xffff_ffff; // (uid_t) -1 means "leave it" to chown(2)

/** @throws ERR_TSBOX_DAMAGED for what no entry can be, ERR_TSBOX_UNSUPPORTED for a type that is not known */
export function buildEntry(
  header: RawHeader,
  pax: PaxRecords | undefined,
  longName: string | undefined,
  longLink: string | undefined,
): TarEntry {
  const name = pax?.sparse?.name ?? pax?.path ?? longName ?? header.name;
  let type = TYPES[header.typeflag];
  if (type === undefined) {
    const message = `tar entry ${quoted(name)}: an entry of type ${JSON.stringify(header.typeflag)}`;
    throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message);
  }
  if (type === 'file' && name.endsWith('/')) type = 'directory';
  const size = pax?.size ?? header.size;
  if (size < 0) throw damaged(name, 'the size is negative');
  const stored = storedBytes(header, type, size);
  const [uid, gid] = [pax?.uid ?? header.uid, pax?.gid ?? header.gid];
  if (uid < 0 || uid >= NOBODY || gid < 0 || gid >= NOBODY)
    throw damaged(name, `the owner ${uid}:${gid} is out of range`);
  const isDevice = type === 'char' || type === 'block';
  const [deviceMajor, deviceMinor] = isDevice ? deviceOf(header, pax, name) : [0, 0];
  const fraction = pax?.mtime == null ? 0 : (pax.mtimeNsec ?? 0);
  return {
    name,
    type,
    mode: header.mode,
    uid,
    gid,
    size: type === 'file' ? (pax?.sparse?.realSize ?? stored) : 0,
    stored,
    mtime: pax?.mtime ?? header.mtime,
    mtimeNsec: fraction,
    linkname: pax?.linkpath ?? longLink ?? header.linkname,
    deviceMajor,
    deviceMinor,
    xattrs: pax?.xattrs,
    acls: pax?.acls,
    sparse: undefined,
  };
}
