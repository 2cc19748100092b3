/** Debian's docker-registry on the loopback, and images put into it over its own API. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { which } from './engines.ts';

export interface Registry {
  /** `127.0.0.1:40123` */
  readonly host: string;
  close(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((fulfil) => server.listen(0, '127.0.0.1', fulfil));
  const { port } = server.address() as AddressInfo;
  await new Promise((fulfil) => server.close(fulfil));
  return port;
}

/** Starts a registry with its storage in a directory. @throws Error when it is not installed or does not answer */
export async function startRegistry(directory: string): Promise<Registry> {
  const program = which('docker-registry');
  if (program === undefined) throw new Error('docker-registry is not installed');
  mkdirSync(directory, { recursive: true });
  const host = `127.0.0.1:${await freePort()}`;
  const config = join(directory, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${join(directory, 'storage')}}}
http: {addr: '${host}'}
`,
  );
  const child = spawn(program, ['serve', config], { stdio: 'ignore' });
  const ended = new Promise<void>((fulfil) => child.once('close', () => fulfil()));
  const close = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  for (let tries = 0; tries < 200 && child.exitCode === null; tries++) {
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (answer?.ok) return { host, close };
    await sleep(50);
  }
  await close();
  throw new Error('docker-registry does not answer');
}

export interface Blob {
  readonly file: string;
  readonly digest: string;
  readonly size: number;
}

async function must(request: Promise<Response>, what: string): Promise<Response> {
  const answer = await request;
  if (!answer.ok) throw new Error(`${what}: ${answer.status} ${await answer.text()}`);
  return answer;
}

async function putBlob(repository: string, blob: Blob): Promise<void> {
  const begun = await must(fetch(`${repository}/blobs/uploads/`, { method: 'POST' }), 'begin upload');
  const location = new URL(begun.headers.get('location')!, repository);
  location.searchParams.set('digest', blob.digest);
  const headers = { 'content-type': 'application/octet-stream' };
  await must(fetch(location, { method: 'PUT', body: readFileSync(blob.file), headers }), 'upload');
}

const DOCKER = 'application/vnd.docker';

/** Puts an image of Docker's schema 2 there. @see distribution-spec, Pushing Blobs Monolithically @returns its reference */
export async function publish(
  { host }: Registry,
  name: string,
  config: Blob,
  layers: readonly Blob[],
): Promise<string> {
  const repository = `http://${host}/v2/${name}`;
  for (const blob of [config, ...layers]) await putBlob(repository, blob);
  const described = (mediaType: string, { digest, size }: Blob) => ({ mediaType, digest, size });
  const manifest = {
    schemaVersion: 2,
    mediaType: `${DOCKER}.distribution.manifest.v2+json`,
    config: described(`${DOCKER}.container.image.v1+json`, config),
    layers: layers.map((layer) => described(`${DOCKER}.image.rootfs.diff.tar.gzip`, layer)),
  };
  const headers = { 'content-type': manifest.mediaType };
  await must(
    fetch(`${repository}/manifests/latest`, { method: 'PUT', body: JSON.stringify(manifest), headers }),
    'manifest',
  );
  return `${host}/${name}:latest`;
}
