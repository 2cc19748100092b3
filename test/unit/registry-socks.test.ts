import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { TsboxError } from '../../src/errors.ts';
import { parsePlatform } from '../../src/spec/platform.ts';
import { parseReference } from '../../src/spec/reference.ts';
import { requires } from '../requires.ts';
import { certificate, client, directory, HASTY, manifest, sendDocument, serve } from './registry-fixture.ts';

const AMD64 = parsePlatform('linux/amd64');
const image = manifest();

interface Proxy {
  /** `127.0.0.1:40123` */
  host: string;
  /** `registry.test:5000`, `1.2.3.4:80`, `[fd00::1]:443` */
  asked: string[];
}

interface Behaviour {
  /** `name:password` to ask for. */
  login?: string;
  /** Refuse each connection with this reply. */
  reply?: number;
  /** Byte by byte, as a slow network gives it. */
  slowly?: boolean;
}

async function listen(context: TestContext, each: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    each(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A SOCKS5 proxy that leads every name to one server. @see RFC 1928 */
async function socksProxy(context: TestContext, to: string, behaviour: Behaviour = {}): Promise<Proxy> {
  const asked: string[] = [];
  const host = await listen(context, (socket) => void talk(socket).catch(() => socket.destroy()));
  return { host, asked };

  async function talk(socket: Socket): Promise<void> {
    const source = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let held = Buffer.alloc(0);
    const take = async (size: number): Promise<Buffer> => {
      while (held.length < size) {
        const { value, done } = await source.next();
        if (done === true) throw new Error('ended');
        held = Buffer.concat([held, value]);
      }
      const taken = held.subarray(0, size);
      held = held.subarray(size);
      return taken;
    };
    const send = async (...bytes: number[]): Promise<void> => {
      if (behaviour.slowly !== true) return void socket.write(Buffer.from(bytes));
      for (const byte of bytes) {
        socket.write(Buffer.from([byte]));
        await new Promise((wake) => setTimeout(wake, 5));
      }
    };
    const counted = async (): Promise<string> => (await take((await take(1))[0]!)).toString();
    assert.equal((await take(1))[0], 5);
    const methods = [...(await take((await take(1))[0]!))];
    const method = behaviour.login === undefined ? 0 : 2;
    if (!methods.includes(method)) return send(5, 255);
    await send(5, method);
    if (method === 2) {
      await take(1);
      const right = `${await counted()}:${await counted()}` === behaviour.login;
      await send(1, right ? 0 : 1);
      if (!right) return void socket.end();
    }
    const [, command, , type] = await take(4);
    assert.equal(command, 1);
    const name =
      type === 3
        ? await counted()
        : type === 1
          ? [...(await take(4))].join('.')
          : `[${new URL(`http://[${(await take(16)).toString('hex').replace(/(....)(?=.)/g, '$1:')}]`).hostname.slice(1, -1)}]`;
    asked.push(`${name}:${(await take(2)).readUInt16BE()}`);
    // Its own address: a name, so that all forms of an answer come up.
    await send(5, behaviour.reply ?? 0, 0, 3, 5, ...Buffer.from('proxy'), 0, 0);
    if (behaviour.reply !== undefined) return void socket.end();
    const [address, port] = to.split(':');
    const onward = connect(Number(port), address, () => {
      onward.write(held);
      onward.pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
    for (let next = await source.next(); next.done !== true; next = await source.next()) onward.write(next.value);
    onward.end();
  }
}

async function failure(promise: Promise<unknown>): Promise<TsboxError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, `not a TsboxError: ${String(error)}`);
  return error;
}

const insecure = (host: string) => new Map([[host, { mirrors: [], insecure: true }]]);

test('socks: the proxy of the tests is one for curl as well', async (context) => {
  if (!requires(context, 'command:curl')) return;
  const server = await serve(context, (_, response) => response.end('through'));
  const proxy = await socksProxy(context, server.host, { login: 'a:b' });
  const args = ['-sS', '--noproxy', '', '--proxy', `socks5h://a:b@${proxy.host}`, 'http://registry.test:5000/'];
  const { stdout } = await promisify(execFile)('curl', args);
  assert.deepEqual([stdout, proxy.asked], ['through', ['registry.test:5000']]);
});

test('socks: plain http and https go through, the proxy looks up the name', async (context) => {
  if (!requires(context, 'command:openssl')) return;
  const plain = await serve(context, (_, response) => sendDocument(response, image));
  const secure = await serve(
    context,
    (_, response) => sendDocument(response, image),
    createHttpsServer(certificate(directory(context), 'registry.test')),
  );
  for (const server of [plain, secure]) {
    for (const [slowly, login] of [
      [false, undefined],
      [true, 'alice:s3:cr@t'],
    ] as const) {
      const proxy = await socksProxy(context, server.host, { slowly, ...(login !== undefined && { login }) });
      const user = login === undefined ? '' : 'alice:s3%3Acr%40t@';
      const url = `socks5://${user}${proxy.host}`;
      for (const [environment, host] of [
        [{ ALL_PROXY: url }, 'registry.test:5000'],
        [{ HTTP_PROXY: url, HTTPS_PROXY: url }, '10.1.2.3:5000'],
        [{ ALL_PROXY: url }, '[fd00::1:2]:5000'],
      ] as const) {
        // https is tried first and the plain server does not speak it.
        const config = insecure(host);
        const registry = client(context, { environment, config });
        const from = parseReference(`${host}/x:1`);
        for (let times = 0; times < 2; times++) {
          assert.equal((await registry.resolveManifest(from, AMD64)).digest, image.digest, host);
        }
        assert.equal(proxy.asked.at(-1), host);
      }
    }
  }
  assert.equal(plain.seen.length, 12);
  assert.equal(secure.seen.length, 12);
});

test('socks: a proxy that refuses, lies or says nothing is named', async (context) => {
  const server = await serve(context, (_, response) => sendDocument(response, image));
  const reply = (code: number) => socksProxy(context, server.host, { reply: code });
  const login = await socksProxy(context, server.host, { login: 'a:b' });
  const silent = `socks5://${await listen(context, () => {})}`;
  const cases: [string, RegExp][] = [
    [`socks5://${(await reply(5)).host}`, /connection refused/],
    [`socks5://${(await reply(2)).host}`, /not allowed by its rules/],
    [`socks5://${(await reply(99)).host}`, /error 99/],
    [`socks5://${login.host}`, /it wants a name and a password/],
    [`socks5://a:wrong@${login.host}`, /the name or the password is wrong/],
    [`socks5://${server.host}`, /it does not speak SOCKS5|it ended the connection/],
    [silent, /no (?:answer|connection)/],
    [`socks5://${await listen(context, (socket) => socket.end())}`, /it ended the connection/],
    [`socks5://${await listen(context, (socket) => void socket.write('HTTP/1.1 400'))}`, /it does not speak SOCKS5/],
    ['socks5://127.0.0.1:1', /ECONNREFUSED/],
  ];
  for (const [proxy, message] of cases) {
    const environment = { ALL_PROXY: proxy };
    const registry = client(context, { environment, ...(proxy === silent && { timeouts: HASTY }) });
    const error = await failure(registry.resolveManifest(parseReference('registry.test:5000/x:1'), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_REGISTRY', proxy);
    assert.match(error.message, message, proxy);
    assert.match(error.message, /^GET https:\/\/registry\.test:5000/);
  }
});
