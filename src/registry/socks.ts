/** Connections through a SOCKS5 proxy, which looks up the names itself. @see RFC 1928; RFC 1929, name and password */
import type { Agent } from 'node:http';
import { isIPv4, isIPv6, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

const REFUSALS: readonly string[] = [
  'general failure',
  'not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
];

/** Makes the agent connect through the proxy.
 *  @param proxy `socks5://[NAME:PASSWORD@]HOST[:PORT]`; the port is 1080 when absent @param timeout milliseconds for the proxy's answers */
export function connectThrough(agent: Agent, proxy: URL, secure: boolean, timeout: number): void {
  agent.createConnection = (options, done) => {
    const { host, port, ...settings } = options as ConnectionOptions;
    tunnel(proxy, host ?? '', Number(port), timeout).then(
      (socket) => done?.(null, secure ? process.getBuiltinModule('node:tls').connect({ ...settings, socket }) : socket),
      (error: Error) => done?.(error, undefined as never),
    );
    return undefined;
  };
}

async function tunnel(proxy: URL, host: string, port: number, timeout: number): Promise<Socket> {
  const { connect } = process.getBuiltinModule('node:net');
  const server = proxy.hostname.replace(/^\[|\]$/g, '');
  const socket = connect({ host: server, port: Number(proxy.port || 1080) });
  const fail = (reason: string): Error =>
    Object.assign(new Error(`SOCKS proxy ${proxy.host}: ${reason}`), { code: 'EPROXY' });
  socket.setTimeout(timeout, () => socket.destroy(fail('no answer')));
  try {
    const read = reader(socket, () => fail('it ended the connection'));
    await authenticate(socket, read, proxy, fail);
    socket.write(Buffer.concat([Buffer.from([5, 1, 0]), address(host), Buffer.from([port >> 8, port & 0xff])]));
    const [version, reply = 0, , type] = await read(4);
    if (version !== 5) throw fail('it does not speak SOCKS5');
    if (reply !== 0) throw fail(REFUSALS[reply - 1] ?? `error ${reply}`);
    // The address that it uses itself, which nobody asked for: read to its end.
    await read((type === 4 ? 16 : type === 1 ? 4 : (await read(1))[0]!) + 2);
    socket.setTimeout(0).removeAllListeners('timeout');
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function authenticate(
  socket: Socket,
  read: (size: number) => Promise<Buffer>,
  proxy: URL,
  fail: (reason: string) => Error,
): Promise<void> {
  const [name, password] = [proxy.username, proxy.password].map((part) => Buffer.from(decodeURIComponent(part)));
  const methods = name!.length > 0 ? [0, 2] : [0];
  socket.write(Buffer.from([5, methods.length, ...methods]));
  const [version, method] = await read(2);
  if (version !== 5) throw fail('it does not speak SOCKS5');
  if (method === 0) return;
  if (method !== 2 || name!.length === 0) throw fail('it wants a name and a password');
  socket.write(Buffer.concat([Buffer.from([1, name!.length]), name!, Buffer.from([password!.length]), password!]));
  const [, status] = await read(2);
  if (status !== 0) throw fail('the name or the password is wrong');
}

function address(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from([1, ...host.split('.').map(Number)]);
  if (isIPv6(host)) return Buffer.concat([Buffer.from([4]), ipv6Bytes(host)]);
  const name = Buffer.from(host);
  return Buffer.concat([Buffer.from([3, name.length]), name]);
}

/** @param host as URL has it: groups in hexadecimal, `::` for those that are zero */
function ipv6Bytes(host: string): Buffer {
  const [head = [], tail = []] = host.split('::').map((part) => part.split(':').filter(Boolean));
  const bytes = Buffer.alloc(16);
  for (const [index, group] of head.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  for (const [index, group] of tail.reverse().entries())
    bytes.writeUInt16BE(Number.parseInt(group, 16), 14 - index * 2);
  return bytes;
}

/** Gives exactly so many bytes of what the socket gives; the rest stays in it. */
function reader(socket: Socket, ended: () => Error): (size: number) => Promise<Buffer> {
  let failure: Error | undefined;
  socket.on('error', (error) => {
    failure = error;
  });
  return async (size) => {
    let held = Buffer.alloc(0);
    for (;;) {
      held = Buffer.concat([held, (socket.read() as Buffer | null) ?? Buffer.alloc(0)]);
      if (held.length >= size) break;
      if (socket.destroyed || socket.readableEnded) throw failure ?? ended();
      await somethingNew(socket);
    }
    if (held.length > size) socket.unshift(held.subarray(size));
    return held.subarray(0, size);
  };
}

function somethingNew(socket: Socket): Promise<void> {
  const events = ['readable', 'end', 'close'];
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) socket.removeListener(event, done);
      resolve();
    };
    for (const event of events) socket.on(event, done);
  });
}
