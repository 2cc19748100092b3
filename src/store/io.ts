/** Small files of the store, and refusals of the kernel in tsbox's own words. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { isErrno, TsboxError } from '../errors.ts';
import type { IdMaps } from '../spec/id-map.ts';
import { refusal as nodeRefusal } from '../sys/node-error.ts';
import { removeAsNamespaceRoot } from '../sys/own-ids.ts';
import { runProgram } from '../sys/process.ts';
import { removeWholeTree } from '../sys/remove-tree.ts';

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC:
    'The file system of the data root is full. Remove images and containers that are not needed (tsbox rmi, tsbox rm).',
  EDQUOT: 'The quota on the file system of the data root is used up.',
  EROFS: 'The file system of the data root is mounted read-only.',
  EACCES: 'The data root belongs to root. Use sudo, or another --data-root.',
  EPERM: 'The data root belongs to root. Use sudo, or another --data-root.',
};

/** Runs file system work; Node's own errors become `what: ERRNO (text)` with a hint, others pass. */
export function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw refusal(what, error);
  }
}

/** As {@link attempt} for an error that was caught. */
export function refusal(what: string, error: unknown): unknown {
  return nodeRefusal(what, error, HINTS);
}

/** What there is in place of a file cannot be read as one. */
const NO_FILE = ['EISDIR', 'ENOTDIR', 'ELOOP'];

/** A file's text, or undefined where there is none. @throws ERR_TSBOX_DAMAGED when something else is there, SyscallError */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    const refused = refusal(`read ${path}`, error);
    if (!NO_FILE.some((name) => isErrno(error, name))) throw refused;
    throw new TsboxError('ERR_TSBOX_DAMAGED', (refused as Error).message, { cause: error });
  }
}

/** As {@link readText}, for who goes on without: what is damaged counts as not there. */
export function readIntact(path: string): string | undefined {
  try {
    return readText(path);
  } catch (error) {
    if (error instanceof TsboxError && error.code === 'ERR_TSBOX_DAMAGED') return undefined;
    throw error;
  }
}

/** Runs `work`, whose object another process may have removed already. @returns whether it was there */
export function unlessGone(what: string, work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw refusal(what, error);
  }
}

/** Runs `work` with the umask taken off: the modes of the store's files are what the code says, whoever starts tsbox. */
export function withoutUmask<T>(work: () => T): T {
  const umask = process.umask(0);
  try {
    return work();
  } finally {
    process.umask(umask);
  }
}

/** A directory that may be there already. */
export function ensureDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw refusal(`mkdir ${path}`, error);
  }
}

/** Removes a tree or a file; one that is not there is removed already. Names that are not UTF-8 go too. */
export function removeTree(path: string): void {
  attempt(`remove ${path}`, () => {
    try {
      removeWholeTree(path);
    } catch (error) {
      const isRoot = process.geteuid?.() === 0;
      // Node has a descriptor open for each level; rm(1) has few.
      const isDeep = isErrno(error, 'EMFILE');
      if (isRoot && isDeep) return runProgram(['rm', '-rf', '--one-file-system', '--', path]);
      // An ordinary user's container has left files of his subordinate ids.
      const isDenied = isErrno(error, 'EACCES') || isErrno(error, 'EPERM');
      if (isRoot || !(isDeep || isDenied) || !removeAsNamespaceRoot(path)) throw error;
    }
  });
}

/** What this tsbox knows of the form of its files. One that changes so that an older tsbox would misread it says a higher
 *  `FormatVersion`; without any it is 1, and so are Docker's. 2: a container that is a copy of its layers. */
const FORMAT = 2;

/** @throws ERR_TSBOX_UNSUPPORTED when a later tsbox has written it: what it means is not guessed */
function checkFormat(value: unknown, path: string): unknown {
  const version = isObject(value) ? value['FormatVersion'] : undefined;
  if (version === undefined || (typeof version === 'number' && version <= FORMAT)) return value;
  const message = `read ${path}: its format is version ${JSON.stringify(version)}, this tsbox knows ${FORMAT}`;
  throw new TsboxError('ERR_TSBOX_UNSUPPORTED', message, { hint: 'A later tsbox has written it: use that one.' });
}

/** JSON that tsbox or Docker wrote. @throws ERR_TSBOX_DAMAGED naming the file, ERR_TSBOX_UNSUPPORTED for a format to come */
export function parseStored(text: string, path: string): unknown {
  try {
    return checkFormat(JSON.parse(text), path);
  } catch (error) {
    if (error instanceof TsboxError) throw error;
    throw new TsboxError('ERR_TSBOX_DAMAGED', `read ${path}: not JSON`, { cause: error });
  }
}

/** An object that was written and renamed into place; what is damaged counts as not there.
 *  @param isLikely whether the file is there as a rule: where it is not, Node's error costs ten times a look beforehand
 *  @throws ERR_TSBOX_UNSUPPORTED for a format to come */
export function readObject(path: string, isLikely = false): Record<string, unknown> | undefined {
  const text = isLikely || existsSync(path) ? readIntact(path) : undefined;
  if (text === undefined) return undefined;
  try {
    const value = checkFormat(JSON.parse(text), path);
    return isObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof TsboxError) throw error;
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Are these maps of ids, as they were written down? */
export function isMaps(value: unknown): value is IdMaps {
  const numbers = ['containerID', 'hostID', 'size'];
  const isRange = (one: unknown) => isObject(one) && numbers.every((name) => Number.isSafeInteger(one[name]));
  const isMap = (map: unknown) => Array.isArray(map) && map.length > 0 && map.every(isRange);
  return isObject(value) && isMap(value['uids']) && isMap(value['gids']);
}
