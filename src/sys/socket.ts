/** Sockets as descriptors, for what Node's own do not offer. @see unix(7), dup(2) */
import { closeSync } from 'node:fs';
import { bind, check } from './ffi.ts';

const [AF_UNIX, SOCK_STREAM, SOCK_CLOEXEC] = [1, 1, 0o2000000];
const F_DUPFD_CLOEXEC = 1030;
/** sun_path with its final NUL; two bytes for the family stand before it. */
const PATH_SIZE = 108;

const socketCall = bind('int', 'socket', ['int', 'int', 'int']);
const connectCall = bind('int', 'connect', ['int', 'const void *', 'unsigned int']);
const fcntlCall = bind('int', 'fcntl', ['int', 'int', 'int']);

/** A second descriptor of the same socket, close-on-exec. The connection lasts until both are closed. */
export function duplicate(fd: number): number {
  return check(fcntlCall(fd, F_DUPFD_CLOEXEC, 0), 'fcntl', () => 'duplicate a descriptor');
}

/** A stream connected to whoever listens at `path`, at most 107 bytes long.
 *  @throws SyscallError ECONNREFUSED when nobody does, ENOENT without the file */
export function connectUnix(path: string): number {
  const address = Buffer.alloc(2 + PATH_SIZE);
  if (Buffer.byteLength(path) >= PATH_SIZE) throw new RangeError(`socket path ${path} is too long`);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, 2);
  const fd = check(socketCall(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), 'socket', () => 'make a socket');
  try {
    check(connectCall(fd, address, address.length), 'connect', () => `connect to ${path}`);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
