/** Archives for the tests of load, pull and import. GNU tar packs them; nothing of tsbox does. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

export const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');

/** A directory that is gone after the test. */
export function temporary(context: { after(work: () => void): void } | TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsbox-images-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Content by path; `{link}` is a symlink, null a directory. */
export type Files = Record<string, string | Buffer | { link: string } | null>;

export function writeFiles(directory: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    const full = join(directory, path);
    mkdirSync(content === null ? full : dirname(full), { recursive: true });
    if (content === null) continue;
    if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(full, content);
    else symlinkSync(content.link, full);
  }
}

function packDirectory(directory: string, names: readonly string[]): Buffer {
  const options = ['--sort=name', '--mtime=@1700000000', '--owner=0', '--group=0', '--numeric-owner', '--format=posix'];
  const pax = '--pax-option=delete=atime,delete=ctime';
  return execFileSync('tar', ['-c', ...options, pax, '-C', directory, ...names], { maxBuffer: 1 << 30 });
}

/** A tar of the files. */
export function tarOf(files: Files): Buffer {
  const work = mkdtempSync(join(tmpdir(), 'tsbox-tar-'));
  try {
    writeFiles(work, files);
    return packDirectory(work, readdirSync(work).sort());
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** The config of an image with these (uncompressed) layers. */
export function configOf(layers: readonly Buffer[], more: object = {}): Buffer {
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    config: { Cmd: ['sh'] },
    created: '2024-01-02T03:04:05Z',
    history: layers.map((_, at) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${at}` })),
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${sha256(layer)}`) },
    ...more,
  };
  return Buffer.from(JSON.stringify(config));
}

/** Files of an archive as `docker save` 20.10 makes it. */
export function dockerFiles(layers: readonly Buffer[], tags: readonly string[], config = configOf(layers)): Files {
  const names = layers.map((layer, at) => `${sha256(`${at} ${sha256(layer)}`)}/layer.tar`);
  const manifest = [{ Config: `${sha256(config)}.json`, RepoTags: tags, Layers: names }];
  return {
    [`${sha256(config)}.json`]: config,
    'manifest.json': JSON.stringify(manifest),
    ...Object.fromEntries(names.map((name, at) => [name, layers[at]!])),
  };
}

interface Blob {
  mediaType: string;
  digest: string;
  size: number;
  bytes: Buffer;
}

export function blobOf(mediaType: string, content: Buffer | object): Blob {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length, bytes };
}

export const descriptorOf = ({ mediaType, digest, size }: Blob) => ({ mediaType, digest, size });

export const OCI = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

/** Files of an OCI layout. */
export function layoutFiles(blobs: readonly Blob[], entries: readonly object[]): Files {
  return {
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    'index.json': JSON.stringify({ schemaVersion: 2, manifests: entries }),
    ...Object.fromEntries(blobs.map(({ digest, bytes }) => [`blobs/sha256/${digest.slice(7)}`, bytes])),
  };
}

/** Files of an OCI layout of one image. @param packed the layers as they lie in it, compressed or not */
export function ociFiles(layers: readonly Buffer[], name?: string, packed: readonly Buffer[] = layers): Files {
  const suffix = (blob: Buffer) => (blob[0] === 0x1f ? '+gzip' : blob[0] === 0x28 ? '+zstd' : '');
  const config = blobOf(OCI.config, configOf(layers));
  const blobs = packed.map((layer) => blobOf(OCI.layer + suffix(layer), layer));
  const manifest = blobOf(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: blobs.map(descriptorOf),
  });
  const annotations = name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } };
  return layoutFiles([config, manifest, ...blobs], [{ ...descriptorOf(manifest), ...annotations }]);
}

/** Every path of a tree with type and content: what must be the same when nothing may have changed. */
export function fingerprint(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((path) => {
      const stat = lstatSync(join(directory, path));
      return `${path} ${stat.mode} ${stat.isFile() ? sha256(readFileSync(join(directory, path))) : ''}`;
    });
}
