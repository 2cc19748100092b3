/**
 * Makes the entries that a recipe declares, on disk and as root. Names are bytes, written as strings with one character a byte
 * (`latin1`), so that a name that is not UTF-8 can stand in the source and in JSON.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { run } from './image.ts';

interface Common {
  /** Bytes as characters; a slash between components, none at the start. */
  path: string;
  uid?: number;
  gid?: number;
  /** `seconds.nanoseconds`; FIXTURE_MTIME when absent. */
  mtime?: string;
  /** Values are bytes as characters. */
  xattrs?: Record<string, string>;
}

export type Entry = Common &
  (
    | { type: 'file'; mode?: number; data: string; hole?: { before: number; after: number } }
    | { type: 'directory'; mode?: number }
    | { type: 'symlink'; target: string }
    | { type: 'link'; target: string }
    | { type: 'character' | 'block'; mode?: number; major: number; minor: number }
    | { type: 'fifo'; mode?: number }
  );

export const FIXTURE_MTIME = 1_700_000_000;

export const bytes = (text: string) => Buffer.from(text, 'latin1');

/** Mode that an entry gets when it names none. */
export const modeOf = (entry: Entry) =>
  ('mode' in entry ? entry.mode : undefined) ?? (entry.type === 'directory' ? 0o755 : 0o644);

/** Runs a command on a path of any bytes: an argument from Node would be UTF-8, so the shell spells it. */
function runOn(command: string, path: Buffer, after = ''): void {
  const spelled = [...path].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
  run('bash', ['-c', `${command} $'${spelled}' ${after}`]);
}

function writeData(path: Buffer, data: Buffer, hole = { before: 0, after: 0 }): void {
  const fd = openSync(path, 'wx');
  writeSync(fd, data, 0, data.length, hole.before);
  ftruncateSync(fd, hole.before + data.length + hole.after);
  closeSync(fd);
}

function make(path: Buffer, root: Buffer, entry: Entry): void {
  if (entry.type === 'file') writeData(path, bytes(entry.data), entry.hole);
  else if (entry.type === 'directory') mkdirSync(path);
  else if (entry.type === 'symlink') symlinkSync(bytes(entry.target), path);
  else if (entry.type === 'link') linkSync(Buffer.concat([root, bytes(`/${entry.target}`)]), path);
  else if (entry.type === 'fifo') runOn('mknod', path, 'p');
  else runOn('mknod', path, `${entry.type === 'block' ? 'b' : 'c'} ${entry.major} ${entry.minor}`);
}

/** Owner before mode before attributes: chown(2) takes setuid and capabilities away. */
function dress(path: Buffer, entry: Entry): void {
  if (entry.type === 'link') return;
  lchownSync(path, entry.uid ?? 0, entry.gid ?? 0);
  if (entry.type === 'symlink') return;
  chownSync(path, entry.uid ?? 0, entry.gid ?? 0);
  chmodSync(path, modeOf(entry));
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) {
    runOn(`setfattr -n ${name} -v 0x${bytes(value).toString('hex')}`, path);
  }
}

function setTime(path: Buffer, entry: Entry): void {
  if (entry.type === 'link') return;
  if (entry.mtime !== undefined) runOn(`touch --no-dereference --date=@${entry.mtime}`, path);
  else if (entry.type === 'symlink') lutimesSync(path, FIXTURE_MTIME, FIXTURE_MTIME);
  else utimesSync(path, FIXTURE_MTIME, FIXTURE_MTIME);
}

/** Makes the entries below `root`, which exists; a parent stands before what is in it. Times last: work in a directory moves its own. */
export function makeTree(root: string, entries: readonly Entry[]): void {
  const prefix = Buffer.from(root);
  const full = (entry: Entry) => Buffer.concat([prefix, bytes(`/${entry.path}`)]);
  for (const entry of entries) {
    make(full(entry), prefix, entry);
    dress(full(entry), entry);
  }
  for (const entry of [...entries].reverse()) setTime(full(entry), entry);
}
