/** mknod(2): devices, fifos, and the overlay's whiteouts (character device 0:0). */
import { bind, check, cstring, printable } from './ffi.ts';

const mknod = bind('int', 'mknod', ['const void *', 'unsigned int', 'unsigned long']);

/** The kernel's packing of a device number. @see makedev(3) */
export function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & 0xfffff000n) << 32n) | ((low & 0xffffff00n) << 12n) | ((high & 0xfffn) << 8n) | (low & 0xffn);
}

/** `mode` holds the file type and the permissions. @throws SyscallError */
export function makeNode(path: string | Buffer, mode: number, major: number, minor: number): void {
  const what = () => `make the device ${printable(path)}`;
  check(mknod(cstring(path), mode, deviceNumber(major, minor)), 'mknod', what);
}
