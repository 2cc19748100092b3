import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsboxError } from '../../src/errors.ts';
import { client, collect, HASTY, reference, sendError, serve, sha256 } from './registry-fixture.ts';

const BLOB = randomBytes(300_000);
const descriptor = { mediaType: 'application/octet-stream', digest: sha256(BLOB), size: BLOB.length };

function rangeStart(request: IncomingMessage): number | undefined {
  const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  return match === null ? undefined : Number(match[1]);
}

/** Serves the rest of the blob as a registry does, ranges included. */
function serveRest(request: IncomingMessage, response: ServerResponse, bytes = BLOB): void {
  const start = rangeStart(request);
  if (start === undefined) response.writeHead(200, { 'content-length': bytes.length });
  else {
    const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
    response.writeHead(206, { 'content-length': bytes.length - start, 'content-range': range });
  }
  response.end(bytes.subarray(start ?? 0));
}

/** Announces everything and cuts the connection after some bytes. */
function cutAfter(request: IncomingMessage, response: ServerResponse, count: number): void {
  const start = rangeStart(request) ?? 0;
  const range = { 'content-range': `bytes ${start}-${BLOB.length - 1}/${BLOB.length}` };
  response.writeHead(start > 0 ? 206 : 200, { 'content-length': BLOB.length - start, ...(start > 0 ? range : {}) });
  response.write(BLOB.subarray(start, start + count), () => setTimeout(() => request.socket.destroy(), 10));
}

async function failure(promise: Promise<unknown>): Promise<TsboxError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, `not a TsboxError: ${String(error)}`);
  return error;
}

test('blob: the bytes are those of the descriptor', async (context) => {
  const server = await serve(context, serveRest);
  const registry = client(context);
  assert.deepEqual(await collect(registry.fetchBlob(reference(server), descriptor)), BLOB);
  assert.equal(server.seen[0]?.url, `/v2/some/image/blobs/${descriptor.digest}`);
  const empty = { ...descriptor, digest: sha256(''), size: 0 };
  const none = await serve(context, (_, response) => response.end());
  assert.equal((await collect(registry.fetchBlob(reference(none), empty))).length, 0);
});

test('blob: sha512 digests are verified as well', async (context) => {
  const server = await serve(context, serveRest);
  const digest = `sha512:${createHash('sha512').update(BLOB).digest('hex')}`;
  assert.deepEqual(await collect(client(context).fetchBlob(reference(server), { ...descriptor, digest })), BLOB);
  const wrong = { ...descriptor, digest: `sha512:${'0'.repeat(128)}` };
  assert.equal((await failure(collect(client(context).fetchBlob(reference(server), wrong)))).code, 'ERR_TSBOX_DAMAGED');
});

test('blob: other content of the same length is refused at the end', async (context) => {
  const other = Buffer.from(BLOB);
  other[BLOB.length - 1]! ^= 1;
  const server = await serve(context, (request, response) => serveRest(request, response, other));
  const error = await failure(collect(client(context).fetchBlob(reference(server), descriptor)));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
  assert.match(error.message, new RegExp(`^fetch blob ${descriptor.digest} of .*: has the digest sha256:`));
  assert.equal(server.seen.length, 1, 'damage is no reason to try again');
});

test('blob: a length that is not the descriptor’s is refused before a byte is given', async (context) => {
  for (const bytes of [BLOB.subarray(1), Buffer.concat([BLOB, Buffer.from('x')])]) {
    const server = await serve(context, (request, response) => serveRest(request, response, bytes));
    const error = await failure(collect(client(context).fetchBlob(reference(server), descriptor)));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
    assert.match(error.message, /bytes of it, the manifest says 300000/);
  }
});

test('blob: no more bytes are given than the descriptor says, whatever comes', async (context) => {
  const server = await serve(context, (_, response) => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write(BLOB));
      response.once('drain', more);
    };
    more();
  });
  let given = 0;
  const error = await failure(
    (async () => {
      for await (const chunk of client(context).fetchBlob(reference(server), descriptor)) given += chunk.length;
    })(),
  );
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
  assert.match(error.message, /longer than the 300000 bytes/);
  assert.ok(given <= BLOB.length);
});

test('blob: after a cut it goes on by range where it was', async (context) => {
  const server = await serve(context, (request, response) => {
    if (server.seen.length <= 3) cutAfter(request, response, 70_000);
    else serveRest(request, response);
  });
  assert.deepEqual(await collect(client(context).fetchBlob(reference(server), descriptor)), BLOB);
  const ranges = server.seen.map(({ headers }) => headers.range);
  assert.equal(ranges[0], undefined);
  assert.ok(ranges.length === 4 && ranges.slice(1).every((range) => /^bytes=\d+-$/.test(range ?? '')), ranges.join());
});

test('blob: a server without ranges sends it all again, and nothing is given twice', async (context) => {
  const server = await serve(context, (request, response) => {
    if (server.seen.length === 1) cutAfter(request, response, 70_000);
    else response.writeHead(200, { 'content-length': BLOB.length }).end(BLOB);
  });
  assert.deepEqual(await collect(client(context).fetchBlob(reference(server), descriptor)), BLOB);
});

test('blob: a range that was not asked for is refused', async (context) => {
  for (const range of ['bytes 0-299999/300000', 'bytes 5-9/10', 'rubbish', `bytes 70000-299999/400000`]) {
    const server = await serve(context, (request, response) => {
      if (server.seen.length === 1) cutAfter(request, response, 70_000);
      else response.writeHead(206, { 'content-range': range }).end(BLOB);
    });
    const error = await failure(collect(client(context).fetchBlob(reference(server), descriptor)));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED', range);
  }
});

test('blob: a registry that always cuts is given up, and the error says what happened', async (context) => {
  const notices: string[] = [];
  const server = await serve(context, (request, response) => cutAfter(request, response, 10));
  const registry = client(context, { notice: (text) => notices.push(text) });
  const error = await failure(collect(registry.fetchBlob(reference(server), descriptor)));
  assert.equal(error.code, 'ERR_TSBOX_REGISTRY');
  assert.match(error.message, /ECONNRESET \(Connection reset by peer\)/);
  assert.equal(server.seen.length, 4);
  assert.equal(notices.length, 3);
  assert.match(notices[0] ?? '', /going on at byte 10 in/);
});

test('blob: an end before the end, properly closed, is a cut as well', async (context) => {
  const server = await serve(context, (request, response) => {
    const start = rangeStart(request) ?? 0;
    // Chunked: the protocol has no length to miss.
    if (start === 0) response.writeHead(200).end(BLOB.subarray(0, 100_000));
    else serveRest(request, response);
  });
  assert.deepEqual(await collect(client(context).fetchBlob(reference(server), descriptor)), BLOB);
});

test('blob: a registry that hangs in the middle ends in a time-out, or is gone on with', async (context) => {
  const server = await serve(context, (request, response) => {
    if (server.seen.length === 1) {
      response.writeHead(200, { 'content-length': BLOB.length });
      response.write(BLOB.subarray(0, 1000));
    } else serveRest(request, response);
  });
  const hasty = client(context, { timeouts: HASTY });
  assert.deepEqual(await collect(hasty.fetchBlob(reference(server), descriptor)), BLOB);
  const hanging = await serve(context, (_, response) => {
    response.writeHead(200, { 'content-length': BLOB.length });
    response.write(BLOB.subarray(0, 1000));
  });
  const registry = client(context, { timeouts: HASTY, retry: { attempts: 1 } });
  const error = await failure(collect(registry.fetchBlob(reference(hanging), descriptor)));
  assert.match(error.message, /ETIMEDOUT \(no byte for 0\.2 s\)/);
});

test('blob: a slow reader is no stall', async (context) => {
  const server = await serve(context, serveRest);
  const registry = client(context, { timeouts: { stall: 400 }, retry: { attempts: 1 } });
  const chunks: Buffer[] = [];
  let naps = 0;
  for await (const chunk of registry.fetchBlob(reference(server), descriptor)) {
    chunks.push(chunk);
    if (naps++ < 2) await sleep(500);
  }
  assert.deepEqual(Buffer.concat(chunks), BLOB);
});

test('blob: what the caller has from an earlier try is not asked for again', async (context) => {
  const server = await serve(context, serveRest);
  const have = BLOB.subarray(0, 123_456);
  const prefix = { size: have.length, hash: createHash('sha256').update(have) };
  const rest = await collect(client(context).fetchBlob(reference(server), descriptor, { prefix }));
  assert.deepEqual(Buffer.concat([have, rest]), BLOB);
  assert.equal(server.seen[0]?.headers.range, 'bytes=123456-');
  const all = { size: BLOB.length, hash: createHash('sha256').update(BLOB) };
  assert.equal((await collect(client(context).fetchBlob(reference(server), descriptor, { prefix: all }))).length, 0);
  assert.equal(server.seen.length, 1, 'what is complete is only verified');
  const wrong = { size: have.length, hash: createHash('sha256').update('something else') };
  const error = await failure(collect(client(context).fetchBlob(reference(server), descriptor, { prefix: wrong })));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
});

test('blob: 429 and 503 are waited out as the registry asks, and named when they stay', async (context) => {
  const server = await serve(context, (request, response) => {
    if (server.seen.length === 1) response.writeHead(429, { 'retry-after': '0' }).end();
    else if (server.seen.length === 2) response.writeHead(503).end('busy');
    else serveRest(request, response);
  });
  assert.deepEqual(await collect(client(context).fetchBlob(reference(server), descriptor)), BLOB);
  const busy = await serve(context, (_, response) => sendError(response, 429, 'TOOMANYREQUESTS', 'slow down'));
  const error = await failure(collect(client(context).fetchBlob(reference(busy), descriptor)));
  assert.match(error.message, /HTTP 429 \(toomanyrequests: slow down\)/);
  assert.equal(busy.seen.length, 4 + 1, 'the first answer finds out the scheme');
});

test('blob: a Retry-After beyond patience is an error at once', async (context) => {
  const server = await serve(context, (_, response) => response.writeHead(429, { 'retry-after': '3600' }).end());
  const started = performance.now();
  await failure(collect(client(context).fetchBlob(reference(server), descriptor)));
  assert.ok(performance.now() - started < 1000);
});

test('blob: the caller ends it with a signal or by leaving the loop', async (context) => {
  let closed = 0;
  const server = await serve(context, (_, response) => {
    response.once('close', () => closed++);
    response.writeHead(200, { 'content-length': BLOB.length });
    response.write(BLOB.subarray(0, 1000));
  });
  const controller = new AbortController();
  const registry = client(context, { timeouts: { stall: 5000 } });
  setTimeout(() => controller.abort(new Error('enough')), 50);
  await assert.rejects(
    collect(registry.fetchBlob(reference(server), descriptor, { signal: controller.signal })),
    /^Error: enough$/,
  );
  for await (const _ of registry.fetchBlob(reference(server), descriptor)) break;
  for (let tries = 0; closed < 2 && tries < 500; tries++) await sleep(10);
  assert.equal(closed, 2);
});

test('blob: what is not there, encoded, or HTML is an error that says so', async (context) => {
  const cases: [(response: ServerResponse) => void, string, RegExp][] = [
    [(r) => sendError(r, 404, 'BLOB_UNKNOWN', 'blob unknown to registry'), 'ERR_TSBOX_NOT_FOUND', /blob unknown:/],
    [(r) => r.writeHead(404).end('no'), 'ERR_TSBOX_NOT_FOUND', /HTTP 404 from 127/],
    [(r) => r.writeHead(200, { 'content-encoding': 'gzip' }).end(BLOB), 'ERR_TSBOX_DAMAGED', /sends it as gzip/],
    [(r) => r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), 'ERR_TSBOX_REGISTRY', /answered HTML/],
    [(r) => r.writeHead(206).end(BLOB), 'ERR_TSBOX_REGISTRY', /HTTP 206/],
    [(r) => r.writeHead(302).end(), 'ERR_TSBOX_REGISTRY', /HTTP 302/],
  ];
  for (const [answer, code, message] of cases) {
    const server = await serve(context, (_, response) => answer(response));
    const error = await failure(collect(client(context).fetchBlob(reference(server), descriptor)));
    assert.equal(error.code, code);
    assert.match(error.message, message);
  }
});

test('blob: a mirror that cuts is gone on with by the next server', async (context) => {
  const origin = await serve(context, serveRest);
  const mirror = await serve(context, (request, response) => {
    if (mirror.seen.length > 1) sendError(response, 404, 'BLOB_UNKNOWN');
    else cutAfter(request, response, 1000);
  });
  const settings = { mirrors: [`http://${mirror.host}`], insecure: false };
  const registry = client(context, { config: new Map([[origin.host, settings]]) });
  assert.deepEqual(await collect(registry.fetchBlob(reference(origin), descriptor)), BLOB);
  assert.equal(origin.seen[0]?.headers.range, 'bytes=1000-');
});

test('blob: a small one is read whole, a large one is not taken for a small one', async (context) => {
  const server = await serve(context, serveRest);
  assert.deepEqual(await client(context).readBlob(reference(server), descriptor), BLOB);
  const registry = client(context, { limits: { document: 1000 } });
  assert.equal((await failure(registry.readBlob(reference(server), descriptor))).code, 'ERR_TSBOX_LIMIT');
  assert.equal(server.seen.length, 1);
});

const wrong = Buffer.from(BLOB);
wrong[1000]! ^= 1;

test('blob: a small one with other content from a mirror is had from the next server, and told', async (context) => {
  const origin = await serve(context, serveRest);
  const liar = await serve(context, (request, response) => serveRest(request, response, wrong));
  const short = await serve(context, (request, response) => serveRest(request, response, BLOB.subarray(1)));
  const notices: string[] = [];
  const settings = { mirrors: [`http://${short.host}`, `http://${liar.host}`], insecure: false };
  const config = new Map([[origin.host, settings]]);
  const registry = client(context, { config, notice: (text) => notices.push(text) });
  assert.deepEqual(await registry.readBlob(reference(origin), descriptor), BLOB);
  assert.match(notices[0] ?? '', new RegExp(`^mirror ${short.host}: .*has 299999 bytes of it`));
  assert.match(notices[1] ?? '', new RegExp(`^mirror ${liar.host}: .*has the digest .*: trying again without it$`));
  const liars = { mirrors: [`http://${liar.host}`], insecure: false };
  const alone = client(context, { config: new Map([[short.host, liars]]) });
  assert.equal((await failure(alone.readBlob(reference(short), descriptor))).code, 'ERR_TSBOX_DAMAGED');
});

test('blob: a mirror that gave bytes of a blob that is wrong in the end is doubtful, one that gave none is not', async (context) => {
  const origin = await serve(context, serveRest);
  const idle = await serve(context, (_, response) => sendError(response, 404, 'BLOB_UNKNOWN'));
  const liar = await serve(context, (_, response) => response.writeHead(200).end(wrong.subarray(0, 5000)));
  const honest = await serve(context, (_, response) => response.writeHead(200).end(BLOB.subarray(0, 5000)));
  const settings = (...mirrors: { host: string }[]) => ({
    mirrors: mirrors.map(({ host }) => `http://${host}`),
    insecure: false,
  });
  const fetch = async (...mirrors: { host: string }[]) => {
    const registry = client(context, { config: new Map([[origin.host, settings(...mirrors)]]) });
    const doubtful = new Set<string>();
    const bytes = await collect(registry.fetchBlob(reference(origin), descriptor, { doubtful })).catch(() => undefined);
    return { right: bytes?.equals(BLOB) === true, doubtful: [...doubtful] };
  };
  assert.deepEqual(await fetch(idle, honest), { right: true, doubtful: [] });
  assert.deepEqual(await fetch(idle, liar), { right: false, doubtful: [liar.host] });
  const registry = client(context, { config: new Map([[origin.host, settings(idle, liar)]]) });
  const without = new Set([liar.host]);
  assert.deepEqual(await collect(registry.fetchBlob(reference(origin), descriptor, { without })), BLOB);
  const early = new Set<string>();
  for await (const _ of registry.fetchBlob(reference(origin), descriptor, { doubtful: early })) break;
  assert.deepEqual([...early], [liar.host], 'who leaves early may have met what was wrong');
});

test('blob: a mirror that goes on behind the end does no harm', async (context) => {
  const origin = await serve(context, serveRest);
  const mirror = await serve(context, (_, response) => {
    response.writeHead(200);
    response.write(BLOB);
    setTimeout(() => response.end('more'), 50);
  });
  const config = new Map([[origin.host, { mirrors: [`http://${mirror.host}`], insecure: false }]]);
  assert.deepEqual(await collect(client(context, { config }).fetchBlob(reference(origin), descriptor)), BLOB);
  assert.equal(origin.seen.length, 0);
});

test('blob: a server that answers 416 to a range is asked for all of it', async (context) => {
  const server = await serve(context, (request, response) => {
    if (server.seen.length === 1) cutAfter(request, response, 70_000);
    else if (request.headers.range !== undefined) response.writeHead(416, { 'content-range': 'bytes */300000' }).end();
    else serveRest(request, response);
  });
  assert.deepEqual(await collect(client(context).fetchBlob(reference(server), descriptor)), BLOB);
  assert.deepEqual(
    server.seen.map(({ headers }) => headers.range),
    [undefined, server.seen[1]?.headers.range, undefined],
  );
  const never = await serve(context, (request, response) => {
    if (never.seen.length === 1) cutAfter(request, response, 70_000);
    else response.writeHead(416).end();
  });
  const error = await failure(collect(client(context).fetchBlob(reference(never), descriptor)));
  assert.match(error.message, /answered HTTP 416/);
});

test('blob: what the descriptor carries itself is verified, and nobody is asked', async (context) => {
  const server = await serve(context, serveRest);
  const registry = client(context);
  const data = BLOB.toString('base64');
  assert.deepEqual(await collect(registry.fetchBlob(reference(server), { ...descriptor, data })), BLOB);
  assert.deepEqual(await registry.readBlob(reference(server), { ...descriptor, data }), BLOB);
  const prefix = { size: 1000, hash: createHash('sha256') };
  const rest = await collect(registry.fetchBlob(reference(server), { ...descriptor, data }, { prefix }));
  assert.deepEqual(rest, BLOB.subarray(1000));
  for (const bad of [wrong.toString('base64'), data.slice(4), '', 'no base64!']) {
    const error = await failure(collect(registry.fetchBlob(reference(server), { ...descriptor, data: bad })));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
    assert.match(error.message, /the data within its descriptor: has/);
  }
  assert.equal(server.seen.length, 0);
});

test('blob: what the registry does not have is had from the addresses of its descriptor, without credentials', async (context) => {
  const registry = await serve(context, (request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    } else sendError(response, 404, 'BLOB_UNKNOWN');
  });
  const wrongOne = await serve(context, (_, response) => response.writeHead(404).end());
  const store = await serve(context, (request, response) => {
    if (request.url === '/moved') return void response.writeHead(302, { location: '/there?signature=x' }).end();
    if (store.seen.length === 2) cutAfter(request, response, 70_000);
    else serveRest(request, response);
  });
  const credentials = async () => ({ username: 'alice', password: 'secret' });
  const notices: string[] = [];
  const puller = client(context, { credentials, notice: (text) => notices.push(text) });
  const good = `http://${store.host}/moved`;
  const urls = ['ftp://x.test/blob', 'no address', `http://a:b@${store.host}/`, `http://${wrongOne.host}/gone`, good];
  assert.deepEqual(await collect(puller.fetchBlob(reference(registry), { ...descriptor, urls })), BLOB);
  assert.equal(registry.seen.length, 2);
  for (const { headers } of [...wrongOne.seen, ...store.seen]) assert.equal(headers.authorization, undefined);
  assert.match(notices.join('\n'), new RegExp(`^${registry.host}: .*not.* \\S*: told|blob unknown`, 'm'));
  // Its own server is no better than others.
  const own = [`http://${registry.host}/private/blob`];
  const error = await failure(collect(puller.fetchBlob(reference(registry), { ...descriptor, urls: own })));
  assert.equal(error.code, 'ERR_TSBOX_UNAUTHORIZED');
  assert.equal(registry.seen.at(-1)?.headers.authorization, undefined);
  const liar = await serve(context, (request, response) => serveRest(request, response, wrong));
  const lie = { ...descriptor, urls: [`http://${liar.host}/`] };
  assert.equal((await failure(collect(puller.fetchBlob(reference(registry), lie)))).code, 'ERR_TSBOX_DAMAGED');
});
