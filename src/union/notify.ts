/** What the kernel is told unasked. */
import { allocate, quickly } from '../sys/quick.ts';
import { isDirectory, isUpper, type Union } from './union.ts';

const NOTIFY_INVAL_INODE = 2;
const memory = allocate(40);
/** `struct fuse_out_header`: length, what it is, 0 since it answers nothing. `struct fuse_notify_inval_inode_out`: node, offset, length; an
 *  offset of -1 means that the data it has is good, and a length of 0 all that is behind the offset. */
const words = new Uint32Array(memory.bytes.buffer, 0, 10);
words.set([memory.bytes.length, NOTIFY_INVAL_INODE]);

/** A node's attributes are not what the kernel has been told. Only for nodes that somebody is at, or that are above those: for one that
 *  the kernel is just giving up it would wait for us. */
export function attributesChanged(union: Union, node: number): void {
  notify(union, node, ALL_GOOD);
}

/** Nor is the listing of a directory: an entry has another inode number. */
export function entriesChanged(union: Union, directory: number): void {
  notify(union, directory, 0);
}

const ALL_GOOD = 0xffffffff;

function notify({ device }: Union, node: number, from: number): void {
  words[4] = node;
  words.fill(from, 6, 8);
  quickly.write(device, memory.address, memory.bytes.length);
}

/** A name of a node goes away. The kernel counts that; a file of a lower layer has as many links as before all the same, as overlayfs shows it. */
export function nameGoes(union: Union, node: number): void {
  if (!isDirectory(union, node) && !isUpper(union, node)) attributesChanged(union, node);
}
