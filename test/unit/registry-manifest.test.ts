import assert from 'node:assert/strict';
import type { RequestListener, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { TsboxError } from '../../src/errors.ts';
import { parsePlatform } from '../../src/spec/platform.ts';
import { parseReference } from '../../src/spec/reference.ts';
import {
  client,
  type Document,
  descriptorOf,
  document,
  manifest,
  OCI_INDEX,
  OCI_MANIFEST,
  reference,
  sendDocument,
  sendError,
  serve,
} from './registry-fixture.ts';

const AMD64 = parsePlatform('linux/amd64');
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** A registry with one tag `1` and whatever is fetched by digest. */
function registryOf(tagged: Document, ...others: Document[]): RequestListener {
  return (request, response) => {
    const name = decodeURIComponent(request.url?.split('/').at(-1) ?? '');
    const found = name === '1' ? tagged : [tagged, ...others].find(({ digest }) => digest === name);
    if (found === undefined) sendError(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    else sendDocument(response, found);
  };
}

function indexOf(...entries: [Document, string][]): Document {
  const manifests = entries.map(([each, platform]) => ({ ...descriptorOf(each), platform: parsePlatform(platform) }));
  return document(OCI_INDEX, { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

async function failure(promise: Promise<unknown>): Promise<TsboxError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TsboxError, `not a TsboxError: ${String(error)}`);
  return error;
}

test('manifest: by tag and by digest, the exact bytes with their digest', async (context) => {
  const image = manifest();
  const server = await serve(context, registryOf(image));
  const registry = client(context);
  for (const rest of ['some/image:1', `some/image@${image.digest}`, `some/image:other@${image.digest}`]) {
    const found = await registry.resolveManifest(reference(server, rest), AMD64);
    assert.deepEqual(found.bytes, image.bytes);
    assert.equal(found.digest, image.digest);
    assert.equal(found.mediaType, OCI_MANIFEST);
    assert.equal(found.index, undefined);
    assert.equal(found.host, server.host);
  }
  assert.match(server.seen[0]?.headers.accept ?? '', /manifest\.v2\+json.*image\.index/);
});

test('manifest: an index gives the manifest for the platform, and itself', async (context) => {
  const [amd, arm] = [manifest('amd'), manifest('arm')];
  const index = indexOf([arm, 'linux/arm64'], [amd, 'linux/amd64']);
  const server = await serve(context, registryOf(index, amd, arm));
  const registry = client(context);
  const found = await registry.resolveManifest(reference(server), AMD64);
  assert.equal(found.digest, amd.digest);
  assert.equal(found.index?.digest, index.digest);
  assert.deepEqual(found.index?.bytes, index.bytes);
  const other = await registry.resolveManifest(reference(server), parsePlatform('linux/arm64/v8'));
  assert.equal(other.digest, arm.digest);
  const error = await failure(registry.resolveManifest(reference(server), parsePlatform('linux/s390x')));
  assert.equal(error.code, 'ERR_TSBOX_NOT_FOUND');
  assert.match(error.message, /^no matching manifest for linux\/s390x in the manifest list entries/);
  assert.match(error.hint ?? '', /linux\/arm64, linux\/amd64/);
  const raw = await registry.fetchManifest(reference(server));
  assert.ok(raw.kind === 'index' && raw.index.manifests.length === 2);
});

test('manifest: other bytes than the digest says are refused', async (context) => {
  const [image, other] = [manifest(), manifest('other')];
  const lying = await serve(context, (_, response) => sendDocument(response, { ...other, digest: image.digest }));
  for (const rest of [`x@${image.digest}`, 'x:1']) {
    const error = await failure(client(context).resolveManifest(reference(lying, rest), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED', rest);
    assert.match(error.message, /has the digest sha256:.*, should have sha256:/);
  }
  const index = indexOf([image, 'linux/amd64']);
  const server = await serve(context, (request, response) =>
    sendDocument(response, request.url?.endsWith('/1') ? index : { ...other, digest: image.digest }),
  );
  const error = await failure(client(context).resolveManifest(reference(server), AMD64));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
});

test('manifest: an index with a wrong size or a wrong type for its manifest is refused', async (context) => {
  const image = manifest();
  for (const wrong of [{ size: image.bytes.length + 1 }, { mediaType: DOCKER_MANIFEST }]) {
    const entry = { ...descriptorOf(image), platform: AMD64, ...wrong };
    const index = document(OCI_INDEX, { schemaVersion: 2, manifests: [entry] });
    const server = await serve(context, registryOf(index, image));
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED', JSON.stringify(wrong));
  }
});

test('manifest: what is sent as one type and calls itself another is refused', async (context) => {
  const image = manifest();
  const index = indexOf([image, 'linux/amd64']);
  const cases: [Document, RegExp][] = [
    [{ ...image, mediaType: DOCKER_MANIFEST }, /sent as .*docker.*, calls itself .*oci/],
    [{ ...image, mediaType: OCI_INDEX }, /sent as .*index.*, calls itself .*manifest/],
    [{ ...index, mediaType: OCI_MANIFEST }, /sent as .*manifest.*, calls itself .*index/],
    [document(OCI_INDEX, { schemaVersion: 2, manifests: [], layers: [] }), /both an index and a manifest/],
    [document(OCI_MANIFEST, { schemaVersion: 2, manifests: [] }), /config: missing|layers: missing/],
    [document(DOCKER_LIST, { schemaVersion: 2, mediaType: 7, manifests: [] }), /calls itself number/],
  ];
  for (const [answer, message] of cases) {
    const server = await serve(context, (_, response) => sendDocument(response, answer));
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
    assert.match(error.message, message);
  }
});

test('manifest: a type that the header does not tell is told by the document', async (context) => {
  const image = manifest();
  for (const mediaType of ['application/json', 'text/plain; charset=utf-8', 'application/octet-stream']) {
    const server = await serve(context, (_, response) => sendDocument(response, { ...image, mediaType }));
    const found = await client(context).resolveManifest(reference(server), AMD64);
    assert.equal(found.mediaType, OCI_MANIFEST, mediaType);
  }
});

test('manifest: schema 1 and things that are no images are unsupported, by name', async (context) => {
  const schema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  const chart = {
    ...manifest(),
    ...manifest('', { config: { ...descriptorOf(manifest()), mediaType: 'application/x-chart' } }),
  };
  const cases: [Document, RegExp][] = [
    [document(schema1, { schemaVersion: 1, fsLayers: [] }), /version 2, schema 1/],
    [document('application/json', { schemaVersion: 1, fsLayers: [] }), /version 2, schema 1/],
    [document('application/json', { anything: 1 }), /media type application\/json/],
    [
      document('application/x-other', { mediaType: 'application/x-\u001b[31mred' }),
      /media type application\/x- \[31mred/,
    ],
    [chart, /not a container image but application\/x-chart/],
  ];
  for (const [answer, message] of cases) {
    const server = await serve(context, (_, response) => sendDocument(response, answer));
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_UNSUPPORTED');
    assert.match(error.message, message);
  }
});

test('manifest: a tower of indexes ends', async (context) => {
  let top = indexOf([manifest(), 'linux/amd64']);
  const all = [top];
  for (let level = 0; level < 5; level++) {
    top = indexOf([top, 'linux/amd64']);
    all.push(top);
  }
  const server = await serve(context, registryOf(top, ...all));
  const error = await failure(client(context).resolveManifest(reference(server), AMD64));
  assert.equal(error.code, 'ERR_TSBOX_DAMAGED');
  assert.match(error.message, /an index in an index/);
  assert.ok(server.seen.length < 6);
});

test('manifest: more than the limit is not read, announced or not', async (context) => {
  const huge = Buffer.alloc(10 * 1024 * 1024, ' ');
  const announced = await serve(context, (_, response) => {
    response.writeHead(200, { 'content-type': OCI_MANIFEST, 'content-length': huge.length }).end(huge);
  });
  const streamed = await serve(context, (_, response) => {
    response.writeHead(200, { 'content-type': OCI_MANIFEST });
    response.end(huge);
  });
  for (const server of [announced, streamed]) {
    // 10 MB take their time when the machine is busy.
    const patient = client(context, { timeouts: { stall: 10_000 } });
    const error = await failure(patient.resolveManifest(reference(server), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_LIMIT');
    assert.match(error.message, /sends more than 4194304 bytes/);
  }
});

test('manifest: HTML and rubbish instead of JSON are called that', async (context) => {
  const cases: [(response: ServerResponse) => void, RegExp][] = [
    [
      (r) => r.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>'),
      /answered HTML, not registry/,
    ],
    [(r) => r.writeHead(200, { 'content-type': OCI_MANIFEST }).end('<!doctype html>'), /HTML where JSON was expected/],
    [(r) => r.writeHead(200, { 'content-type': OCI_MANIFEST }).end('{"schemaVersion":2'), /not JSON/],
    [(r) => r.writeHead(200, { 'content-type': OCI_MANIFEST }).end(), /not JSON/],
  ];
  for (const [answer, message] of cases) {
    const server = await serve(context, (_, response) => answer(response));
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.match(error.message, message);
  }
});

test('manifest: refusals are told as Docker tells them', async (context) => {
  const cases: [(response: ServerResponse) => void, string, RegExp][] = [
    [
      (r) => sendError(r, 404, 'MANIFEST_UNKNOWN', 'manifest unknown'),
      'ERR_TSBOX_NOT_FOUND',
      /^manifest for HOST\/some\/image:1 not found: manifest unknown$/,
    ],
    [
      (r) => sendError(r, 404, 'NAME_UNKNOWN'),
      'ERR_TSBOX_NOT_FOUND',
      /^repository HOST\/some\/image not found: name unknown/,
    ],
    [
      (r) => sendError(r, 403, 'DENIED', 'requested access to the resource is denied'),
      'ERR_TSBOX_UNAUTHORIZED',
      /^pull access denied for HOST\/some\/image, repository does not exist or may require 'login': denied: requested/,
    ],
    [(r) => r.writeHead(401).end(), 'ERR_TSBOX_UNAUTHORIZED', /^pull access denied for .* or may require 'login'$/],
    [
      (r) => sendError(r, 429, 'TOOMANYREQUESTS', 'You have reached your pull rate limit'),
      'ERR_TSBOX_REGISTRY',
      /toomanyrequests: You have reached/,
    ],
    [(r) => r.writeHead(500).end('oops'), 'ERR_TSBOX_REGISTRY', /^pull HOST\/some\/image:1: HOST answered HTTP 500$/],
    [
      (r) => sendError(r, 418, 'TEA', 'a\u001b]0;title\u0007b\nc'),
      'ERR_TSBOX_REGISTRY',
      /HTTP 418 \(tea: a \]0;title b c\)$/,
    ],
  ];
  for (const [answer, code, message] of cases) {
    const server = await serve(context, (_, response) => answer(response));
    const error = await failure(client(context).resolveManifest(reference(server), AMD64));
    assert.equal(error.code, code, error.message);
    assert.match(error.message.replaceAll(server.host, 'HOST'), message);
  }
});

test('manifest: mirrors come first, and the registry answers for what they do not have', async (context) => {
  const image = manifest();
  const origin = await serve(context, registryOf(image));
  const empty = await serve(context, (_, response) => sendError(response, 404, 'MANIFEST_UNKNOWN'));
  const lying = await serve(context, (_, response) =>
    sendDocument(response, { ...manifest('x'), digest: image.digest }),
  );
  const notices: string[] = [];
  const settings = { mirrors: [`http://${empty.host}`, 'http://127.0.0.1:1', `http://${lying.host}`], insecure: false };
  const registry = client(context, {
    config: new Map([[origin.host, settings]]),
    notice: (text) => notices.push(text),
  });
  const found = await registry.resolveManifest(reference(origin), AMD64);
  assert.equal(found.host, origin.host);
  assert.equal(notices.length, 3);
  assert.match(notices[0] ?? '', /^mirror .*: manifest for .* not found/);
  assert.match(notices[1] ?? '', /^mirror 127\.0\.0\.1:1: .*ECONNREFUSED/);
  assert.match(notices[2] ?? '', /should have sha256/);
  const gone = await failure(registry.resolveManifest(reference(origin, 'some/image:gone'), AMD64));
  assert.equal(gone.code, 'ERR_TSBOX_NOT_FOUND');
});

test('manifest: a mirror from the command line stands for Docker Hub', async (context) => {
  const image = manifest();
  const mirror = await serve(context, registryOf(image));
  const registry = client(context, { mirrors: [`http://${mirror.host}`] });
  const found = await registry.resolveManifest(parseReference('ubuntu:1'), AMD64);
  assert.equal(found.digest, image.digest);
  assert.equal(mirror.seen[0]?.url, '/v2/library/ubuntu/manifests/1');
  assert.equal(mirror.seen.length, 1);
});

test('tags: every page is read, on this server only', async (context) => {
  const server = await serve(context, (request, response) => {
    const last = new URL(request.url ?? '', 'http://x').searchParams.get('last');
    const pages: Record<string, [string[], string?]> = {
      '': [['a', 'b'], '/v2/some/image/tags/list?n=2&last=b'],
      b: [['c', '../evil', 'b'], 'list?last=c'],
      c: [['d'], 'http://elsewhere.invalid/v2/some/image/tags/list?last=d'],
    };
    const [tags, link] = pages[last ?? ''] ?? [[]];
    if (link !== undefined) response.setHeader('link', `<${link}>; rel="next"`);
    response.end(JSON.stringify({ name: 'some/image', tags }));
  });
  assert.deepEqual(await client(context).listTags(reference(server)), ['a', 'b', 'c', 'd']);
  const none = await serve(context, (_, response) => response.end('{"name":"x","tags":null}'));
  assert.deepEqual(await client(context).listTags(reference(none)), []);
});

test('manifest: what an index carries itself is verified, and not asked for', async (context) => {
  const image = manifest('carried');
  const entry = { ...descriptorOf(image), platform: AMD64, data: image.bytes.toString('base64') };
  const index = document(OCI_INDEX, { schemaVersion: 2, manifests: [entry] });
  const server = await serve(context, registryOf(index));
  const found = await client(context).resolveManifest(reference(server), AMD64);
  assert.deepEqual([found.digest, found.bytes], [image.digest, image.bytes]);
  assert.equal(server.seen.length, 1);
  for (const wrong of [{ data: 'AAAA' }, { mediaType: DOCKER_MANIFEST }, { mediaType: OCI_INDEX }]) {
    const bad = document(OCI_INDEX, { schemaVersion: 2, manifests: [{ ...entry, ...wrong }] });
    const lying = await serve(context, registryOf(bad, image));
    const error = await failure(client(context).resolveManifest(reference(lying), AMD64));
    assert.equal(error.code, 'ERR_TSBOX_DAMAGED', JSON.stringify(wrong));
  }
});

test('manifest: attestations and images for special systems are passed over; a single image need not say what it is for', async (context) => {
  const [image, erofs, attestation] = [manifest('image'), manifest('erofs'), manifest('attestation')];
  const unknown = { ...descriptorOf(attestation), platform: { os: 'unknown', architecture: 'unknown' } };
  const special = { ...descriptorOf(erofs), platform: { ...AMD64, 'os.features': ['erofs'] } };
  const versioned = { ...descriptorOf(image), platform: { ...AMD64, 'os.version': '6.1', 'os.features': [] } };
  const bare = descriptorOf(image);
  const cases: [object[], string | undefined][] = [
    [[unknown, special, versioned], image.digest],
    [[bare], image.digest],
    [[bare, unknown], image.digest],
    [[unknown], undefined],
    [[special], undefined],
    [[bare, special], undefined],
    [[], undefined],
  ];
  for (const [manifests, digest] of cases) {
    const index = document(OCI_INDEX, { schemaVersion: 2, manifests });
    const server = await serve(context, registryOf(index, image, erofs, attestation));
    const found = client(context).resolveManifest(reference(server), AMD64);
    if (digest !== undefined) assert.equal((await found).digest, digest);
    else assert.equal((await failure(found)).code, 'ERR_TSBOX_NOT_FOUND', JSON.stringify(manifests));
  }
});

test('manifest: an index within an index leads to the image, and the outer one is the name', async (context) => {
  const image = manifest();
  const inner = indexOf([image, 'linux/amd64']);
  const outer = document(OCI_INDEX, { schemaVersion: 2, manifests: [descriptorOf(inner)] });
  const server = await serve(context, registryOf(outer, inner, image));
  const found = await client(context).resolveManifest(reference(server), AMD64);
  assert.deepEqual([found.digest, found.index?.digest], [image.digest, outer.digest]);
});

test('manifest: a digest header that is none is not believed, one that is must be right', async (context) => {
  const image = manifest();
  for (const [header, right] of [
    ['rubbish', true],
    ['sha256:123', true],
    ['', true],
    [image.digest, true],
    [manifest('other').digest, false],
  ] as const) {
    const server = await serve(context, (_, response) => sendDocument(response, { ...image, digest: header }));
    const found = client(context).resolveManifest(reference(server), AMD64);
    if (right) assert.equal((await found).digest, image.digest);
    else assert.equal((await failure(found)).code, 'ERR_TSBOX_DAMAGED');
  }
});

test("manifest: Docker Hub's limit is told in its own words, with what helps", async (context) => {
  const message = 'You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit';
  const hub = await serve(context, (_, response) => {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '21600' });
    response.end(JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message }] }));
  });
  const error = await failure(client(context).resolveManifest(reference(hub), AMD64));
  assert.ok(error.message.endsWith(`toomanyrequests: ${message}`), error.message);
  assert.equal(hub.seen.length <= 2, true, 'hours are not waited out');
  assert.match(error.hint ?? '', /limits requests/);
});
