import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { client, manifest, OCI_MANIFEST, reference, sendError, serve, sha256 } from './registry-fixture.ts';

const BLOB = randomBytes(250_000);
const DIGEST = sha256(BLOB);

function open(bytes: Buffer = BLOB, piece = 10_000): () => AsyncGenerator<Buffer> {
  return async function* () {
    for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
  };
}

interface Fake {
  blobs: Map<string, Buffer>;
  manifests: Map<string, Buffer>;
  /** Bytes of the one upload session. */
  upload: Buffer;
  handle: RequestListener;
  /** Answers instead, when it returns true. */
  before: (request: IncomingMessage, response: ServerResponse, body: Buffer) => boolean;
}

/** What a registry does with uploads, by the specification. */
function fake(): Fake {
  const state: Fake = {
    blobs: new Map(),
    manifests: new Map(),
    upload: Buffer.alloc(0),
    before: () => false,
    handle: (request, response) => {
      const chunks: Buffer[] = [];
      request.on('error', () => {});
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks);
        if (!state.before(request, response, body)) answer(state, request, response, body);
      });
    },
  };
  return state;
}

function answer(state: Fake, request: IncomingMessage, response: ServerResponse, body: Buffer): unknown {
  const url = new URL(request.url ?? '', 'http://x');
  const location = `${url.pathname.replace(/uploads\/.*/, 'uploads/')}session?state=${state.upload.length}`;
  const accepted = (status: number): void => {
    const range = state.upload.length > 0 ? { range: `0-${state.upload.length - 1}` } : {};
    response.writeHead(status, { location, ...range }).end();
  };
  if (request.method === 'HEAD') {
    return response.writeHead(state.blobs.has(url.pathname.split('/').at(-1) ?? '') ? 200 : 404).end();
  }
  if (request.method === 'POST') {
    state.upload = Buffer.alloc(0);
    if (url.searchParams.get('from') === 'has/it') return response.writeHead(201).end();
    return accepted(202);
  }
  if (request.method === 'GET') return accepted(204);
  if (request.method === 'PATCH') {
    const start = Number(/^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1]);
    if (start !== state.upload.length) return response.writeHead(416).end();
    state.upload = Buffer.concat([state.upload, body]);
    return accepted(202);
  }
  if (url.pathname.includes('/manifests/')) {
    state.manifests.set(url.pathname, body);
    return response.writeHead(201, { 'docker-content-digest': sha256(body) }).end();
  }
  const whole = Buffer.concat([state.upload, body]);
  const digest = url.searchParams.get('digest') ?? '';
  if (sha256(whole) !== digest) return sendError(response, 400, 'DIGEST_INVALID', 'provided digest did not match');
  state.blobs.set(digest, whole);
  return response.writeHead(201).end();
}

async function failure(promise: Promise<unknown>): Promise<TsboxError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, `not a TsboxError: ${String(error)}`);
  return error;
}

test('push: what the registry has is not sent', async (context) => {
  const state = fake();
  state.blobs.set(DIGEST, BLOB);
  const server = await serve(context, state.handle);
  const pushed = await client(context).pushBlob(reference(server), { digest: DIGEST, size: BLOB.length, open: open() });
  assert.deepEqual(pushed, { digest: DIGEST, size: BLOB.length, how: 'exists' });
  assert.deepEqual(
    server.seen.map(({ method }) => method),
    ['HEAD'],
  );
});

test('push: what another repository has is mounted, else it is sent', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const blob = { digest: DIGEST, size: BLOB.length, open: open() };
  const mounted = await client(context).pushBlob(reference(server), blob, { mountFrom: ['has/it'] });
  assert.equal(mounted.how, 'mounted');
  const query = new URL(server.seen[1]?.url ?? '', 'http://x').searchParams;
  assert.deepEqual([query.get('mount'), query.get('from')], [DIGEST, 'has/it']);
  const sent = await client(context).pushBlob(reference(server), blob, { mountFrom: ['has/not'] });
  assert.equal(sent.how, 'uploaded');
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
});

test('push: a known blob goes in one request with its length', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const told: number[] = [];
  const options = { progress: (sent: number) => void told.push(sent) };
  await client(context).pushBlob(reference(server), { digest: DIGEST, size: BLOB.length, open: open() }, options);
  assert.deepEqual(
    server.seen.map(({ method }) => method),
    ['HEAD', 'POST', 'PUT'],
  );
  assert.equal(server.seen[2]?.headers['content-length'], `${BLOB.length}`);
  assert.match(server.seen[2]?.url ?? '', /state=0&digest=sha256%3A/);
  assert.equal(told.at(-1), BLOB.length);
});

test('push: an unknown blob goes in chunks, and its digest comes out', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const pushed = await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 64_000 });
  assert.deepEqual(pushed, { digest: DIGEST, size: BLOB.length, how: 'uploaded' });
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  const ranges = server.seen.filter(({ method }) => method === 'PATCH').map(({ headers }) => headers['content-range']);
  assert.deepEqual(ranges, ['0-63999', '64000-127999', '128000-191999', '192000-249999']);
  const empty = await client(context).pushBlob(reference(server), { open: open(Buffer.alloc(0)) });
  assert.deepEqual(empty, { digest: sha256(''), size: 0, how: 'uploaded' });
});

test('push: the registry’s shortest chunk is kept to', async (context) => {
  const state = fake();
  state.before = (request, response) => {
    if (request.method === 'POST') response.setHeader('oci-chunk-min-length', '200000');
    return false;
  };
  const server = await serve(context, state.handle);
  await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 1000 });
  const ranges = server.seen.filter(({ method }) => method === 'PATCH').map(({ headers }) => headers['content-range']);
  assert.deepEqual(ranges, ['0-199999', '200000-249999']);
});

test('push: a chunk that was cut is gone on with where the registry has it', async (context) => {
  const state = fake();
  let cuts = 0;
  state.before = (request, _, body) => {
    if (request.method !== 'PATCH' || cuts >= 2) return false;
    cuts++;
    state.upload = Buffer.concat([state.upload, body.subarray(0, 30_000)]);
    request.socket.destroy();
    return true;
  };
  const server = await serve(context, state.handle);
  await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 100_000 });
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  const ranges = server.seen.filter(({ method }) => method === 'PATCH').map(({ headers }) => headers['content-range']);
  assert.deepEqual(ranges.slice(0, 3), ['0-99999', '30000-99999', '60000-99999']);
});

test('push: a cut in one request starts the upload again from the source', async (context) => {
  const state = fake();
  let cut = false;
  state.before = (request) => {
    if (request.method !== 'PUT' || cut) return false;
    cut = true;
    request.socket.destroy();
    return true;
  };
  const server = await serve(context, state.handle);
  const pushed = await client(context).pushBlob(reference(server), { digest: DIGEST, size: BLOB.length, open: open() });
  assert.equal(pushed.how, 'uploaded');
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
});

test('push: a registry that takes nothing, hangs or refuses ends the push', async (context) => {
  const on =
    (method: string, answer: (response: ServerResponse) => unknown): Fake['before'] =>
    (request, response) => {
      if (request.method !== method) return false;
      answer(response);
      return true;
    };
  const cases: [Fake['before'], string, RegExp][] = [
    [
      on('PATCH', (r) => r.writeHead(202, { location: '/x', range: '0-0' }).end()),
      'ERR_TSBOX_REGISTRY',
      /HTTP 202 \(and took nothing\)/,
    ],
    [on('PATCH', () => {}), 'ERR_TSBOX_REGISTRY', /ETIMEDOUT \(no answer to the upload/],
    [
      on('POST', (r) => sendError(r, 403, 'DENIED', 'requested access to the resource is denied')),
      'ERR_TSBOX_UNAUTHORIZED',
      /^push .*: denied: requested access/,
    ],
    [on('POST', (r) => r.writeHead(202).end()), 'ERR_TSBOX_REGISTRY', /names no place to upload to/],
    [
      on('PUT', (r) => sendError(r, 413, 'SIZE_INVALID', 'too big')),
      'ERR_TSBOX_REGISTRY',
      /HTTP 413 \(size invalid: too big\)/,
    ],
  ];
  for (const [before, code, message] of cases) {
    const state = fake();
    state.before = before;
    const server = await serve(context, state.handle);
    const registry = client(context, { timeouts: { uploaded: 100 }, retry: { attempts: 2 } });
    const error = await failure(registry.pushBlob(reference(server), { open: open() }, { chunkSize: 100_000 }));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  }
});

test('push: a source that is not what it says is refused', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const registry = client(context);
  for (const size of [BLOB.length + 1, BLOB.length - 1]) {
    const error = await failure(registry.pushBlob(reference(server), { digest: DIGEST, size, open: open() }));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
    assert.match(error.message, /its source does not have/);
  }
  const other = sha256('other');
  const error = await failure(registry.pushBlob(reference(server), { digest: other, size: BLOB.length, open: open() }));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
  const failing = async function* () {
    yield BLOB.subarray(0, 100);
    throw new Error('disk broken');
  };
  const blob = { digest: DIGEST, size: BLOB.length, open: failing };
  await assert.rejects(registry.pushBlob(reference(server), blob), /^Error: disk broken$/);
  assert.equal(state.blobs.size, 0);
});

test('push: a manifest goes under its tag or its digest, and the registry must store these bytes', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const image = manifest();
  const registry = client(context);
  assert.equal(await registry.pushManifest(reference(server), image.bytes, OCI_MANIFEST), image.digest);
  assert.deepEqual(state.manifests.get('/v2/some/image/manifests/1'), image.bytes);
  assert.equal(server.seen[0]?.headers['content-type'], OCI_MANIFEST);
  const untagged = reference(server, `some/image@${image.digest}`);
  await registry.pushManifest(untagged, image.bytes, OCI_MANIFEST);
  assert.ok(state.manifests.has(`/v2/some/image/manifests/${image.digest}`));
  state.before = (_, response) => {
    response.writeHead(201, { 'docker-content-digest': sha256('other') }).end();
    return true;
  };
  const error = await failure(registry.pushManifest(reference(server), image.bytes, OCI_MANIFEST));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
});

test('push: an upload place on another server gets no credentials', async (context) => {
  const storage = await serve(context, (request, response) => {
    request.resume().on('end', () => response.writeHead(201).end());
  });
  const state = fake();
  state.before = (request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    }
    if (request.method !== 'POST') return false;
    response.writeHead(202, { location: `http://${storage.host}/put?signature=1` }).end();
    return true;
  };
  const server = await serve(context, state.handle);
  const credentials = async () => ({ username: 'alice', password: 'secret' });
  const blob = { digest: DIGEST, size: BLOB.length, open: open() };
  assert.equal((await client(context, { credentials }).pushBlob(reference(server), blob)).how, 'uploaded');
  assert.equal(storage.seen[0]?.headers.authorization, undefined);
  assert.match(storage.seen[0]?.url ?? '', /^\/put\?signature=1&digest=sha256/);
});
