/** mknod(2): devices, fifos, and the overlay's whiteouts (character device 0:0). */
import { statSync } from 'node:fs';
import { bind, check, cstring, printable } from './ffi.ts';
import { refusal } from './node-error.ts';

const mknod = bind('int', 'mknod', ['const void *', 'unsigned int', 'unsigned long']);

/** The kernel's packing of a device number. @see makedev(3) */
export function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & 0xfffff000n) << 32n) | ((low & 0xffffff00n) << 12n) | ((high & 0xfffn) << 8n) | (low & 0xffn);
}

/** The numbers of the device that a path leads to. @throws SyscallError */
export function deviceNumbers(path: string): { major: number; minor: number } {
  let rdev: bigint;
  try {
    rdev = statSync(path, { bigint: true }).rdev;
  } catch (error) {
    throw refusal(`stat ${path}`, error);
  }
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}

/** `mode` holds the file type and the permissions. @throws SyscallError */
export function makeNode(path: string | Buffer, mode: number, major: number, minor: number): void {
  const what = () => `make the device ${printable(path)}`;
  check(mknod(cstring(path), mode, deviceNumber(major, minor)), 'mknod', what);
}
