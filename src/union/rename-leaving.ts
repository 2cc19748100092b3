/** A rename that leaves a whiteout where the file was. */

import { AT_REMOVEDIR } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { workName } from './copy-up.ts';
import { RENAME_EXCHANGE } from './create.ts';
import { E } from './errno.ts';
import { cstring } from './memory.ts';
import { removeName, type Union } from './union.ts';
import { announceWhiteout, makeWhiteout } from './whiteouts.ts';

const RENAME_WHITEOUT = 4;

/** Renames in the upper layer, over a file or an empty directory if there is one. @returns 0 or -errno */
export function renameLeaving(
  union: Union,
  source: number,
  name: string,
  target: number,
  newName: string,
  directory: boolean,
): number {
  if (union.whiteouts === 'device') {
    const error = quickly.renameat2(source, cstring(name), target, cstring(newName), RENAME_WHITEOUT);
    if (error !== E.INVAL) return error;
    // Some file systems have devices and do not know this flag.
  }
  const whiteout = workName();
  let error = makeWhiteout(union, whiteout);
  if (error === 0) error = announceWhiteout(union, source);
  if (error === 0) {
    const move = directory ? moveDirectory : moveFile;
    error = move(union, whiteout, source, name, target, newName);
  }
  if (error < 0) removeName(union.work, whiteout);
  return error;
}

/** What is killed in the middle leaves the file with both names: neither it nor what it replaces is lost. */
function moveFile(
  { work }: Union,
  whiteout: string,
  source: number,
  name: string,
  target: number,
  newName: string,
): number {
  const temporary = workName();
  const linked = quickly.linkat(source, cstring(name), work, cstring(temporary), 0);
  if (linked < 0) return linked;
  const moved = quickly.renameat2(work, cstring(temporary), target, cstring(newName), 0);
  if (moved < 0) {
    removeName(work, temporary);
    return moved;
  }
  return quickly.renameat2(work, cstring(whiteout), source, cstring(name), 0);
}

/** A directory has no second name: the whiteout first takes the new place, where at most an empty directory is, then both change places. */
function moveDirectory(
  union: Union,
  whiteout: string,
  source: number,
  name: string,
  target: number,
  newName: string,
): number {
  const { work } = union;
  const announced = announceWhiteout(union, target);
  if (announced < 0) return announced;
  const swapped = quickly.renameat2(work, cstring(whiteout), target, cstring(newName), RENAME_EXCHANGE);
  const put = swapped === E.NOENT ? quickly.renameat2(work, cstring(whiteout), target, cstring(newName), 0) : swapped;
  if (put < 0) return put;
  const moved = quickly.renameat2(source, cstring(name), target, cstring(newName), RENAME_EXCHANGE);
  if (moved < 0) {
    quickly.renameat2(target, cstring(newName), work, cstring(whiteout), swapped === 0 ? RENAME_EXCHANGE : 0);
    return moved;
  }
  if (swapped === 0) removeName(work, whiteout, AT_REMOVEDIR);
  return 0;
}
