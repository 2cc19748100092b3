/** Mutations of archives that know what a tar is: entries move, fields get values that matter, checksums and lengths are made right
 *  again, so that what is behind them is reached. Everything follows from a seed. */
import { BLOCK, checksum, FIELD, isZeroBlock } from '../../src/layer/header.ts';
import { extendedHeader, paxRecord } from './layer-support.ts';

/** A number from 0 up to and without `below`. */
export type Random = (below: number) => number;

/** Small, fast and good enough: mulberry32. */
export function generator(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)]!;
}

/** A header with its data: all that stands in the archive up to the next header. */
type Unit = Buffer;

/** What `units` could not make sense of, the end of the archive with it, is the last one. */
function unitsOf(archive: Buffer): { units: Unit[]; end: Buffer } {
  const units: Unit[] = [];
  let at = 0;
  while (at + BLOCK <= archive.length && !isZeroBlock(archive, at)) {
    const size = Number.parseInt(archive.toString('latin1', at + 124, at + 135), 8) || 0;
    const sparse = archive[at + FIELD.typeflag[0]] === 0x53 && archive[at + 482] === 0x31 ? BLOCK : 0;
    const hasData = !'123456'.includes(String.fromCharCode(archive[at + FIELD.typeflag[0]]!));
    const length = BLOCK + sparse + (hasData ? Math.ceil(size / BLOCK) * BLOCK : 0);
    if (at + length > archive.length) break;
    units.push(Buffer.from(archive.subarray(at, at + length)));
    at += length;
  }
  return { units, end: archive.subarray(at) };
}

function typeOf(unit: Unit): string {
  return String.fromCharCode(unit[FIELD.typeflag[0]]!);
}

function nameOf(unit: Unit): string {
  const end = unit.indexOf(0);
  return unit.toString('latin1', 0, end === -1 || end > 100 ? 100 : end);
}

function repair(unit: Unit): void {
  unit.write(`${checksum(unit, 0).toString(8).padStart(6, '0')}\0 `, FIELD.checksum[0], 'latin1');
}

function put(unit: Unit, field: keyof typeof FIELD, value: string | Buffer): void {
  const [at, length] = FIELD[field];
  unit.fill(0, at, at + length);
  Buffer.from(value as string, 'latin1').copy(unit, at, 0, length);
}

const WHITEOUTS = [
  '.wh.',
  '.wh..',
  '.wh...',
  '.wh..wh..opq',
  '.wh..wh.plnk',
  '.wh..wh.aufs',
  '.wh.f',
  '.wh.d',
  '.wh..wh.x',
];
const HOSTILE = [
  '..',
  '../canary/f',
  '/',
  '//',
  '.',
  './',
  'd/..',
  'd/../../canary/f',
  'a\\b',
  ' ',
  '\xff\xfe',
  '',
  './/./d',
  'd//f/',
];
const TRAPS = [
  'trap/f',
  'trap/new',
  'trap/.wh.f',
  'trap/.wh..wh..opq',
  'abs/f',
  'up/canary/f',
  'magic/f',
  'loop/f',
  'd/s/x',
  'd/f/x',
];
const TYPES = [...'01234567SDVMNLKxgXAQ'].concat('\0', ' ', '\xff');

/** Names that lead somewhere else, of other entries, and nearly those. */
function someName(random: Random, names: readonly string[], canary: string): string {
  const known = pick(random, names);
  const slash = known.lastIndexOf('/');
  const parent = slash === -1 ? '' : known.slice(0, slash + 1);
  switch (random(9)) {
    case 0:
      return pick(random, HOSTILE);
    case 1:
      return pick(random, TRAPS);
    case 2:
      return parent + pick(random, WHITEOUTS);
    case 3:
      return `${parent}.wh.${known.slice(slash + 1)}`;
    case 4:
      return `${known}/${pick(random, ['x', '', '.', pick(random, names)])}`;
    case 5:
      return `${canary}/${pick(random, ['f', 'd', 'new', ''])}`;
    case 6:
      return 'n'.repeat(pick(random, [99, 100, 101, 255, 256]));
    case 7:
      return `lower/${pick(random, ['f', 'd', 'd/f', 's', 'gone'])}`;
    default:
      return known;
  }
}

const NUMBERS = [
  '',
  '0',
  '1',
  '777',
  '0000644',
  '00000000000',
  '77777777777',
  '777777777777',
  '7777777',
  '-1',
  ' 12 ',
  '9',
  'x',
  '1e3',
  '0x10',
];
const BINARY = [
  [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5],
  [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], // 2^63
  [0x80, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // 2^53 - 1
  [0x80, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
  [0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
].map((bytes) => Buffer.from(bytes));
const MAGICS = ['ustar\x0000', 'ustar  \0', '', 'ustar\0\0\0', 'ustar', 'USTAR\x0000', 'tar\0'];

function mutateHeader(unit: Unit, random: Random, names: readonly string[], canary: string): void {
  switch (random(8)) {
    case 0:
    case 1:
      put(unit, 'name', someName(random, names, canary));
      break;
    case 2:
      put(unit, 'linkname', someName(random, names, canary));
      break;
    case 3:
      put(unit, 'typeflag', pick(random, TYPES));
      break;
    case 4: {
      put(unit, 'typeflag', pick(random, ['1', '2']));
      put(unit, 'linkname', someName(random, names, canary));
      break;
    }
    case 5:
      put(unit, pick(random, ['magic', 'prefix', 'uname'] as const), pick(random, [...MAGICS, 'd', '..', '/', canary]));
      break;
    default: {
      const field = pick(random, [
        'mode',
        'uid',
        'gid',
        'size',
        'size',
        'mtime',
        'deviceMajor',
        'deviceMinor',
      ] as const);
      const binary = pick(random, BINARY);
      put(unit, field, random(2) === 0 ? pick(random, NUMBERS) : binary.subarray(0, FIELD[field][1]));
    }
  }
  if (random(16) !== 0) repair(unit);
}

const KEYS = [
  'path',
  'linkpath',
  'size',
  'uid',
  'gid',
  'mtime',
  'atime',
  'hdrcharset',
  'comment',
  'SCHILY.devmajor',
  'SCHILY.devminor',
].concat(
  ['SCHILY.xattr.user.x', 'SCHILY.xattr.trusted.overlay.opaque', 'SCHILY.xattr.security.capability', 'SCHILY.xattr.'],
  [
    'SCHILY.xattr.system.posix_acl_access',
    'SCHILY.xattr.user.%3D%25',
    'LIBARCHIVE.xattr.user.y',
    'SCHILY.acl.access',
    'SCHILY.acl.default',
  ],
  [
    'GNU.sparse.major',
    'GNU.sparse.minor',
    'GNU.sparse.name',
    'GNU.sparse.size',
    'GNU.sparse.realsize',
    'GNU.sparse.map',
  ],
  ['GNU.sparse.offset', 'GNU.sparse.numbytes', 'GNU.sparse.numblocks', '', '=', '__proto__', 'constructor'],
);
const VALUES = [
  '',
  '0',
  '1',
  '-1',
  '5.5',
  '-5.000000001',
  '9007199254740991',
  '9007199254740993',
  '18446744073709551616',
  '4294967295',
].concat(
  [
    'BINARY',
    'x',
    '\0',
    'a\0b',
    '\n',
    '=',
    '\xff\xfe',
    '0,5',
    '0,5,10,5',
    '0,1000',
    '10,-5',
    ',',
    '0,0',
    'AAAA',
    '99999999999',
  ],
  [
    'user::rwx,group::r-x,other::r-x',
    'user::rwx,user:5:rwx,group::r-x,mask::rwx,other::---',
    'user::',
    '\x01\0\0\x02\xff\xff\xff\xff',
  ],
);

function somePax(random: Random, names: readonly string[], canary: string): Unit {
  const records = Array.from({ length: 1 + random(3) }, () => {
    const key = pick(random, KEYS);
    const named = /path|name$/.test(key) && random(3) !== 0;
    return paxRecord(key, Buffer.from(named ? someName(random, names, canary) : pick(random, VALUES), 'latin1'));
  });
  return extendedHeader(random(6) === 0 ? 'g' : 'x', ...records);
}

/** Changes a record, or the bytes of one, and makes lengths right again, mostly. */
function mutateRecords(unit: Unit, random: Random, names: readonly string[], canary: string): Unit {
  const size = Number.parseInt(unit.toString('latin1', 124, 135), 8) || 0;
  const body = unit.subarray(BLOCK, BLOCK + size);
  if (random(4) === 0) {
    if (body.length > 0) body[random(body.length)] = random(256);
    return unit;
  }
  const records = body.toString('latin1').match(/[0-9]+ [^=\n]+=[^\n]*\n/g) ?? [];
  const at = random(records.length + 1);
  const [, key = pick(random, KEYS), value = ''] = /^[0-9]+ ([^=]+)=([^\n]*)\n$/.exec(records[at] ?? '') ?? [];
  const fresh = /path|name$/.test(key)
    ? someName(random, names, canary)
    : pick(random, [...VALUES, value.slice(1), `${value}0`]);
  records.splice(
    at,
    random(5) === 0 ? 0 : 1,
    paxRecord(random(5) === 0 ? pick(random, KEYS) : key, Buffer.from(fresh, 'latin1')).toString('latin1'),
  );
  if (random(5) === 0) records.splice(random(records.length), 1);
  return extendedHeader(typeOf(unit), Buffer.from(records.join(''), 'latin1'));
}

function mutateUnits(units: Unit[], random: Random, other: readonly Unit[], canary: string): void {
  const names = units.map(nameOf);
  const at = random(units.length);
  const unit = units[at]!;
  const anywhere = (): number => random(units.length + 1);
  switch (random(12)) {
    case 0:
      units.splice(anywhere(), 0, Buffer.from(unit));
      break;
    case 1:
      units.splice(at, 1);
      break;
    case 2:
      units.splice(at, 1);
      units.splice(anywhere(), 0, unit);
      break;
    case 3: {
      const from = random(other.length);
      units.splice(anywhere(), 0, ...other.slice(from, from + 1 + random(4)).map((copied) => Buffer.from(copied)));
      break;
    }
    case 4:
      units.splice(anywhere(), 0, somePax(random, names, canary));
      break;
    case 5:
      units.splice(anywhere(), 0, extendedHeader(pick(random, ['L', 'K']), `${someName(random, names, canary)}\0`));
      break;
    case 6: {
      const extended = units.findIndex((one, index) => index >= at && 'xg'.includes(typeOf(one)));
      if (extended !== -1) units[extended] = mutateRecords(units[extended]!, random, names, canary);
      break;
    }
    case 7: {
      // The same name again, as something else.
      const again = Buffer.from(unit);
      put(again, 'typeflag', pick(random, ['0', '1', '2', '5', '6']));
      put(again, 'linkname', someName(random, names, canary));
      if (typeOf(again) === '0') put(again, 'size', '00000000000');
      repair(again);
      units.splice(at + 1 + random(units.length - at), 0, again.subarray(0, BLOCK));
      break;
    }
    default:
      mutateHeader(unit, random, names, canary);
  }
}

function mutateBytes(bytes: Buffer, random: Random): Buffer {
  const at = random(bytes.length);
  switch (random(6)) {
    case 0:
      bytes[at] = random(256);
      return bytes;
    case 1:
      bytes[at]! ^= 1 << random(8);
      return bytes;
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.alloc(1 + random(1024), random(3) === 0 ? 0 : random(256)),
        bytes.subarray(at),
      ]);
    case 4:
      return Buffer.concat([bytes, Buffer.alloc(random(2000), random(2) === 0 ? 0 : 0x41)]);
    default:
      return bytes.subarray(0, (at >> 9) << 9);
  }
}

/** One to four changes of an archive; `other` lends entries. `canary` is a directory that no entry may reach. */
export function mutate(archive: Buffer, other: Buffer, random: Random, canary: string): Buffer {
  const { units, end } = unitsOf(archive);
  const lent = unitsOf(other).units;
  for (let change = 1 + random(4); change > 0; change--) {
    if (units.length > 0 && lent.length > 0) mutateUnits(units, random, lent, canary);
  }
  const bytes = Buffer.concat([...units, end]);
  return random(4) === 0 && bytes.length > 0 ? mutateBytes(bytes, random) : bytes;
}

/** Entries with the extended headers in front of them. */
function groupsOf(units: readonly Unit[]): Unit[][] {
  const groups: Unit[][] = [[]];
  for (const unit of units) {
    groups.at(-1)!.push(unit);
    if (!'xgLK'.includes(typeOf(unit))) groups.push([]);
  }
  return groups.filter((group) => group.length > 0);
}

function octal(value: number, digits: number): string {
  return `${value.toString(8).padStart(digits, '0')}\0`;
}

function changeGently(unit: Unit, random: Random): void {
  const isFile = '0\x007'.includes(typeOf(unit));
  const base256 = (...bytes: number[]): Buffer => Buffer.from(bytes);
  switch (random(isFile ? 7 : 5)) {
    case 0:
      put(unit, 'mode', octal(random(0o10000), 7));
      break;
    case 1:
      put(unit, 'uid', octal(random(0o10000000), 7));
      break;
    case 2:
      put(unit, 'gid', base256(0x80, 0, 0, 0, random(255), random(256), random(256), random(256)));
      break;
    case 3:
      put(unit, 'mtime', octal(random(2 ** 31), 11));
      break;
    case 4:
      put(unit, 'mtime', base256(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, random(256), random(256), 7));
      break;
    case 5:
      put(unit, 'typeflag', pick(random, ['0', '\0']));
      break;
    default:
      put(unit, 'name', `${nameOf(unit)}${random(1000)}`);
  }
  repair(unit);
}

function gentlePax(random: Random): Unit {
  const value = Buffer.from(Array.from({ length: random(20) }, () => random(256)));
  const time = `${random(2) === 0 ? '' : '-'}${random(2 ** 30)}.${random(10 ** 9)}`;
  const all = [
    paxRecord('mtime', time),
    paxRecord('uid', String(random(2 ** 31))),
    paxRecord('path', Buffer.from(`renamed/${random(1000)}/\xff${'n'.repeat(random(200))}`, 'latin1')),
    paxRecord('SCHILY.xattr.user.fuzz', value),
    paxRecord('SCHILY.xattr.user.a%3Db', value),
    paxRecord('SCHILY.acl.access', 'user::rw-\nuser:54321:r-x\ngroup::r--\nmask::r-x\nother::---\n'),
  ];
  return extendedHeader('x', ...all.filter(() => random(3) === 0), paxRecord('gid', String(random(1000))));
}

/** A change after which the archive means something, the same to every program that unpacks it. */
export function mutateGently(archive: Buffer, random: Random): Buffer {
  const { units, end } = unitsOf(archive);
  const groups = groupsOf(units);
  for (let change = 1 + random(4); change > 0; change--) {
    const at = random(groups.length);
    const group = groups[at]!;
    const isPlain = '05'.includes(typeOf(group.at(-1)!));
    const kind = random(4);
    if (kind === 0 && isPlain && group.length === 1) group.unshift(gentlePax(random));
    else if (kind === 1) groups.splice(random(groups.length), 0, ...groups.splice(at, 1));
    else if (isPlain) changeGently(group.at(-1)!, random);
  }
  return Buffer.concat([...groups.flat(), end]);
}
