/** UNLINK and RMDIR, and what hides a name of the layers below. */
import { S } from '../spec/linux.ts';
import { AT_REMOVEDIR } from '../sys/file.ts';
import { quickly } from '../sys/quick.ts';
import { seenStatus, takeAfter, upperDirectory, workName } from './copy-up.ts';
import { RENAME_EXCHANGE } from './create.ts';
import { mergedEntries } from './directory.ts';
import { E } from './errno.ts';
import { nameAt, requestNode } from './exchange.ts';
import { noteName } from './known-names.ts';
import { inUpper, isBelow, lookup } from './lookup.ts';
import { hasWhiteoutFiles, setOpaque } from './marks.ts';
import { cstring } from './memory.ts';
import { namesOf, openToRead } from './names.ts';
import { nameGoes } from './notify.ts';
import { look } from './status.ts';
import { setTimes } from './times.ts';
import { hold, isDirectory, isKnownAs, isWritable, removeName, type Union, UPPER } from './union.ts';
import { announceWhiteout, isWhiteout, makeWhiteout } from './whiteouts.ts';

export function unlink(union: Union): number {
  return remove(union, requestNode(), nameAt(0), false);
}

export function rmdir(union: Union): number {
  return remove(union, requestNode(), nameAt(0), true);
}

function remove(union: Union, parent: number, name: string, directory: boolean): number {
  if (!isWritable(union)) return E.ROFS;
  const node = lookup(union, parent, name);
  if (node < 0) return node;
  if (directory) {
    const error = checkEmpty(union, node);
    if (error < 0) return error;
  } else if (isDirectory(union, node)) return E.ISDIR;
  const hides = isBelow(union, parent, name);
  const upper = upperDirectory(union, parent);
  if (upper < 0) return upper;
  const isNamed = isKnownAs(union, node, parent, name);
  if (isNamed) hold(union, node);
  noteName(parent, UPPER, name); // if it is not there yet, a whiteout comes
  const error = hides ? hide(union, upper, name, directory) : removeOnly(union, upper, name, directory);
  if (error < 0) return error;
  if (isNamed) union.nodes.unname(node);
  nameGoes(union, node);
  return 0;
}

/** @returns 0, -ENOTEMPTY or another refusal */
export function checkEmpty(union: Union, node: number): number {
  if (!isDirectory(union, node)) return E.NOTDIR;
  const entries = mergedEntries(union, node);
  if (typeof entries === 'number') return entries;
  return entries.length > 0 ? E.NOTEMPTY : 0;
}

/** Puts a whiteout where the name is, in one step for whoever looks. */
function hide(union: Union, upper: number, name: string, directory: boolean): number {
  const there = inUpper(union, upper, name);
  if (there === 'nothing' && union.whiteouts === 'device') return quickly.mknodat(upper, cstring(name), S.S_IFCHR, 0);
  const temporary = workName();
  const made = makeWhiteout(union, temporary);
  if (made < 0) return made;
  const swaps = directory && there !== 'nothing';
  let error = announceWhiteout(union, upper);
  if (error === 0) {
    const flags = swaps ? RENAME_EXCHANGE : 0;
    error = quickly.renameat2(union.work, cstring(temporary), upper, cstring(name), flags);
  }
  if (error < 0) removeName(union.work, temporary);
  else if (swaps) removeTree(union.work, temporary);
  return error;
}

/** Of a directory that has nothing below it: what it hides is there no longer once it is opaque. @returns 0 or -errno */
export function makeOpaque(union: Union, parent: number, name: string): number {
  if (hasWhiteoutFiles(union, parent, name)) removeWhiteouts(union, parent, name);
  return setOpaque(union, parent, name);
}

/** The kernel, and the union, take an empty file for a whiteout in a list only where the directory says that there are some. */
function removeWhiteouts(union: Union, parent: number, name: string): void {
  for (const each of namesOf(openToRead(parent, name)) ?? []) {
    const path = `${name}/${each}`;
    if (look(parent, cstring(path)) === 0 && isWhiteout(union, parent, path)) removeName(parent, path);
  }
}

/** Nothing is below: the name just goes. A directory may have whiteouts, which are nothing to whom it was shown. */
function removeOnly(union: Union, upper: number, name: string, directory: boolean): number {
  const error = removeName(upper, name, directory ? AT_REMOVEDIR : 0);
  if (error !== E.NOTEMPTY) return error;
  const temporary = workName();
  const moved = quickly.renameat2(upper, cstring(name), union.work, cstring(temporary), 0);
  if (moved === 0) removeTree(union.work, temporary);
  return moved;
}

/** Removes a directory of the work directory that has whiteouts, and nothing else. */
export function removeTree(parent: number, name: string): void {
  for (const each of namesOf(openToRead(parent, name)) ?? []) removeName(parent, `${name}/${each}`);
  removeName(parent, name, AT_REMOVEDIR);
}

/** A directory that shows nothing, but has whiteouts, becomes one that has nothing: so that it can be renamed over.
 *  @see the kernel's ovl_clear_empty @returns 0 or -errno */
export function clearDirectory(union: Union, upper: number, name: string): number {
  const { work } = union;
  const temporary = workName();
  look(upper, cstring(name));
  const status = seenStatus();
  let error = quickly.mkdirat(work, cstring(temporary), 0o700);
  if (error < 0) return error;
  error = takeAfter(union, { fd: upper, text: name }, temporary, status);
  if (error === 0) error = setOpaque(union, work, temporary);
  if (error === 0) error = setTimes(work, cstring(temporary), ...status.times);
  if (error === 0) error = quickly.renameat2(work, cstring(temporary), upper, cstring(name), RENAME_EXCHANGE);
  removeTree(work, temporary);
  return error;
}
