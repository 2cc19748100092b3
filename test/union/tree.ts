/** A directory as text, a line a file: what two of them differ in is seen at once. */
import { allocate, quickly } from '../../src/sys/quick.ts';
import { cstring } from '../../src/union/memory.ts';
import { shown } from './calls.ts';
import { statOf } from './status.ts';

const memory = allocate(0x40000);

/** @param root descriptor @param skip attributes that are left out, as `NAME=HEX` */
export function describeTree(root: number, skip: (attribute: string) => boolean): string[] {
  const lines: string[] = [];
  visit(root, '.', lines, skip);
  return lines.sort();
}

function visit(root: number, path: string, lines: string[], skip: (attribute: string) => boolean): void {
  const status = statOf(root, path, 0x100);
  if (typeof status === 'number') {
    lines.push(`${path} error ${status}`);
    return;
  }
  const type = status.mode & 0o170000;
  const link = type === 0o120000 ? ` -> ${linkOf(root, path)}` : '';
  const data = type === 0o100000 ? ` ${dataOf(root, path)}` : '';
  // Whiteouts may be names of one file; and they have two forms.
  const isWhiteout =
    (type === 0o020000 && status.device === '0:0') ||
    (type === 0o100000 &&
      status.size === 0 &&
      / trusted\.overlay\.whiteout=/.test(` ${xattrsOf(root, path, () => false)}`));
  lines.push(isWhiteout ? `${path} whiteout` : `${path} ${shown(status)}${link}${data} ${xattrsOf(root, path, skip)}`);
  if (type === 0o040000) for (const name of namesOf(root, path)) visit(root, `${path}/${name}`, lines, skip);
}

function linkOf(root: number, path: string): string {
  const length = quickly.readlinkat(root, cstring(path), memory.address, 4096);
  return memory.bytes.toString('latin1', 0, Math.max(length, 0));
}

function dataOf(root: number, path: string): string {
  const fd = quickly.openat(root, cstring(path), 0, 0);
  if (fd < 0) return `error ${fd}`;
  let hash = 0;
  for (;;) {
    const length = quickly.read(fd, memory.address, 0x40000);
    if (length <= 0) break;
    for (let i = 0; i < length; i++) hash = (Math.imul(hash, 31) + memory.bytes[i]!) | 0;
  }
  quickly.close(fd);
  return `#${hash}`;
}

function xattrsOf(root: number, path: string, skip: (attribute: string) => boolean): string {
  const real = `/proc/self/fd/${root}/${path}`;
  const length = quickly.llistxattr(cstring(real), memory.address, 0x10000);
  if (length <= 0) return '';
  const names = memory.bytes
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort();
  return names
    .map((name) => {
      const size = quickly.lgetxattr(cstring(real), cstring(name), memory.address, 0x10000);
      return `${name}=${size < 0 ? size : memory.bytes.toString('hex', 0, size)}`;
    })
    .filter((attribute) => !skip(attribute))
    .join(' ');
}

function namesOf(root: number, path: string): string[] {
  const fd = quickly.openat(root, cstring(path), 0o200000, 0);
  const found: string[] = [];
  for (;;) {
    const length = quickly.getdents(fd, memory.address, 0x8000);
    if (length <= 0) break;
    for (let i = 0; i < length; i += memory.bytes.readUInt16LE(i + 16)) {
      const name = memory.bytes.toString('latin1', i + 19, memory.bytes.indexOf(0, i + 19));
      if (name !== '.' && name !== '..') found.push(name);
    }
  }
  quickly.close(fd);
  return found;
}
