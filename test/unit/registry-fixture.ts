/** A registry in this process that misbehaves as a test wants it to. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type ClientOptions, createClient, type RegistryClient } from '../../src/registry/client.ts';
import { parseReference, type Reference } from '../../src/spec/reference.ts';

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';

export interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
}

export interface TestServer {
  /** `127.0.0.1:40123` */
  host: string;
  seen: Seen[];
  server: Server;
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Listens on a free port of the loopback until the test ends. */
export async function serve(context: TestContext, handle: RequestListener, server?: Server): Promise<TestServer> {
  const seen: Seen[] = [];
  const listening = server ?? createServer();
  listening.on('request', (request: IncomingMessage, response: ServerResponse) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    handle(request, response);
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    listening.closeAllConnections();
    listening.close();
  });
  const { port } = listening.address() as AddressInfo;
  return { host: `127.0.0.1:${port}`, seen, server: listening };
}

/** What it takes to see a time-out: short enough for a test, and too short for all that is not to end in one on a busy machine. */
export const HASTY = { connect: 500, stall: 200, uploaded: 1000 } as const;

/** A client that is quick to try again and knows nothing of the machine's settings. */
export function client(context: TestContext, options: ClientOptions = {}): RegistryClient {
  const made = createClient({
    config: new Map(),
    certificateDirectories: [],
    credentials: async () => undefined,
    environment: {},
    ...options,
    timeouts: { connect: 10_000, stall: 10_000, uploaded: 10_000, ...options.timeouts },
    retry: { attempts: 4, delay: 1, longest: 50, ...options.retry },
  });
  context.after(() => made.close());
  return made;
}

export function reference(server: TestServer, rest = 'some/image:1'): Reference {
  return parseReference(`${server.host}/${rest}`);
}

export interface Document {
  bytes: Buffer;
  mediaType: string;
  digest: string;
}

export function document(mediaType: string, value: object): Document {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, mediaType, digest: sha256(bytes) };
}

export function descriptorOf({ bytes, mediaType, digest }: Document) {
  return { mediaType, digest, size: bytes.length };
}

const config = document('application/vnd.oci.image.config.v1+json', {
  architecture: 'amd64',
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [] },
});

/** A manifest without layers, told apart by a label. */
export function manifest(label = '', extra: object = {}): Document {
  return document(OCI_MANIFEST, {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptorOf(config),
    layers: [],
    annotations: { label },
    ...extra,
  });
}

export function sendDocument(response: ServerResponse, { bytes, mediaType, digest }: Document): void {
  response.writeHead(200, { 'content-type': mediaType, 'docker-content-digest': digest }).end(bytes);
}

export function sendError(response: ServerResponse, status: number, code: string, message = 'told'): void {
  response.writeHead(status, { 'content-type': 'application/json', 'docker-distribution-api-version': 'registry/2.0' });
  response.end(JSON.stringify({ errors: [{ code, message }] }));
}

/** All bytes of a stream, for what is small. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A directory that is gone after the test. */
export function directory(context: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'tsbox-registry-'));
  context.after(() => rmSync(made, { recursive: true }));
  return made;
}

/** A key and a certificate for a name and for 127.0.0.1. */
export function certificate(at: string, name: string): { key: Buffer; cert: Buffer } {
  const [key, cert] = [join(at, `${name}.key`), join(at, `${name}.crt`)];
  const names = `subjectAltName=DNS:${name},IP:127.0.0.1`;
  const what = ['-subj', `/CN=${name}`, '-addext', names, '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...what], { stdio: 'pipe' });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}
