/** The bytes in front of an entry's data: a ustar header, and PAX records for what does not fit in it. Deterministic. */
import { isUtf8 } from 'node:buffer';
import { baseOf, bytesOf, type EntryType, type TarEntry } from './entry.ts';
import { BLOCK, checksum, FIELD } from './header.ts';

const TYPEFLAGS: Readonly<Record<Exclude<EntryType, 'none'>, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;

/** What is written of an entry; a directory's name ends with a slash. */
export type WrittenEntry = Omit<TarEntry, 'stored' | 'sparse' | 'acls' | 'type'> & { type: Exclude<EntryType, 'none'> };

/** A record holds its own length in decimal, whose digits count too. */
function paxRecord(key: string, value: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), value, Buffer.from('\n')]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

/** Seconds with nine digits of fraction; -1.5 is second -2 and 500,000,000 ns. */
function paxTime(seconds: number, nanoseconds: number): string {
  const negative = seconds < 0;
  const borrow = negative && nanoseconds !== 0;
  const whole = negative ? -seconds - (borrow ? 1 : 0) : seconds;
  const fraction = borrow ? 1_000_000_000 - nanoseconds : nanoseconds;
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`;
  return `${negative ? '-' : ''}${whole}${digits}`;
}

/** The slash at which a long name goes into the two fields of ustar; -1 when it does not, 0 when one field is enough. */
function splitPoint(name: string): number {
  if (name.length <= FIELD.name[1]) return 0;
  // The slash itself is not stored; at most 155 bytes before it, at most 100 and at least one after it.
  const at = name.lastIndexOf('/', Math.min(FIELD.prefix[1], name.length - 2));
  return at > 0 && name.length - at - 1 <= FIELD.name[1] ? at : -1;
}

function encodeAttribute(name: string): string {
  return name.replaceAll('%', '%25').replaceAll('=', '%3D');
}

function paxRecords(entry: WrittenEntry): Buffer[] {
  const records: Buffer[] = [];
  const add = (key: string, value: string): number => records.push(paxRecord(key, bytesOf(value)));
  const longName = splitPoint(entry.name) === -1;
  const longLink = entry.linkname.length > FIELD.linkname[1];
  const text = (longName ? entry.name : '') + (longLink ? entry.linkname : '');
  if (!isUtf8(bytesOf(text))) add('hdrcharset', 'BINARY');
  if (entry.gid > MAX_OCTAL_7) add('gid', String(entry.gid));
  if (longLink) add('linkpath', entry.linkname);
  if (entry.mtimeNsec !== 0 || entry.mtime < 0 || entry.mtime > MAX_OCTAL_11) {
    add('mtime', paxTime(entry.mtime, entry.mtimeNsec));
  }
  if (longName) add('path', entry.name);
  if (entry.size > MAX_OCTAL_11) add('size', String(entry.size));
  if (entry.uid > MAX_OCTAL_7) add('uid', String(entry.uid));
  const xattrs = [...(entry.xattrs ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of xattrs) records.push(paxRecord(`SCHILY.xattr.${encodeAttribute(name)}`, value));
  return records;
}

function putOctal(block: Buffer, field: readonly [number, number], value: number, max: number): void {
  const digits = (value >= 0 && value <= max ? value : 0).toString(8).padStart(field[1] - 1, '0');
  block.write(digits, field[0], 'latin1');
}

function putText(block: Buffer, field: readonly [number, number], text: string): void {
  block.write(text.slice(0, field[1]), field[0], 'latin1');
}

function ustarHeader(entry: Omit<WrittenEntry, 'type' | 'xattrs'>, typeflag: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  const split = splitPoint(entry.name);
  putText(block, FIELD.name, split > 0 ? entry.name.slice(split + 1) : entry.name);
  if (split > 0) putText(block, FIELD.prefix, entry.name.slice(0, split));
  putOctal(block, FIELD.mode, entry.mode, 0o7777);
  putOctal(block, FIELD.uid, entry.uid, MAX_OCTAL_7);
  putOctal(block, FIELD.gid, entry.gid, MAX_OCTAL_7);
  putOctal(block, FIELD.size, entry.size, MAX_OCTAL_11);
  putOctal(block, FIELD.mtime, entry.mtime, MAX_OCTAL_11);
  putText(block, FIELD.typeflag, typeflag);
  putText(block, FIELD.linkname, entry.linkname);
  putText(block, FIELD.magic, 'ustar\x0000');
  putOctal(block, FIELD.deviceMajor, entry.deviceMajor, MAX_OCTAL_7);
  putOctal(block, FIELD.deviceMinor, entry.deviceMinor, MAX_OCTAL_7);
  block.write(`${checksum(block, 0).toString(8).padStart(6, '0')}\0 `, FIELD.checksum[0], 'latin1');
  return block;
}

/** Zeros up to the next block. */
export function paddingOf(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** The end of an archive: two blocks of zeros. */
export function archiveEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

/** Everything in front of the entry's data. The order of the records and all that is not said is fixed: the same entry gives the
 *  same bytes. Owners are numbers only. */
export function encodeHeader(entry: WrittenEntry): Buffer {
  const header = ustarHeader(entry, TYPEFLAGS[entry.type]);
  const records = paxRecords(entry);
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const extended = ustarHeader(
    {
      name: `PaxHeaders/${baseOf(entry.name.replace(/\/$/, ''))}`.slice(0, FIELD.name[1]),
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: body.length,
      mtime: 0,
      mtimeNsec: 0,
      linkname: '',
      deviceMajor: 0,
      deviceMinor: 0,
    },
    'x',
  );
  return Buffer.concat([extended, body, paddingOf(body.length), header]);
}
