/**
 * FUSE_PASSTHROUGH: the kernel is given a file and reads, writes and maps that by itself; no request comes here. For real root only.
 * @see Documentation/filesystems/fuse-passthrough.rst
 */
import { allocate, quickly } from '../sys/quick.ts';

/** `_IOW(229, 1, struct fuse_backing_map)`: descriptor, flags, padding; and `_IOW(229, 2, uint32_t)`. */
const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

const argument = allocate(16);

/** `/dev/fuse`, or -1 where the kernel does not do it. */
let device = -1;

export function usePassthrough(fuse: number): void {
  device = fuse;
}

export const isPassthroughUsed = (): boolean => device >= 0;

/** @returns a number for answers to OPEN, or 0 where the kernel does not take the file: then reads and writes come here */
export function lendFile(fd: number): number {
  if (device < 0) return 0;
  argument.bytes.fill(0);
  argument.bytes.writeInt32LE(fd, 0);
  const number = quickly.ioctl(device, FUSE_DEV_IOC_BACKING_OPEN, argument.address);
  if (number > 0) return number;
  device = -1; // root of a user namespace only, or layers on an overlay: it would be refused each time
  return 0;
}

export function takeBack(number: number): void {
  argument.bytes.writeUInt32LE(number, 0);
  quickly.ioctl(device, FUSE_DEV_IOC_BACKING_CLOSE, argument.address);
}
