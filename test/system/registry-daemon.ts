/** Debian's docker-registry on a free port of the loopback, with a storage of its own, and images that others made and pushed. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Bytes of what a command may print. */
const LARGEST = 64 * 1024 * 1024;

export interface RegistryDaemon {
  /** `127.0.0.1:40123` */
  host: string;
  /** Of this test; removed with the registry. */
  directory: string;
  /** What the registry wrote. */
  log(): string;
}

/** Below those that the kernel gives to whoever asks for any: until the registry listens, no other test gets it. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

function answers(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(`http://${host}/v2/`, (response) => {
      response.resume();
      resolve(true);
    });
    request.on('error', () => resolve(false));
  });
}

/** Settings of a registry that lets in `alice` with the password `s3cret` and nobody else. */
export function withPassword(directory: string): string {
  const path = join(directory, 'htpasswd');
  writeFileSync(path, 'alice:$2b$04$f/RA5mULNAr14kxHkxC1HOEJz0zDHZsEhj/Ta0kSNrn1N4DtlFGdK\n');
  return `auth: {htpasswd: {realm: lab, path: ${path}}}`;
}

export function temporary(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-registry-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a registry until the test ends.
 *  @param settings further lines of its configuration, given its directory @param tls makes its key and certificate */
export async function startRegistry(
  context: TestContext,
  settings: (directory: string) => string = () => '',
  tls?: (directory: string) => { key: string; cert: string },
): Promise<RegistryDaemon> {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-registry-'));
  const files = tls?.(directory);
  const secure = files === undefined ? '' : `, tls: {certificate: ${files.cert}, key: ${files.key}}`;
  const more = settings(directory);
  let log = '';
  // Somebody else may have got the free port meanwhile.
  for (let turn = 0; turn === 0 || (turn < 5 && /address already in use/.test(log)); turn++) {
    const host = `127.0.0.1:${await freePort()}`;
    const config = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${join(directory, 'storage')}}}
http: {addr: '${host}'${secure}}
${more}
`;
    writeFileSync(join(directory, 'config.yml'), config);
    const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    log = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        log += chunk;
      });
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    context.after(async () => {
      child.kill('SIGKILL');
      await ended;
      rmSync(directory, { recursive: true, force: true }); // not before: it may still write
    });
    for (let tries = 0; tries < 1200 && child.exitCode === null; tries++) {
      if ((await answers(host)) && child.exitCode === null) return { host, directory, log: () => log };
      await sleep(50);
    }
    if (child.exitCode !== null) await ended;
  }
  throw new Error(`docker-registry does not answer: ${log}`);
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Puts a blob into an OCI layout. */
function put(layout: string, mediaType: string, bytes: Buffer) {
  const digest = sha256(bytes);
  mkdirSync(join(layout, 'blobs', 'sha256'), { recursive: true });
  writeFileSync(join(layout, 'blobs', digest.replace(':', '/')), bytes);
  return { mediaType, digest, size: bytes.length };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** Makes an image with GNU tar and gzip: a layer for each text. @returns the descriptor of its manifest */
function makeImage(directory: string, layout: string, architecture: string, texts: readonly string[]) {
  const layers = texts.map((text, index) => {
    const tree = join(directory, `tree-${architecture}-${index}`);
    mkdirSync(join(tree, 'etc'), { recursive: true });
    writeFileSync(join(tree, 'etc', `file-${index}`), text);
    const tar = execFileSync('tar', ['-C', tree, '-c', '.'], { maxBuffer: LARGEST });
    const bytes = execFileSync('gzip', ['-n'], { input: tar, maxBuffer: LARGEST });
    return { diffId: sha256(tar), descriptor: put(layout, 'application/vnd.oci.image.layer.v1.tar+gzip', bytes) };
  });
  const config = put(
    layout,
    'application/vnd.oci.image.config.v1+json',
    json({
      created: '2024-01-01T00:00:00Z',
      architecture,
      os: 'linux',
      config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map(() => ({ created_by: 'test' })),
    }),
  );
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = { schemaVersion: 2, mediaType: type, config, layers: layers.map(({ descriptor }) => descriptor) };
  return put(layout, type, json(manifest));
}

/** An OCI layout with the images `one` (amd64, several layers) and `many` (an index of amd64 and arm64). @returns its directory */
export function makeLayout(directory: string, texts: readonly string[]): string {
  const layout = join(directory, 'layout');
  const amd64 = makeImage(directory, layout, 'amd64', texts);
  const arm64 = makeImage(directory, layout, 'arm64', ['for arm64']);
  const type = 'application/vnd.oci.image.index.v1+json';
  const entries = [
    { ...arm64, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    { ...amd64, platform: { os: 'linux', architecture: 'amd64' } },
  ];
  const many = put(layout, type, json({ schemaVersion: 2, mediaType: type, manifests: entries }));
  const name = (each: object, tag: string) => ({ ...each, annotations: { 'org.opencontainers.image.ref.name': tag } });
  writeFileSync(join(layout, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(
    join(layout, 'index.json'),
    json({ schemaVersion: 2, manifests: [name(amd64, 'one'), name(many, 'many')] }),
  );
  return layout;
}

export function readBlobFile(layout: string, digest: string): Buffer {
  return readFileSync(join(layout, 'blobs', digest.replace(':', '/')));
}

/** skopeo without any policy or credentials of the machine. @returns what it printed */
export async function skopeo(directory: string, ...args: string[]): Promise<Buffer> {
  const policy = join(directory, 'policy.json');
  writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
  const environment = { ...process.env, REGISTRY_AUTH_FILE: join(directory, 'auth.json') };
  const options = { env: environment, maxBuffer: LARGEST, timeout: 60_000, encoding: 'buffer' } as const;
  const { stdout } = await promisify(execFile)('skopeo', ['--policy', policy, ...args], options);
  return stdout;
}
