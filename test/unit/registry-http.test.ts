import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { isPassing } from '../../src/registry/network-error.ts';
import { proxyFor } from '../../src/registry/proxy.ts';
import { backoff, retryAfter } from '../../src/registry/retry.ts';
import { parsePlatform } from '../../src/spec/platform.ts';
import { parseReference } from '../../src/spec/reference.ts';
import { requires } from '../requires.ts';
import {
  certificate,
  client,
  directory,
  HASTY,
  manifest,
  reference,
  sendDocument,
  serve,
  type TestServer,
} from './registry-fixture.ts';

const AMD64 = parsePlatform('linux/amd64');
const image = manifest();
const credentials = async () => ({ username: 'alice', password: 'secret' });
const answer: RequestListener = (_, response) => sendDocument(response, image);

async function failure(promise: Promise<unknown>): Promise<TsboxError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, `not a TsboxError: ${String(error)}`);
  return error;
}

function basicThen(then: RequestListener): RequestListener {
  return (request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    } else then(request, response);
  };
}

test('http: a redirect is followed, and credentials do not go along to another server', async (context) => {
  const storage = await serve(context, answer);
  const server = await serve(
    context,
    basicThen((request, response) => {
      if (request.url?.startsWith('/v2/')) response.writeHead(307, { location: '/moved' }).end();
      else response.writeHead(302, { location: `http://${storage.host}/store?X-Signature=1` }).end();
    }),
  );
  const found = await client(context, { credentials }).resolveManifest(reference(server), AMD64);
  assert.equal(found.digest, image.digest);
  assert.equal(storage.seen[0]?.headers.authorization, undefined);
  assert.equal(storage.seen[0]?.url, '/store?X-Signature=1');
  assert.ok(server.seen.at(-1)?.headers.authorization?.startsWith('Basic '), 'the same server still gets them');
});

test('http: credentials do not come back when the other server redirects back', async (context) => {
  const storage: TestServer = await serve(context, (_, response) => {
    response.writeHead(302, { location: `http://${server.host}/back` }).end();
  });
  const server: TestServer = await serve(context, (request, response) => {
    if (request.url === '/back') return sendDocument(response, image);
    if (request.headers.authorization === undefined) {
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    }
    response.writeHead(302, { location: `http://${storage.host}/` }).end();
  });
  await client(context, { credentials }).resolveManifest(reference(server), AMD64);
  assert.equal(server.seen.at(-1)?.headers.authorization, undefined);
});

test('http: a challenge from the server of a redirect gets no credentials', async (context) => {
  const storage = await serve(context, (_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="give"' }).end();
  });
  const server = await serve(context, (_, response) => {
    response.writeHead(302, { location: `http://${storage.host}/x` }).end();
  });
  const error = await failure(client(context, { credentials }).resolveManifest(reference(server), AMD64));
  assert.equal(error.code, 'ERR_TSBOX_UNAUTHORIZED');
  assert.ok([...storage.seen, ...server.seen].every(({ headers }) => headers.authorization === undefined));
});

test('http: redirects in a circle, without end or to nowhere are errors', async (context) => {
  const cases: [RequestListener, RegExp][] = [
    [(q, r) => r.writeHead(302, { location: q.url ?? '' }).end(), /redirected in a circle by/],
    [(q, r) => r.writeHead(302, { location: q.url === '/a' ? '/b' : '/a' }).end(), /redirected in a circle by/],
    [(q, r) => r.writeHead(307, { location: `${q.url}x` }).end(), /redirected more than 10 times/],
    [(_, r) => r.writeHead(302, { location: 'file:///etc/passwd' }).end(), /redirected to file:/],
    [(_, r) => r.writeHead(302, { location: 'http://[' }).end(), /redirected to what is no URL/],
  ];
  for (const [redirect, message] of cases) {
    const server = await serve(context, redirect);
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_REGISTRY');
    assert.match(error.message, message);
    assert.ok(server.seen.length <= 12);
  }
});

test('http: nobody there is told at once, with a hint', async (context) => {
  const started = performance.now();
  const registry = client(context, { retry: { attempts: 5, delay: 1000 } });
  const error = await failure(registry.resolveManifest(parseReference('127.0.0.1:1/x'), AMD64));
  assert.equal(error.code, 'ERR_TSBOX_REGISTRY');
  assert.equal(error.message, 'GET http://127.0.0.1:1/v2/x/manifests/latest: ECONNREFUSED (Connection refused)');
  assert.match(error.hint ?? '', /cannot be reached/);
  assert.equal((error.cause as NodeJS.ErrnoException).code, 'ECONNREFUSED');
  const unknown = await failure(registry.resolveManifest(parseReference('nowhere.invalid/x'), AMD64));
  assert.match(unknown.message, /^GET https:\/\/nowhere\.invalid\/v2\/x\/manifests\/latest: (ENOTFOUND|EAI_AGAIN) \(/);
  assert.ok(performance.now() - started < 5000);
});

test('http: a server that accepts and says nothing ends in a time-out', async (context) => {
  const silent = createTcpServer();
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const sockets: { destroy(): void }[] = [];
  silent.on('connection', (socket) => sockets.push(socket));
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const { port } = silent.address() as AddressInfo;
  const hasty = client(context, { timeouts: HASTY });
  const error = await failure(hasty.resolveManifest(parseReference(`127.0.0.1:${port}/x`), AMD64));
  assert.match(error.message, /ETIMEDOUT \(no answer for 0\.2 s\)/);
});

test('http: what does not speak HTTP is told', async (context) => {
  const ssh = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.end('SSH-2.0-OpenSSH_9.2\r\n');
  });
  await new Promise<void>((resolve) => ssh.listen(0, '127.0.0.1', resolve));
  context.after(() => ssh.close());
  const { port } = ssh.address() as AddressInfo;
  const error = await failure(client(context).resolveManifest(parseReference(`127.0.0.1:${port}/x`), AMD64));
  assert.match(error.message, /HPE_|ECONNRESET/);
  assert.equal(isPassing(error), /ECONNRESET/.test(error.message));
});

test('http: a loopback registry may speak https with any certificate', async (context) => {
  if (!requires(context, 'command:openssl')) return;
  const server = await serve(context, answer, createHttpsServer(certificate(directory(context), 'registry.test')));
  const found = await client(context).resolveManifest(reference(server), AMD64);
  assert.equal(found.digest, image.digest);
});

test('http: elsewhere the certificate must be trusted, by certs.d, by SSL_CERT_FILE, or the host be insecure', async (context) => {
  if (!requires(context, 'command:openssl')) return;
  const at = directory(context);
  const server = await serve(context, answer, createHttpsServer(certificate(at, 'registry.test')));
  // A proxy that leads every name to the test's server: the name is no loopback name then, and nothing leaves the machine.
  const connects: string[] = [];
  const proxy = await serve(context, answer, createHttpServer());
  proxy.server.on('connect', (request, socket) => {
    connects.push(request.url ?? '');
    const [host = '', port = ''] = server.host.split(':');
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    for (const each of [onward, socket]) each.on('error', () => onward.destroy());
    context.after(() => onward.destroy());
  });
  const environment = { HTTPS_PROXY: `http://${proxy.host}` };
  const from = parseReference('registry.test:5000/x:1');
  const untrusted = await failure(client(context, { environment }).resolveManifest(from, AMD64));
  assert.match(untrusted.message, /SELF_SIGNED_CERT|UNABLE_TO/);
  assert.match(untrusted.hint ?? '', /\/etc\/tsbox\/certs\.d\/registry\.test:5000\/ca\.crt/);
  mkdirSync(join(at, 'certs.d', 'registry.test:5000'), { recursive: true });
  cpSync(join(at, 'registry.test.crt'), join(at, 'certs.d', 'registry.test:5000', 'ca.crt'));
  const hashed = join(at, 'hashed');
  mkdirSync(hashed);
  cpSync(join(at, 'registry.test.crt'), join(hashed, 'there.crt'));
  symlinkSync('/nonexistent', join(hashed, '08063a00.0'));
  const trusting = [
    { environment: { ...environment, SSL_CERT_DIR: hashed } },
    { environment, certificateDirectories: [join(at, 'certs.d')] },
    { environment: { ...environment, SSL_CERT_FILE: join(at, 'registry.test.crt') } },
    { environment, config: new Map([['registry.test:5000', { mirrors: [], insecure: true }]]) },
  ];
  for (const options of trusting) {
    assert.equal((await client(context, options).resolveManifest(from, AMD64)).digest, image.digest);
  }
  assert.deepEqual([...new Set(connects)], ['registry.test:5000']);
  const other = { environment, certificateDirectories: [join(at, 'certs.d')] };
  const wrongName = await failure(client(context, other).resolveManifest(parseReference('other.test:5000/x'), AMD64));
  assert.match(wrongName.message, /SELF_SIGNED_CERT|UNABLE_TO/);
});

test('http: an insecure host is asked in plain http when it does not speak https', async (context) => {
  const proxy = await serve(context, (request, response) => {
    assert.match(request.url ?? '', /^http:\/\/registry\.test:5000\/v2\//);
    sendDocument(response, image);
  });
  const environment = { HTTP_PROXY: `http://${proxy.host}`, HTTPS_PROXY: `http://${proxy.host}` };
  proxy.server.on('connect', (_, socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
  const config = new Map([['registry.test:5000', { mirrors: [], insecure: true }]]);
  const from = parseReference('registry.test:5000/x:1');
  assert.equal((await client(context, { environment, config }).resolveManifest(from, AMD64)).digest, image.digest);
  await failure(client(context, { environment }).resolveManifest(from, AMD64));
});

test('http: a redirect from https to plain http is refused', async (context) => {
  if (!requires(context, 'command:openssl')) return;
  const redirect: RequestListener = (_, response) => response.writeHead(302, { location: 'http://plain.test/x' }).end();
  const server = await serve(context, redirect, createHttpsServer(certificate(directory(context), 'registry.test')));
  const error = await failure(client(context).resolveManifest(reference(server), AMD64));
  assert.match(error.message, /redirected from https to http:\/\/plain\.test/);
});

test('http: proxies are chosen by the rules of Go', () => {
  const proxy = 'http://proxy.test:3128';
  const ask = (url: string, environment: Record<string, string>) => proxyFor(new URL(url), environment);
  assert.equal(ask('https://a.test/', { HTTPS_PROXY: proxy }), proxy);
  assert.equal(ask('https://a.test/', { https_proxy: proxy }), proxy);
  assert.equal(ask('https://a.test/', { HTTP_PROXY: proxy }), undefined);
  assert.equal(ask('http://a.test/', { HTTP_PROXY: 'proxy.test:3128' }), proxy);
  for (const host of ['localhost:5000', '127.0.0.1', '[::1]:5000']) {
    assert.equal(ask(`http://${host}/`, { HTTP_PROXY: proxy }), undefined, host);
  }
  const excepted: [string, string, boolean][] = [
    ['*', 'a.test', true],
    ['a.test', 'a.test', true],
    ['a.test', 'x.a.test', true],
    ['a.test', 'xa.test', false],
    ['.a.test', 'x.a.test', true],
    ['.a.test', 'a.test', false],
    ['*.a.test', 'x.a.test', true],
    ['A.Test', 'a.test', true],
    ['b.test, a.test', 'a.test', true],
    ['a.test:5000', 'a.test:5000', true],
    ['a.test:5000', 'a.test:5001', false],
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/8', '11.1.2.3', false],
    ['10.0.0.0/99', '10.1.2.3', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['fd00::/8', '[fd12::1]:5000', true],
    ['fd12::1', '[fd12::1]', true],
    ['', 'a.test', false],
  ];
  for (const [list, host, direct] of excepted) {
    const found = ask(`https://${host}/`, { HTTPS_PROXY: proxy, NO_PROXY: list });
    assert.equal(found, direct ? undefined : proxy, `${host} in ${list}`);
  }
  for (const socks of ['socks5://proxy.test', 'socks5h://a:b@proxy.test:1081', 'SOCKS5://proxy.test']) {
    assert.equal(ask('https://a.test/', { HTTPS_PROXY: socks }), socks);
  }
  assert.equal(ask('https://a.test/', { ALL_PROXY: proxy }), proxy);
  assert.equal(ask('http://a.test/', { all_proxy: proxy, HTTPS_PROXY: 'http://other.test' }), proxy);
  assert.equal(ask('https://a.test/', { ALL_PROXY: 'http://other.test', HTTPS_PROXY: proxy }), proxy);
  assert.equal(ask('https://a.test/', { ALL_PROXY: proxy, NO_PROXY: 'a.test' }), undefined);
  for (const [name, value] of [
    ['HTTPS_PROXY', 'socks4://proxy.test'],
    ['ALL_PROXY', 'ftp://proxy.test'],
    ['HTTPS_PROXY', 'http://[::'],
  ] as const) {
    assert.throws(() => ask('https://a.test/', { [name]: value }), new RegExp(`use the proxy of ${name}: not an http`));
  }
});

test('http: Retry-After is read in both its forms, and waits grow with jitter', () => {
  const now = Date.parse('2024-01-01T00:00:00Z');
  assert.equal(retryAfter('120', now), 120_000);
  assert.equal(retryAfter('Mon, 01 Jan 2024 00:01:00 GMT', now), 60_000);
  assert.equal(retryAfter('Mon, 01 Jan 2023 00:01:00 GMT', now), 0);
  assert.equal(retryAfter('soon', now), undefined);
  assert.equal(retryAfter(undefined, now), undefined);
  const policy = { attempts: 9, delay: 100, longest: 1000 };
  for (const [attempt, most] of [
    [1, 100],
    [3, 400],
    [9, 1000],
  ] as const) {
    const wait = backoff(attempt, policy);
    assert.ok(wait >= most / 2 && wait <= most, `${wait}`);
  }
});
