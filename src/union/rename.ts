/** RENAME and RENAME2. */
import { quickly } from '../sys/quick.ts';
import { copyUp } from './copy-up.ts';
import { RENAME_EXCHANGE } from './create.ts';
import { E } from './errno.ts';
import { nameAt, requestNode, u32, u64 } from './exchange.ts';
import { noteName } from './known-names.ts';
import { inUpper, isBelow, lookup } from './lookup.ts';
import { setImpure } from './marks.ts';
import { cstring } from './memory.ts';
import { entriesChanged, nameGoes } from './notify.ts';
import { checkEmpty, clearDirectory, makeOpaque } from './remove.ts';
import { renameLeaving } from './rename-leaving.ts';
import {
  directoryFd,
  hold,
  isDirectory,
  isKnownAs,
  isUpper,
  isWritable,
  layersOf,
  removeName,
  type Union,
  UPPER,
} from './union.ts';
import { announceWhiteout, seenForm } from './whiteouts.ts';

const RENAME_NOREPLACE = 1;

/** A name in a directory. */
interface Place {
  parent: number;
  name: string;
  /** What is there; 0 for nothing. */
  node: number;
}

/** `struct fuse_rename_in`: newdir; the two names. */
export function rename(union: Union): number {
  return renameNames(union, requestNode(), u64(0), 8, 0);
}

/** `struct fuse_rename2_in`: newdir, flags; the two names. */
export function rename2(union: Union): number {
  return renameNames(union, requestNode(), u64(0), 16, u32(8));
}

function renameNames(union: Union, oldParent: number, newParent: number, at: number, flags: number): number {
  if (!isWritable(union)) return E.ROFS;
  if ((flags & ~(RENAME_EXCHANGE | RENAME_NOREPLACE)) !== 0) return E.INVAL;
  const oldName = nameAt(at);
  const newName = nameAt(at + oldName.length + 1);
  const from = find(union, oldParent, oldName);
  if (from.node < 0) return from.node;
  const to = find(union, newParent, newName);
  if (to.node < 0 && to.node !== E.NOENT) return to.node;
  if (to.node === E.NOENT) to.node = 0;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if (exchange && to.node === 0) return E.NOENT;
  if (to.node !== 0 && (flags & RENAME_NOREPLACE) !== 0) return E.EXIST;
  const refusal =
    canMove(union, from.node) || (exchange ? canMove(union, to.node) : 0) || canReplace(union, from, to, exchange);
  if (refusal < 0) return refusal;
  const prepared = prepare(union, from, to, exchange);
  return prepared < 0 ? prepared : move(union, from, to, exchange);
}

const find = (union: Union, parent: number, name: string): Place => ({
  parent,
  name,
  node: lookup(union, parent, name),
});

/** Only a directory that is in the upper layer alone can go elsewhere: of the others a part would stay. As the kernel with redirect_dir=off. */
function canMove(union: Union, node: number): number {
  if (!isDirectory(union, node)) return 0;
  const layers = layersOf(union, node);
  return layers.length === 1 && layers[0] === UPPER ? 0 : E.XDEV;
}

function canReplace(union: Union, from: Place, to: Place, exchange: boolean): number {
  if (exchange || to.node === 0) return 0;
  if (!isDirectory(union, from.node)) return isDirectory(union, to.node) ? E.ISDIR : 0;
  return checkEmpty(union, to.node);
}

/** All that takes part comes into the upper layer. */
function prepare(union: Union, from: Place, to: Place, exchange: boolean): number {
  const error = copyUp(union, from.node) || copyUp(union, to.parent) || copyUp(union, from.parent);
  return error < 0 || !exchange ? error : copyUp(union, to.node);
}

function move(union: Union, from: Place, to: Place, exchange: boolean): number {
  const source = directoryFd(union, from.parent, UPPER);
  const target = directoryFd(union, to.parent, UPPER);
  if (source < 0 || target < 0) return Math.min(source, target);
  if (!exchange && to.node !== 0 && isDirectory(union, to.node) && isUpper(union, to.node)) {
    const error = clearDirectory(union, target, to.name);
    if (error < 0) return error;
  }
  const opaque = hideBelow(union, source, from, to) || (exchange ? hideBelow(union, target, to, from) : 0);
  if (opaque < 0) return opaque;
  const { way, cleans } = howToMove(union, source, target, from, to, exchange);
  if (!exchange && to.node !== 0) holdIfNamed(union, to);
  noteName(to.parent, UPPER, to.name);
  markImpure(union, from, to.parent, target);
  if (exchange) markImpure(union, to, from.parent, source);
  const names = [source, from.name, target, to.name] as const;
  const error =
    way === 'leaving'
      ? renameLeaving(union, ...names, isDirectory(union, from.node))
      : quickly.renameat2(
          source,
          cstring(from.name),
          target,
          cstring(to.name),
          way === 'exchange' ? RENAME_EXCHANGE : 0,
        );
  if (error < 0) return error;
  if (cleans) removeName(source, from.name);
  renameNodes(union, from, to, exchange);
  if (from.parent !== to.parent) {
    parentChanged(union, from.node);
    if (exchange) parentChanged(union, to.node);
  }
  if (!exchange && to.node !== 0) nameGoes(union, to.node);
  return 0;
}

/** A directory that comes among merged ones must not show what is below at its new name. */
function hideBelow(union: Union, directory: number, moved: Place, to: Place): number {
  const isMerged = layersOf(union, to.parent).length > 1;
  return isDirectory(union, moved.node) && isMerged ? makeOpaque(union, directory, moved.name) : 0;
}

/** Whether the old name needs a whiteout, and what happens to one at the new name. */
function howToMove(
  union: Union,
  source: number,
  target: number,
  from: Place,
  to: Place,
  exchange: boolean,
): { way: 'plain' | 'exchange' | 'leaving'; cleans: boolean } {
  if (exchange) return { way: 'exchange', cleans: false };
  const isWhiteout = inUpper(union, target, to.name) === 'whiteout';
  const form = seenForm();
  if (isBelow(union, from.parent, from.name)) {
    if (!isWhiteout) return { way: 'leaving', cleans: false };
    announceWhiteout(union, source, form);
    return { way: 'exchange', cleans: false };
  }
  const cleans = isWhiteout && isDirectory(union, from.node);
  return { way: cleans ? 'exchange' : 'plain', cleans };
}

/** What keeps the inode number of a layer below is looked for where it is now, too. */
function markImpure(union: Union, { node }: Place, parent: number, directory: number): void {
  if (!isDirectory(union, node)) setImpure(union, parent, directory);
}

const isPrimary = (union: Union, { node, parent, name }: Place): boolean => isKnownAs(union, node, parent, name);

function holdIfNamed(union: Union, place: Place): void {
  if (isPrimary(union, place)) hold(union, place.node);
}

/** What the kernel keeps of its listing has the number of the old one, as `..`. */
function parentChanged(union: Union, node: number): void {
  if (isDirectory(union, node)) entriesChanged(union, node);
}

function renameNodes(union: Union, from: Place, to: Place, exchange: boolean): void {
  const { nodes } = union;
  const [first, second] = [isPrimary(union, from), to.node !== 0 && isPrimary(union, to)];
  if (second) nodes.unname(to.node);
  if (first) nodes.rename(from.node, to.parent, to.name);
  if (exchange && second) nodes.rename(to.node, from.parent, from.name);
}
