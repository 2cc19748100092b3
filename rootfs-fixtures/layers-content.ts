/**
 * What the image `layers` holds, layer by layer: everything that a layer can say and that some tool gets wrong. All of it is below `fixture/`;
 * the base layer has the busybox root file system too, so that the image runs.
 */
import type { Entry } from './tree.ts';

export interface LayerContent {
  createdBy: string;
  entries: readonly Entry[];
  /** Directories that are made but have no entry of their own in the tar. Their mode is nobody's promise. */
  implicit?: readonly string[];
  /** What is no longer to be seen below `fixture/`, spelled out for each path. */
  gone: readonly string[];
}

const directory = (path: string, rest: Partial<Entry> = {}) => ({ type: 'directory', path, ...rest }) as Entry;
const file = (path: string, data: string, rest: Partial<Entry> = {}) =>
  ({ type: 'file', path, data, ...rest }) as Entry;
const symlink = (path: string, target: string) => ({ type: 'symlink', path, target }) as Entry;
const link = (path: string, target: string) => ({ type: 'link', path, target }) as Entry;

const WHITEOUT = { mode: 0o600 } as const;
/** @see image-spec, layer.md, whiteouts */
const whiteout = (path: string) => file(path.replace(/[^/]*$/, '.wh.$&'), '', WHITEOUT);
const opaque = (path: string) => file(`${path}/.wh..wh..opq`, '', WHITEOUT);

/** One component of the greatest length, and a path that no header field of tar holds. */
const LONG_NAME = 'n'.repeat(255);
const DEEP = Array.from({ length: 6 }, (_, depth) => `deep-${depth}-`.padEnd(100, 'd'));
const deepPath = (depth: number) => `fixture/long/${DEEP.slice(0, depth).join('/')}`;

/** vfs_cap_data, revision 2: cap_net_raw permitted and effective. @see capabilities(7), linux/capability.h */
const CAP_NET_RAW_EP = '\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00';

const files: Entry[] = [
  directory('fixture/files'),
  file('fixture/files/plain', 'plain\n'),
  file('fixture/files/empty', ''),
  file('fixture/files/binary', Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join('')),
  file('fixture/files/setuid', '#!/bin/sh\n', { mode: 0o4755, uid: 1000, gid: 1000 }),
  file('fixture/files/setgid', '#!/bin/sh\n', { mode: 0o2755, gid: 50 }),
  file('fixture/files/no-permissions', 'nobody reads this\n', { mode: 0 }),
  file('fixture/files/great-owner', '', { uid: 3_000_000, gid: 4_000_000 }),
  file('fixture/files/before-1970', '', { mtime: '-86400.000000000' }),
  file('fixture/files/after-2106', '', { mtime: '5000000000.000000000' }),
  file('fixture/files/nanoseconds', '', { mtime: '1700000000.123456789' }),
  file('fixture/files/512-bytes', 'x'.repeat(512)),
  file('fixture/files/513-bytes', 'x'.repeat(513)),
  directory('fixture/files/sticky', { mode: 0o1777 }),
  directory('fixture/files/private', { mode: 0o700, uid: 1000, gid: 1000, mtime: '1600000000.000000000' }),
  file('fixture/files/private/inside', 'inside\n', { uid: 1000, gid: 1000 }),
];

const links: Entry[] = [
  directory('fixture/links'),
  directory('fixture/links/a'),
  directory('fixture/links/b'),
  file('fixture/links/a/one', 'two names\n'),
  link('fixture/links/b/two', 'fixture/links/a/one'),
  file('fixture/links/a/gone', 'one name is left\n'),
  link('fixture/links/b/kept', 'fixture/links/a/gone'),
  file('fixture/links/a/copied', 'as it was\n'),
  link('fixture/links/b/original', 'fixture/links/a/copied'),
  symlink('fixture/links/relative', '../files/plain'),
  symlink('fixture/links/absolute', '/fixture/files/plain'),
  symlink('fixture/links/dangling', '/nowhere/at/all'),
  symlink('fixture/links/loop', 'loop'),
  symlink('fixture/links/outside', '../../../../../../../../etc/passwd'),
  symlink('fixture/links/directory', 'a'),
  symlink('fixture/links/long', `/${'target/'.repeat(40)}end`),
  link('fixture/links/second-symlink', 'fixture/links/relative'),
];

const names: Entry[] = [
  directory('fixture/names'),
  file('fixture/names/caf\xe9', 'latin1\n'),
  file('fixture/names/\xff\xfe', 'not UTF-8 at all\n'),
  file('fixture/names/\xc3\xa9', 'composed\n'),
  file('fixture/names/e\xcc\x81', 'decomposed\n'),
  file('fixture/names/a b', 'space\n'),
  file('fixture/names/line\nfeed', 'line feed\n'),
  file('fixture/names/back\\slash', 'backslash\n'),
  file('fixture/names/-rf', 'dash\n'),
  file('fixture/names/*', 'star\n'),
  file('fixture/names/.hidden', 'hidden\n'),
  symlink('fixture/names/link', 'caf\xe9'),
  directory('fixture/names/dir\xe9'),
  file('fixture/names/dir\xe9/inside', 'inside\n'),
  link('fixture/names/hard\xe9', 'fixture/names/dir\xe9/inside'),
];

const long: Entry[] = [
  directory('fixture/long'),
  file(`fixture/long/${LONG_NAME}`, '255\n'),
  file(`fixture/long/${'a'.repeat(100 - 'fixture/long/'.length)}`, 'a path of 100 bytes\n'),
  file(`fixture/long/${'b'.repeat(101 - 'fixture/long/'.length)}`, 'a path of 101 bytes\n'),
  ...DEEP.map((_, depth) => directory(deepPath(depth + 1))),
  file(`${deepPath(DEEP.length)}/bottom`, 'bottom\n'),
  link('fixture/long/bottom', `${deepPath(DEEP.length)}/bottom`),
];

const special: Entry[] = [
  directory('fixture/special'),
  { type: 'character', path: 'fixture/special/null', mode: 0o666, major: 1, minor: 3 },
  { type: 'character', path: 'fixture/special/great-numbers', major: 4095, minor: 1_048_575 },
  { type: 'block', path: 'fixture/special/loop', mode: 0o660, gid: 6, major: 7, minor: 200 },
  { type: 'fifo', path: 'fixture/special/fifo', mode: 0o600 },
  directory('fixture/xattrs', { xattrs: { 'user.directory': 'yes' } }),
  file('fixture/xattrs/text', '', { xattrs: { 'user.comment': 'a comment' } }),
  file('fixture/xattrs/binary', '', { xattrs: { 'user.binary': '\x00\x01\xff\n=\x00' } }),
  file('fixture/xattrs/capable', '', { mode: 0o755, xattrs: { 'security.capability': CAP_NET_RAW_EP } }),
  file('fixture/xattrs/trusted', '', { xattrs: { 'trusted.fixture': 'for root' } }),
];

const toBeChanged: Entry[] = [
  directory('fixture/remove'),
  file('fixture/remove/file', ''),
  file('fixture/remove/again', 'first\n'),
  symlink('fixture/remove/symlink', '../files/plain'),
  directory('fixture/remove/directory'),
  directory('fixture/remove/directory/sub'),
  file('fixture/remove/directory/sub/file', ''),
  file('fixture/remove/kept', 'kept\n'),
  directory('fixture/opaque'),
  file('fixture/opaque/old', ''),
  directory('fixture/opaque/sub'),
  file('fixture/opaque/sub/deeper', ''),
  directory('fixture/emptied'),
  file('fixture/emptied/old', ''),
  directory('fixture/replace'),
  directory('fixture/replace/directory-by-file'),
  file('fixture/replace/directory-by-file/inside', ''),
  file('fixture/replace/file-by-directory', ''),
  directory('fixture/replace/directory-by-symlink'),
  file('fixture/replace/directory-by-symlink/inside', ''),
  symlink('fixture/replace/symlink-by-directory', '../files'),
  symlink('fixture/replace/symlink-by-file', '../files/plain'),
  file('fixture/replace/file-by-device', ''),
  file('fixture/replace/mode', 'same data\n', { mode: 0o600 }),
];

export const LAYERS: readonly LayerContent[] = [
  {
    createdBy: 'base: everything a tar can hold',
    entries: [directory('fixture'), ...files, ...links, ...names, ...long, ...special, ...toBeChanged],
    gone: [],
  },
  {
    createdBy: 'changes: whiteouts, an opaque directory, one type replaced by another',
    entries: [
      directory('fixture'),
      directory('fixture/remove'),
      whiteout('fixture/remove/file'),
      whiteout('fixture/remove/again'),
      whiteout('fixture/remove/symlink'),
      whiteout('fixture/remove/directory'),
      whiteout('fixture/remove/never-was'),
      directory('fixture/opaque', { mode: 0o750 }),
      opaque('fixture/opaque'),
      file('fixture/opaque/new', 'new\n'),
      directory('fixture/opaque/sub'),
      file('fixture/opaque/sub/beside', 'beside\n'),
      directory('fixture/emptied'),
      opaque('fixture/emptied'),
      directory('fixture/replace'),
      file('fixture/replace/directory-by-file', 'a file\n'),
      directory('fixture/replace/file-by-directory'),
      file('fixture/replace/file-by-directory/inside', 'inside\n'),
      symlink('fixture/replace/directory-by-symlink', '../files'),
      directory('fixture/replace/symlink-by-directory'),
      file('fixture/replace/symlink-by-directory/plain', 'not the one in files\n'),
      file('fixture/replace/symlink-by-file', 'a file\n'),
      { type: 'character', path: 'fixture/replace/file-by-device', major: 1, minor: 5 },
      file('fixture/replace/mode', 'same data\n', { mode: 0o755 }),
      directory('fixture/links'),
      directory('fixture/links/a'),
      whiteout('fixture/links/a/gone'),
      file('fixture/links/a/copied', 'changed\n'),
      directory('fixture/added'),
      file(`fixture/added/${LONG_NAME}`, 'GNU long name\n'),
      symlink('fixture/added/long', `/${'target/'.repeat(40)}end`),
      file('fixture/added/caf\xe9', 'latin1 in a GNU header\n'),
    ],
    gone: [
      'fixture/remove/file',
      'fixture/remove/again',
      'fixture/remove/symlink',
      'fixture/remove/directory',
      'fixture/remove/directory/sub',
      'fixture/remove/directory/sub/file',
      'fixture/opaque/old',
      'fixture/opaque/sub/deeper',
      'fixture/emptied/old',
      'fixture/replace/directory-by-file/inside',
      'fixture/replace/directory-by-symlink/inside',
      'fixture/links/a/gone',
    ],
  },
  {
    createdBy: 'again: a name used a second time, sparse files, parents without an entry',
    entries: [
      directory('fixture'),
      directory('fixture/remove'),
      file('fixture/remove/again', 'second\n'),
      directory('fixture/opaque', { mode: 0o750 }),
      file('fixture/opaque/old', 'back\n'),
      directory('fixture/sparse'),
      file('fixture/sparse/middle', 'data', { hole: { before: 1 << 20, after: 3 << 20 } }),
      file('fixture/sparse/end', 'data', { hole: { before: 1 << 20, after: 0 } }),
      file('fixture/sparse/only-hole', '', { hole: { before: 0, after: 1 << 20 } }),
      directory('fixture/implicit'),
      directory('fixture/implicit/parent'),
      file('fixture/implicit/parent/file', 'its parents have no entry\n'),
    ],
    implicit: ['fixture/implicit', 'fixture/implicit/parent'],
    gone: [],
  },
];
