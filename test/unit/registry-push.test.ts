import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import {
  client,
  manifest,
  OCI_MANIFEST,
  reference,
  sendError,
  serve,
  sha256,
  type TestServer,
} from './registry-fixture.ts';

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
  /** Takes no body without a length. */
  chunksOnly: boolean;
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
    chunksOnly: false,
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
    const blob = state.blobs.get(url.pathname.split('/').at(-1) ?? '');
    return response.writeHead(blob === undefined ? 404 : 200, { 'content-length': blob?.length ?? 0 }).end();
  }
  if (request.method === 'DELETE') return response.writeHead(204).end();
  if (request.method === 'POST') {
    state.upload = Buffer.alloc(0);
    if (url.searchParams.get('from') === 'has/it') return response.writeHead(201).end();
    if (url.searchParams.get('from') === 'not/ours') return sendError(response, 401, 'UNAUTHORIZED');
    return accepted(202);
  }
  if (request.method === 'GET') return accepted(204);
  if (request.method === 'PATCH') {
    if (state.chunksOnly && request.headers['content-length'] === undefined) return response.writeHead(411).end();
    const range = request.headers['content-range'];
    const start = range === undefined ? 0 : Number(/^(\d+)-/.exec(range)?.[1]);
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

const methods = ({ seen }: TestServer) => seen.map(({ method }) => method);
/** Of the chunks. */
const ranges = ({ seen }: TestServer) => seen.flatMap(({ headers }) => headers['content-range'] ?? []);

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
  assert.deepEqual(methods(server), ['HEAD']);
});

test('push: what another repository has is mounted; no refusal of that is an error', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const registry = client(context);
  assert.equal(await registry.mountBlob(reference(server), DIGEST, 'has/it'), true);
  const query = new URL(server.seen[0]?.url ?? '', 'http://x').searchParams;
  assert.deepEqual([query.get('mount'), query.get('from')], [DIGEST, 'has/it']);
  assert.equal(await registry.mountBlob(reference(server), DIGEST, 'has/not'), false);
  assert.equal(server.seen.at(-1)?.method, 'DELETE', 'the upload that was begun instead is given up');
  assert.equal(await registry.mountBlob(reference(server), DIGEST, 'not/ours'), false);
});

test('push: what is known by its digest only is looked at', async (context) => {
  const blobs = new Map([
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0])],
    ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
    ['short', Buffer.from([0x1f])],
  ]);
  for (const honoursRange of [true, false]) {
    const server = await serve(context, (request, response) => {
      const bytes = blobs.get(request.url?.split(':').at(-1) ?? '')!;
      assert.equal(request.headers.range, 'bytes=0-1');
      if (honoursRange) response.writeHead(206, { 'content-range': 'bytes 0-1/4' }).end(bytes.subarray(0, 2));
      else response.writeHead(200).end(Buffer.concat([bytes, Buffer.alloc(1_000_000)]));
    });
    const registry = client(context);
    assert.equal(await registry.isGzipBlob(reference(server), 'sha256:gzip'), true);
    assert.equal(await registry.isGzipBlob(reference(server), 'sha256:zstd'), false);
    assert.equal(await registry.isGzipBlob(reference(server), 'sha256:short'), false);
  }
});

test('push: a known blob goes in one request with its length', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const told: number[] = [];
  const options = { progress: (sent: number) => void told.push(sent) };
  await client(context).pushBlob(reference(server), { digest: DIGEST, size: BLOB.length, open: open() }, options);
  assert.deepEqual(methods(server), ['HEAD', 'POST', 'PUT']);
  assert.equal(server.seen[2]?.headers['content-length'], `${BLOB.length}`);
  assert.match(server.seen[2]?.url ?? '', /state=0&digest=sha256%3A/);
  assert.equal(told.at(-1), BLOB.length);
});

test('push: an unknown blob goes as one stream, and its digest comes out', async (context) => {
  const state = fake();
  const server = await serve(context, state.handle);
  const told: number[] = [];
  const options = { progress: (sent: number) => void told.push(sent) };
  const pushed = await client(context).pushBlob(reference(server), { open: open() }, options);
  assert.deepEqual(pushed, { digest: DIGEST, size: BLOB.length, how: 'uploaded' });
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  assert.deepEqual(methods(server), ['POST', 'PATCH', 'PUT']);
  assert.equal(server.seen[1]?.headers['transfer-encoding'], 'chunked');
  assert.equal(told.at(-1), BLOB.length);
  for (const bytes of [Buffer.alloc(0), Buffer.from('x')]) {
    const small = await client(context).pushBlob(reference(server), { open: open(bytes) });
    assert.deepEqual(small, { digest: sha256(bytes), size: bytes.length, how: 'uploaded' });
  }
});

test('push: a registry that takes no streams gets chunks', async (context) => {
  const state = fake();
  state.chunksOnly = true;
  const server = await serve(context, state.handle);
  const pushed = await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 64_000 });
  assert.deepEqual(pushed, { digest: DIGEST, size: BLOB.length, how: 'uploaded' });
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  assert.deepEqual(ranges(server), ['0-63999', '64000-127999', '128000-191999', '192000-249999']);
});

test('push: the registry’s shortest chunk is kept to', async (context) => {
  const state = fake();
  state.chunksOnly = true;
  state.before = (request, response) => {
    if (request.method === 'POST') response.setHeader('oci-chunk-min-length', '200000');
    return false;
  };
  const server = await serve(context, state.handle);
  await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 1000 });
  assert.deepEqual(ranges(server), ['0-199999', '200000-249999']);
});

test('push: a chunk that was cut is gone on with where the registry has it', async (context) => {
  const state = fake();
  state.chunksOnly = true;
  let cuts = 0;
  state.before = (request, _, body) => {
    if (request.headers['content-range'] === undefined || cuts >= 2) return false;
    cuts++;
    state.upload = Buffer.concat([state.upload, body.subarray(0, 30_000)]);
    request.socket.destroy();
    return true;
  };
  const server = await serve(context, state.handle);
  await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 100_000 });
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  assert.deepEqual(ranges(server).slice(0, 3), ['0-99999', '30000-99999', '60000-99999']);
});

test('push: chunks of an upload that the registry has lost are sent again from the beginning', async (context) => {
  const state = fake();
  state.chunksOnly = true;
  let lost = false;
  state.before = (request, response) => {
    if (request.method === 'GET') return sendError(response, 404, 'BLOB_UPLOAD_UNKNOWN') === undefined;
    if (lost || request.headers['content-range']?.startsWith('100000-') !== true) return false;
    lost = true;
    request.socket.destroy();
    return true;
  };
  const server = await serve(context, state.handle);
  await client(context).pushBlob(reference(server), { open: open() }, { chunkSize: 100_000 });
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  assert.deepEqual(ranges(server).slice(0, 3), ['0-99999', '100000-199999', '0-99999']);
});

test('push: a stream that is cut, refused for a moment, or taken in part is begun again from the source', async (context) => {
  const faults: [string, Fake['before']][] = [
    ['a cut', (request) => request.socket.destroy() !== undefined],
    ['503', (_, response) => response.writeHead(503).end() !== undefined],
    ['429', (_, response) => response.writeHead(429, { 'retry-after': '0' }).end() !== undefined],
    ['a part', (_, response) => response.writeHead(202, { location: '/x', range: '0-99' }).end() !== undefined],
  ];
  for (const [name, fault] of faults) {
    const state = fake();
    let faulty = 2;
    state.before = (request, response, body) =>
      request.method === 'PATCH' && faulty-- > 0 ? fault(request, response, body) : false;
    const server = await serve(context, state.handle);
    let opened = 0;
    const waits: number[] = [];
    const source = () => {
      opened++;
      return open()();
    };
    const pushed = await client(context).pushBlob(
      reference(server),
      { open: source },
      {
        retrying: (wait) => void waits.push(wait),
      },
    );
    assert.equal(pushed.digest, DIGEST, name);
    assert.deepEqual(state.blobs.get(DIGEST), BLOB, name);
    assert.equal(opened, 3, name);
    assert.equal(waits.length, 2, name);
    assert.equal(methods(server).filter((method) => method === 'POST').length, 3, name);
  }
});

test('push: an answer that is lost after the blob was stored is no failure', async (context) => {
  const state = fake();
  let lost = false;
  state.before = (request, response, body) => {
    if (request.method !== 'PUT') return false;
    if (lost) return sendError(response, 404, 'BLOB_UPLOAD_UNKNOWN') === undefined;
    lost = true;
    state.blobs.set(DIGEST, Buffer.concat([state.upload, body]));
    request.socket.destroy();
    return true;
  };
  const server = await serve(context, state.handle);
  const pushed = await client(context).pushBlob(reference(server), { open: open() });
  assert.equal(pushed.digest, DIGEST);
  assert.deepEqual(methods(server), ['POST', 'PATCH', 'PUT', 'PUT', 'HEAD']);
});

test('push: a token that runs out in the middle is renewed, and the stream begun again', async (context) => {
  const state = fake();
  let token = 0;
  state.before = (request, response) => {
    if (request.url?.startsWith('/token')) {
      response.end(JSON.stringify({ token: `t${++token}`, expires_in: 300 }));
      return true;
    }
    const good = request.headers.authorization === (request.method === 'PATCH' ? 'Bearer t2' : `Bearer t${token}`);
    if (good) return false;
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
    return true;
  };
  const server = await serve(context, state.handle);
  assert.equal((await client(context).pushBlob(reference(server), { open: open() })).digest, DIGEST);
  assert.deepEqual(state.blobs.get(DIGEST), BLOB);
  assert.equal(methods(server).filter((method) => method === 'PATCH').length, 2);
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
      /HTTP 202 \(and took less than was sent\)/,
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
  for (const blob of [{ digest: DIGEST, size: BLOB.length, open: failing }, { open: failing }]) {
    await assert.rejects(registry.pushBlob(reference(server), blob), /^Error: disk broken$/);
    assert.equal(server.seen.at(-1)?.method, 'DELETE', 'the upload is given up');
  }
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
