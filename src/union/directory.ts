/** READDIR: what a merged directory has. */
import { quickly } from '../sys/quick.ts';
import { E } from './errno.ts';
import { MOST_DATA, output, outputWords, putEntry, putU64, requestNode, u32, u64 } from './exchange.ts';
import { type Entry, forgetListing, keepListing, type Listing, listingOf, placeAfter } from './listing.ts';
import { lookup } from './lookup.ts';
import { hasWhiteoutFiles } from './marks.ts';
import { buffer, cstring } from './memory.ts';
import { openToRead } from './names.ts';
import { DIRENT, ENTRY_OUT, OUT_HEADER, ROOT } from './protocol.ts';
import { look } from './status.ts';
import { directoryFd, forget, layersOf, type Union, UPPER } from './union.ts';
import { isWhiteout } from './whiteouts.ts';

/** Asked once: it is then never asked again, and keeps listings itself, until it changes them. So nobody here knows who is reading which directory,
 *  and what comes next must follow from the offset alone (listing.ts). Before Linux 5.1 it takes no for an answer to open(2). */
let isAnsweredNo = false;

export function refuseOpendir(): void {
  isAnsweredNo = true;
}

export function opendir(): number {
  if (isAnsweredNo) return E.NOSYS;
  putU64(0, 0);
  putU64(8, 0);
  return 16;
}

const DT = { CHR: 2, DIR: 4, REG: 8 } as const;

/** Names of a merged directory but `.` and `..`, whiteouts left out. @returns -errno */
export function mergedEntries(union: Union, node: number): Entry[] | number {
  const layers = layersOf(union, node);
  if (!union.nodes.isNamed(node)) return [];
  const entries: Entry[] = [];
  // Of one layer no name comes twice.
  const names = layers.length > 1 ? new Set<string>() : undefined;
  for (const layer of layers) {
    const fd = directoryFd(union, node, layer);
    const error = fd < 0 ? fd : readLayer(union, fd, layer, entries, names);
    if (error < 0) return error;
  }
  return entries;
}

/** Adds what one layer has. @param names those of the layers above, hidden ones too, and then of this one */
function readLayer(
  union: Union,
  directory: number,
  layer: number,
  entries: Entry[],
  names: Set<string> | undefined,
): number {
  const fd = openToRead(directory);
  if (fd < 0) return fd;
  const hasFiles = hasWhiteoutFiles(union, directory, '.');
  const { bytes } = buffer;
  const mark = union.marks[layer]! << 24;
  let length = quickly.getdents(fd, buffer.address, 0x10000);
  for (; length > 0; length = quickly.getdents(fd, buffer.address, 0x10000)) {
    for (let at = 0; at < length; at += bytes.readUInt16LE(at + 16)) {
      const name = bytes.toString('latin1', at + 19, bytes.indexOf(0, at + 19));
      if (isDot(name) || names?.has(name)) continue;
      names?.add(name);
      const type = bytes[at + 18]!;
      const mayHide = type === DT.CHR || (type === DT.REG && hasFiles);
      if (mayHide && look(directory, cstring(name)) === 0 && isWhiteout(union, directory, name)) continue;
      const [inodeLow, high] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
      entries.push({ name, type, inodeLow, inodeHigh: (high | mark) >>> 0 });
    }
  }
  quickly.close(fd);
  return Math.min(length, 0);
}

/** `struct fuse_read_in`: fh, offset, size. */
export function readdir(union: Union, plus: boolean): number {
  const node = requestNode();
  const offset = u64(8);
  const room = Math.min(u32(16), MOST_DATA);
  const listing = offset === 0 ? list(union, node) : (listingOf(node) ?? list(union, node));
  if (typeof listing === 'number') return listing;
  const { entries, offsets } = listing;
  let at = 0;
  for (let index = placeAfter(offsets, offset); index < entries.length; index++) {
    const entry = entries[index]!;
    const head = plus ? ENTRY_OUT : 0;
    const size = head + ((DIRENT + entry.name.length + 7) & ~7);
    if (at + size > room) break;
    if (plus) putPlus(union, node, entry, OUT_HEADER + at);
    else if (!isDot(entry.name)) settleInode(union, node, entry);
    putDirent(entry, OUT_HEADER + at + head, offsets[index]!);
    at += size;
  }
  if (at === 0) forgetListing(node);
  return at;
}

const isDot = (name: string): boolean => name === '.' || name === '..';

function list(union: Union, node: number): Listing | number {
  const entries = mergedEntries(union, node);
  if (typeof entries === 'number') return entries;
  const parent = node === ROOT || !union.nodes.isNamed(node) ? node : union.nodes.parent(node);
  const dot = (name: string, of: number): Entry => ({
    name,
    type: DT.DIR,
    inodeLow: union.nodes.inodeLow(of),
    inodeHigh: union.nodes.inodeHigh(of),
  });
  return keepListing(node, [dot('.', node), dot('..', parent)], entries);
}

/** The number that stat(2) shows too. What was copied up, and merged directories, have another one than the layer's own entry says. */
function settleInode(union: Union, parent: number, entry: Entry): void {
  const known = union.nodes.find(parent, entry.name);
  const layers = layersOf(union, parent);
  const node = known !== 0 || layers[0] !== UPPER ? known : lookup(union, parent, entry.name);
  if (node > 0) {
    entry.inodeLow = union.nodes.inodeLow(node);
    entry.inodeHigh = union.nodes.inodeHigh(node);
    if (known === 0) forget(union, node, 0); // the kernel has not been told of it
  }
}

function putPlus(union: Union, parent: number, entry: Entry, at: number): void {
  const node = isDot(entry.name) ? 0 : lookup(union, parent, entry.name);
  if (node > 0) {
    putEntry(union, node, at);
    entry.inodeLow = union.nodes.inodeLow(node);
    entry.inodeHigh = union.nodes.inodeHigh(node);
  } else outputWords.fill(0, at / 4, (at + ENTRY_OUT) / 4);
}

/** `struct fuse_dirent`: ino, off, namelen, type, name. */
function putDirent({ name, type, inodeLow, inodeHigh }: Entry, at: number, next: number): void {
  const word = at / 4;
  outputWords[word] = inodeLow;
  outputWords[word + 1] = inodeHigh;
  outputWords[word + 2] = next;
  outputWords[word + 3] = 0;
  outputWords[word + 4] = name.length;
  outputWords[word + 5] = type;
  output.bytes.fill(0, at + DIRENT + (name.length & ~7), at + ((DIRENT + name.length + 7) & ~7));
  output.bytes.write(name, at + DIRENT, 'latin1');
}
