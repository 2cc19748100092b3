import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { parseChallenges } from '../../src/registry/challenge.ts';
import { parsePlatform } from '../../src/spec/platform.ts';
import { client, manifest, reference, sendDocument, sendError, serve, type TestServer } from './registry-fixture.ts';

const AMD64 = parsePlatform('linux/amd64');
const image = manifest();
const alice = { username: 'alice', password: 's3:cret' };
const ALICE = `Basic ${Buffer.from('alice:s3:cret').toString('base64')}`;

/** A registry that wants a bearer token from `tokens`. */
function guarded(tokens: () => TestServer, good: () => string): RequestListener {
  return (request, response) => {
    if (request.headers.authorization === `Bearer ${good()}`) return sendDocument(response, image);
    const scope = 'repository:some/image:pull';
    response.setHeader(
      'www-authenticate',
      `Bearer realm="http://${tokens().host}/token",service="reg",scope="${scope}"`,
    );
    sendError(response, 401, 'UNAUTHORIZED', 'authentication required');
  };
}

async function failure(promise: Promise<unknown>): Promise<TsboxError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, `not a TsboxError: ${String(error)}`);
  return error;
}

test('auth: a bearer token is fetched without a name and used for the following requests', async (context) => {
  const tokens: TestServer = await serve(context, (_, response) => response.end('{"token":"T1","expires_in":300}'));
  const server = await serve(
    context,
    guarded(
      () => tokens,
      () => 'T1',
    ),
  );
  const registry = client(context);
  await registry.resolveManifest(reference(server), AMD64);
  await registry.resolveManifest(reference(server), AMD64);
  assert.equal(tokens.seen.length, 1);
  assert.equal(tokens.seen[0]?.url, '/token?service=reg&scope=repository%3Asome%2Fimage%3Apull');
  assert.equal(tokens.seen[0]?.headers.authorization, undefined);
  assert.deepEqual(
    server.seen.map(({ headers }) => headers.authorization),
    [undefined, 'Bearer T1', 'Bearer T1'],
  );
});

test('auth: another repository gets another token, requests at once share one', async (context) => {
  const tokens: TestServer = await serve(context, (_, response) => response.end('{"access_token":"T1"}'));
  const server = await serve(
    context,
    guarded(
      () => tokens,
      () => 'T1',
    ),
  );
  const registry = client(context);
  await registry.resolveManifest(reference(server), AMD64);
  await Promise.all(
    ['a', 'b', 'b', 'b'].map((name) => registry.resolveManifest(reference(server, `${name}:1`), AMD64)),
  );
  assert.equal(tokens.seen.length, 3);
});

test('auth: name and password go to the token server, never to the registry', async (context) => {
  const tokens: TestServer = await serve(context, (_, response) => response.end('{"token":"T1"}'));
  const server = await serve(
    context,
    guarded(
      () => tokens,
      () => 'T1',
    ),
  );
  const asked: string[] = [];
  const credentials = async (domain: string) => {
    asked.push(domain);
    return alice;
  };
  await client(context, { credentials }).resolveManifest(reference(server), AMD64);
  assert.equal(tokens.seen[0]?.headers.authorization, ALICE);
  assert.match(tokens.seen[0]?.url ?? '', /account=alice&client_id=tsbox$/);
  assert.deepEqual(asked, [server.host]);
  assert.ok(server.seen.every(({ headers }) => headers.authorization !== ALICE));
});

test('auth: an identity token is exchanged by POST', async (context) => {
  const bodies: string[] = [];
  const tokens: TestServer = await serve(context, (request, response) => {
    request.on('data', (chunk: Buffer) => bodies.push(chunk.toString()));
    request.on('end', () => response.end('{"access_token":"T1"}'));
  });
  const server = await serve(
    context,
    guarded(
      () => tokens,
      () => 'T1',
    ),
  );
  await client(context, { credentials: async () => ({ identityToken: 'I&1' }) }).resolveManifest(
    reference(server),
    AMD64,
  );
  assert.equal(tokens.seen[0]?.method, 'POST');
  const form = new URLSearchParams(bodies.join(''));
  assert.equal(form.get('grant_type'), 'refresh_token');
  assert.equal(form.get('refresh_token'), 'I&1');
  assert.equal(form.get('scope'), 'repository:some/image:pull');
});

test('auth: a token that is refused before its time is fetched again, once', async (context) => {
  let good = 'T1';
  const tokens: TestServer = await serve(context, (_, response) =>
    response.end(JSON.stringify({ token: good, expires_in: 9999 })),
  );
  const server = await serve(
    context,
    guarded(
      () => tokens,
      () => good,
    ),
  );
  const registry = client(context);
  await registry.resolveManifest(reference(server), AMD64);
  good = 'T2';
  await registry.resolveManifest(reference(server), AMD64);
  assert.equal(tokens.seen.length, 2);
  const never = await serve(
    context,
    guarded(
      () => tokens,
      () => 'nothing',
    ),
  );
  const error = await failure(registry.resolveManifest(reference(never), AMD64));
  assert.equal(error.code, 'ERR_TSBOX_UNAUTHORIZED');
  assert.match(error.message, /^pull access denied for .*: unauthorized: authentication required$/);
  assert.equal(never.seen.length, 2);
});

test('auth: what the token server refuses or answers wrongly is an error, not a header', async (context) => {
  const cases: [RequestListener, string, RegExp][] = [
    [
      (_, r) => r.writeHead(401).end('{"details":"incorrect username or password"}'),
      'ERR_TSBOX_UNAUTHORIZED',
      /HTTP 401 \(incorrect username or password\)/,
    ],
    [(_, r) => r.end('{"token":"a\\r\\nX-Evil: 1"}'), 'ERR_TSBOX_REGISTRY', /^read the token of/],
    [(_, r) => r.end('{"token":7}'), 'ERR_TSBOX_REGISTRY', /^read the token of/],
    [(_, r) => r.end('null'), 'ERR_TSBOX_REGISTRY', /^read the token of/],
    [(_, r) => r.end('<html>'), 'ERR_TSBOX_DAMAGED', /HTML where JSON was expected/],
    [(_, r) => r.end(Buffer.alloc(2_000_000, 'x')), 'ERR_TSBOX_LIMIT', /more than 1048576 bytes/],
  ];
  for (const [answer, code, message] of cases) {
    const tokens: TestServer = await serve(context, answer);
    const server = await serve(
      context,
      guarded(
        () => tokens,
        () => 'T1',
      ),
    );
    const registry = client(context, { credentials: async () => alice });
    const error = await failure(registry.resolveManifest(reference(server), AMD64));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  }
});

test('auth: a token server that is no web address is refused', async (context) => {
  for (const realm of ['', 'file:///etc/passwd', 'rubbish', 'http://user@host/token']) {
    const server = await serve(context, (_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
    });
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.match(error.message, /names no token server/);
  }
});

test('auth: basic is sent after it was asked for, and from then on at once', async (context) => {
  const server = await serve(context, (request, response) => {
    if (request.headers.authorization === ALICE) return sendDocument(response, image);
    response.setHeader('www-authenticate', 'Basic realm="x"');
    sendError(response, 401, 'UNAUTHORIZED', 'authentication required');
  });
  const registry = client(context, { credentials: async () => alice });
  await registry.resolveManifest(reference(server), AMD64);
  await registry.resolveManifest(reference(server), AMD64);
  assert.deepEqual(
    server.seen.map(({ headers }) => headers.authorization),
    [undefined, ALICE, ALICE],
  );
  const wrong = client(context, { credentials: async () => ({ username: 'alice', password: 'wrong' }) });
  assert.equal((await failure(wrong.resolveManifest(reference(server), AMD64))).code, 'ERR_TSBOX_UNAUTHORIZED');
  assert.equal(server.seen.length, 5);
});

test('auth: login asks the registry itself', async (context) => {
  const server = await serve(context, (request, response) => {
    if (request.headers.authorization === ALICE && request.url === '/v2/') return void response.end('{}');
    response.setHeader('www-authenticate', 'Basic realm="x"');
    sendError(response, 401, 'UNAUTHORIZED');
  });
  const registry = client(context);
  await registry.checkLogin(server.host, alice);
  const error = await failure(registry.checkLogin(server.host, { username: 'alice', password: 'x' }));
  assert.equal(error.code, 'ERR_TSBOX_UNAUTHORIZED');
  assert.match(error.message, /^log in to .*: unauthorized: incorrect username or password$/);
  const none = await serve(context, (_, response) => response.writeHead(404).end());
  assert.equal((await failure(registry.checkLogin(none.host, alice))).code, 'ERR_TSBOX_REGISTRY');
});

test('auth: challenges are read in every form that servers write', () => {
  const read = (header: string) =>
    parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
  assert.deepEqual(read('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'), [
    ['bearer', { realm: 'https://a/t', service: 's', scope: 'repository:x:pull,push' }],
  ]);
  assert.deepEqual(read('Basic realm="a \\"b\\"", BEARER Realm=x , service = y'), [
    ['basic', { realm: 'a "b"' }],
    ['bearer', { realm: 'x', service: 'y' }],
  ]);
  assert.deepEqual(read('Negotiate, Basic realm=""'), [
    ['negotiate', {}],
    ['basic', { realm: '' }],
  ]);
  assert.deepEqual(read(''), []);
  assert.deepEqual(read('Bearer realm="unfinished'), [['bearer', {}]]);
  assert.deepEqual(read('=x, "'), []);
  assert.equal(parseChallenges('Bearer __proto__="x"')[0]?.parameters.get('__proto__'), 'x');
});
