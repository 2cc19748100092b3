/** The arguments of a mount helper. @see mount(8), External helpers; overlayfs.rst */
import { TsboxError } from '../errors.ts';
import { MS } from '../spec/linux.ts';
import { parseMountOptions } from '../spec/mount-options.ts';

export interface UnionArguments {
  /** What the mount is called in lists. */
  source: string;
  target: string;
  /** The nearest first. */
  lower: string[];
  upper: string | undefined;
  work: string | undefined;
  /** Attributes of its own are `user.overlay.*`. */
  userxattr: boolean;
  /** The kernel keeps what is written, and brings it later, also where it could write by itself. */
  writeback: boolean;
  /** MS_* flags. */
  flags: number;
  foreground: boolean;
  /** The process is in a mount namespace of its own: see apart.ts. */
  apart: boolean;
  /** A file that is kept locked while the union is served, so that others know without touching the mount. */
  lock: string | undefined;
}

const USAGE = 'tsbox-union [SOURCE] TARGET -o lowerdir=DIR[:DIR...][,upperdir=DIR,workdir=DIR][,OPTION...]';

function usage(message: string): TsboxError {
  return new TsboxError('ERR_TSBOX_USAGE', message, { hint: `Usage: ${USAGE}` });
}

/** Parts between separators; a backslash takes the meaning of the character behind it. */
export function splitEscaped(text: string, separator: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\' && at + 1 < text.length) {
      // Backslashes stay for the one who splits once more.
      part += separator === ',' ? text.slice(at, at + 2) : text[at + 1];
      at++;
    } else if (text[at] === separator) {
      parts.push(part);
      part = '';
    } else part += text[at];
  }
  return [...parts, part];
}

const plain = (text: string): string => text.replace(/\\(.)/g, '$1');

/** Options that are not known are no error: whoever mounts things gives many that are for others.
 *  @throws ERR_TSBOX_USAGE */
export function parseArguments(argv: readonly string[]): UnionArguments {
  const names: string[] = [];
  const given: UnionArguments = {
    source: 'tsbox-union',
    target: '',
    lower: [],
    upper: undefined,
    work: undefined,
    userxattr: false,
    writeback: false,
    flags: 0,
    foreground: false,
    apart: false,
    lock: undefined,
  };
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === '-o') takeOptions(given, argv[++at] ?? '');
    else if (word.startsWith('-o')) takeOptions(given, word.slice(2));
    else if (word === '-f' || word === '--foreground') given.foreground = true;
    else if (word === '--' || word.startsWith('-')) continue;
    else names.push(word);
  }
  if (names.length === 0 || names.length > 2) throw usage('one directory to mount on is wanted');
  given.target = names.pop()!;
  given.source = names.pop() ?? given.source;
  if (given.lower.length === 0) throw usage('lowerdir= is missing');
  if ((given.upper === undefined) !== (given.work === undefined)) throw usage('upperdir= and workdir= go together');
  if (given.apart && given.foreground) throw usage('apart is for a process in the background');
  return given;
}

function takeOptions(given: UnionArguments, text: string): void {
  const others: string[] = [];
  for (const option of splitEscaped(text, ',')) {
    const [name, value] = option.includes('=')
      ? [option.slice(0, option.indexOf('=')), option.slice(option.indexOf('=') + 1)]
      : [option, ''];
    if (name === 'lowerdir') given.lower = splitEscaped(value, ':');
    else if (name === 'upperdir') given.upper = plain(value);
    else if (name === 'workdir') given.work = plain(value);
    else if (name === 'userxattr') given.userxattr = true;
    else if (name === 'writeback') given.writeback = true;
    else if (name === 'apart') given.apart = true;
    else if (name === 'lock') given.lock = plain(value);
    else if (name === 'fsname') given.source = value;
    else others.push(option);
  }
  for (const flag of parseMountOptions(others).flags) given.flags |= MS[flag];
}
