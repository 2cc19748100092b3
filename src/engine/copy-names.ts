/** The names of `cp`: what ends up where, by Docker's rules. Pure. @see moby, pkg/archive/copy.go; docker/cli, container/cp.go */
import { posix } from 'node:path';
import { TsboxError } from '../errors.ts';

/** A thing at one end of the copy. */
export interface CopyEnd {
  /** As it was given or found: a slash or `/.` at its end says that it is a directory. */
  path: string;
  exists: boolean;
  isDirectory: boolean;
  /** What it is to be called, where `path` is what a symlink of that name led to. */
  rename?: string;
}

/** `CONTAINER:PATH`, or a path of the host. */
export interface CopyArgument {
  container?: string;
  path: string;
}

/** A colon behind a slash or a dot in front belongs to a path of the host. */
export function splitCopyArgument(argument: string): CopyArgument {
  const colon = argument.indexOf(':');
  if (argument.startsWith('/') || argument.startsWith('.') || colon <= 0) return { path: argument };
  return { container: argument.slice(0, colon), path: argument.slice(colon + 1) };
}

const lastOf = (path: string) => (/^\/+$/.test(path) ? '/' : path.replace(/\/+$/, '').replace(/^.*\//, '') || '.');

export const endsInDot = (path: string): boolean => lastOf(path) === '.';

/** Does the path say of itself that it is a directory's? */
export const saysDirectory = (path: string): boolean => path.endsWith('/') || endsInDot(path);

const clean = (path: string) => {
  const normal = posix.normalize(path);
  return normal.length > 1 ? normal.replace(/\/$/, '') : normal;
};

/** `cleaned`, ending in a slash or in `/.` when `original` does. */
export function keepEnding(cleaned: string, original: string): string {
  let path = cleaned;
  if (!endsInDot(path) && endsInDot(original)) path += path.endsWith('/') ? '.' : '/.';
  return !path.endsWith('/') && original.endsWith('/') ? `${path}/` : path;
}

/** An absolute path without `..`, with its ending. @param from where a relative one begins */
export function absolute(path: string, from: string): string {
  return keepEnding(clean(posix.resolve(from, path)), path);
}

/** Directory and name; the name is `.` when the path ends so. */
export function splitEntry(path: string): { directory: string; name: string } {
  const cleaned = clean(path) + (endsInDot(path) ? '/.' : '');
  if (endsInDot(path)) return { directory: clean(path), name: '.' };
  return { directory: posix.dirname(cleaned), name: posix.basename(cleaned) || '/' };
}

/** Where a symlink led, with the ending of the path that was asked for, and the name that it was asked by, if that is another. */
export function renamed(path: string, target: string): { path: string; rename?: string } {
  const kept = keepEnding(target, path);
  return lastOf(path) === lastOf(kept) ? { path: kept } : { path: kept, rename: lastOf(path) };
}

/** Which directory to unpack into, and what the source is called there.
 *  @throws ERR_TSBOX_CONFLICT, ERR_TSBOX_NOT_FOUND in Docker's words */
export function copyPlace(source: CopyEnd, destination: CopyEnd): { directory: string; name: string } {
  const { directory, name } = splitEntry(destination.path);
  const own = source.rename ?? splitEntry(source.path).name;
  if (destination.exists && destination.isDirectory) return { directory: destination.path, name: own };
  if (destination.exists && source.isDirectory) throw new TsboxError('ERR_TSBOX_CONFLICT', 'cannot copy directory');
  if (!destination.exists && !source.isDirectory && saysDirectory(destination.path)) {
    throw new TsboxError('ERR_TSBOX_NOT_FOUND', 'no such directory');
  }
  return { directory, name };
}
