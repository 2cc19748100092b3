/** Sockets as descriptors, for what Node's own do not offer. @see unix(7), dup(2) */
import { closeSync } from 'node:fs';
import { addressBytes } from '../spec/ip.ts';
import { bind, check } from './ffi.ts';

const [AF_UNIX, AF_INET, AF_INET6] = [1, 2, 10];
const [SOCK_STREAM, SOCK_DGRAM, SOCK_CLOEXEC] = [1, 2, 0o2000000];
const [SOL_SOCKET, SO_REUSEADDR, IPPROTO_IPV6, IPV6_V6ONLY] = [1, 2, 41, 26];
const F_DUPFD_CLOEXEC = 1030;
/** sun_path with its final NUL; two bytes for the family stand before it. */
const PATH_SIZE = 108;

const socketCall = bind('int', 'socket', ['int', 'int', 'int']);
const connectCall = bind('int', 'connect', ['int', 'const void *', 'unsigned int']);
const bindCall = bind('int', 'bind', ['int', 'const void *', 'unsigned int']);
const listenCall = bind('int', 'listen', ['int', 'int']);
const setOption = bind('int', 'setsockopt', ['int', 'int', 'int', 'const void *', 'unsigned int']);
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

/** Could somebody listen there now? As the executor's `bind_port` does it. @see ip(7), ipv6(7) */
export function canBind(protocol: 'tcp' | 'udp', address: string, port: number): boolean {
  const bytes = addressBytes(address);
  const [family, type] = [bytes.length === 4 ? AF_INET : AF_INET6, protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM];
  const fd = socketCall(family, type | SOCK_CLOEXEC, 0);
  if (fd === -1) return false;
  const one = Buffer.of(1, 0, 0, 0);
  try {
    if (protocol === 'tcp') setOption(fd, SOL_SOCKET, SO_REUSEADDR, one, one.length);
    if (family === AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, one, one.length);
    const place = socketAddress(family, bytes, port);
    return bindCall(fd, place, place.length) === 0 && (protocol === 'udp' || listenCall(fd, 0) === 0);
  } finally {
    closeSync(fd);
  }
}

/** struct sockaddr_in, struct sockaddr_in6 */
function socketAddress(family: number, address: Buffer, port: number): Buffer {
  const head = Buffer.alloc(family === AF_INET ? 4 : 8);
  head.writeUInt16LE(family, 0);
  head.writeUInt16BE(port, 2);
  return Buffer.concat([head, address, Buffer.alloc(family === AF_INET ? 8 : 4)]);
}
