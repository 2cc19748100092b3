/** A DNS server for a test, over UDP and TCP: what it says is the test's choice, and what it was asked is on record. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

export interface NameServer {
  /** `udp big.example 1`, in the order in which it was asked. */
  asked: string[];
  close(): void;
}

/** IPv4 addresses of a name; a number is an error code; undefined: no answer at all. */
export type Says = (name: string, over: 'udp' | 'tcp') => string[] | number | undefined;

const HEADER = 12;
const [RESPONSE, AVAILABLE, TRUNCATED] = [0x8000, 0x0080, 0x0200];

function question(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER;
  for (let size = message[at]!; size !== 0; size = message[at]!) {
    labels.push(message.toString('latin1', at + 1, at + 1 + size));
    at += 1 + size;
  }
  return { name: labels.join('.'), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function record(address: string): Buffer {
  const bytes = Buffer.from([0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)]);
  return bytes;
}

function answer(message: Buffer, said: string[] | number, limit: number): Buffer {
  const { end, type } = question(message);
  const records = typeof said === 'number' || type !== 1 ? [] : said.map(record);
  const fitting = records.slice(0, Math.floor((limit - end) / 16));
  const head = Buffer.from(message.subarray(0, HEADER));
  const cut = fitting.length < records.length ? TRUNCATED : 0;
  head.writeUInt16BE(
    RESPONSE | AVAILABLE | cut | (message.readUInt16BE(2) & 0x0100) | (typeof said === 'number' ? said : 0),
    2,
  );
  head.writeUInt16BE(fitting.length, 6);
  head.writeUInt16BE(0, 8);
  head.writeUInt16BE(0, 10);
  return Buffer.concat([head, message.subarray(HEADER, end), ...fitting]);
}

/** Listens at port 53 of the address, in the network namespace of the process. */
export async function nameServer(address: string, says: Says): Promise<NameServer> {
  const asked: string[] = [];
  const reply = (message: Buffer, over: 'udp' | 'tcp'): Buffer | undefined => {
    const { name, type } = question(message);
    asked.push(`${over} ${name} ${type}`);
    const said = says(name.toLowerCase(), over);
    return said === undefined ? undefined : answer(message, said, over === 'udp' ? 512 : 65535);
  };
  const udp: Socket = createSocket('udp4', (message, from) => {
    const bytes = reply(message, 'udp');
    if (bytes !== undefined) udp.send(bytes, from.port, from.address);
  });
  const tcp: Server = createServer((socket) => {
    let all = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (part: Buffer) => {
      all = Buffer.concat([all, part]);
      while (all.length >= 2 && all.length >= 2 + all.readUInt16BE(0)) {
        const bytes = reply(all.subarray(2, 2 + all.readUInt16BE(0)), 'tcp');
        all = all.subarray(2 + all.readUInt16BE(0));
        if (bytes === undefined) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(bytes.length);
        socket.write(Buffer.concat([length, bytes]));
      }
    });
  });
  udp.bind(53, address);
  tcp.listen(53, address);
  await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
  return {
    asked,
    close: () => {
      udp.close();
      tcp.close();
    },
  };
}
