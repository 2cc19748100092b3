/** The ends of a copy that lie on the host. */
import { lstatSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { isErrno, TsboxError } from '../errors.ts';
import { type CopyEnd, renamed, splitEntry } from './copy-names.ts';

export const notFound = (message: string) => new TsboxError('ERR_TSBOX_NOT_FOUND', message);

/** Symlinks on the way to the source are followed; the source itself only when it is asked for, or says that it is a directory. */
export function hostSource(path: string, followLink: boolean): CopyEnd {
  const kept = followLink ? renamed(path, real(path)) : parentResolved(path);
  const stat = lstat(kept.path);
  return { ...kept, exists: true, isDirectory: stat.isDirectory() };
}

function parentResolved(path: string): { path: string; rename?: string } {
  const slash = path.lastIndexOf('/');
  const resolved = `${real(path.slice(0, slash + 1)).replace(/\/$/, '')}/${path.slice(slash + 1)}`;
  const { name } = splitEntry(path);
  return path.endsWith('/') && name !== splitEntry(resolved).name
    ? { path: resolved, rename: name }
    : { path: resolved };
}

/** In Docker's words. */
function lstat(path: string): Stats {
  try {
    return lstatSync(path);
  } catch (error) {
    throw inWords('lstat', path, error);
  }
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw inWords('lstat', (error as NodeJS.ErrnoException).path ?? path, error);
  }
}

/** A refusal in Docker's words, where it has some. */
export function inWords(call: string, path: string, error: unknown): unknown {
  if (isErrno(error, 'ENOENT')) return notFound(`${call} ${path}: no such file or directory`);
  if (isErrno(error, 'ENOTDIR')) return notFound(`${call} ${path}: not a directory`);
  return error;
}

/** @throws ERR_TSBOX_NOT_FOUND when the directory is not there, ERR_TSBOX_CONFLICT for a device */
export function checkOutput(path: string): void {
  const directory = posix.dirname(posix.normalize(path).replace(/(.)\/$/, '$1'));
  if (statSync(directory, { throwIfNoEntry: false }) === undefined) {
    throw notFound(`invalid output path: directory ${JSON.stringify(directory)} does not exist`);
  }
  const stat = lookOutside(path);
  if (stat?.isCharacterDevice() === true || stat?.isBlockDevice() === true) {
    const what = `invalid output path: ${JSON.stringify(path)} must be a directory or a regular file: got a device`;
    throw new TsboxError('ERR_TSBOX_CONFLICT', what);
  }
}

function lookOutside(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw inWords('stat', path, error);
  }
}

const HOST_LINKS_MAX = 10;

/** A symlink as the destination means what it leads to, be it there or not. @throws ERR_TSBOX_NOT_FOUND when not even its directory is */
export function destinationOutside(path: string): CopyEnd {
  let at = path;
  let stat = lstatSync(at, { throwIfNoEntry: false });
  for (let links = 0; stat?.isSymbolicLink() === true; links++) {
    if (links > HOST_LINKS_MAX) throw new TsboxError('ERR_TSBOX_CONFLICT', `too many symlinks in ${path}`);
    at = posix.resolve(splitEntry(at).directory, readlinkSync(at));
    stat = lstatSync(at, { throwIfNoEntry: false });
  }
  if (stat === undefined) {
    const { directory } = splitEntry(at);
    const parent = statSync(directory, { throwIfNoEntry: false });
    if (parent === undefined) throw notFound(`stat ${directory}: no such file or directory`);
    if (!parent.isDirectory()) throw new TsboxError('ERR_TSBOX_CONFLICT', 'not a directory');
  }
  return { path: at, exists: stat !== undefined, isDirectory: stat?.isDirectory() === true };
}
