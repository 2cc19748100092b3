/**
 * Writes an image from finished layer tars, in both forms that tsbox reads: an archive as `docker save` makes it and a directory in the
 * OCI image layout. It uses nothing of tsbox, so that the fixtures can contradict it.
 * @see image-spec: image-layout.md, manifest.md, config.md
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';

export type Compression = 'none' | 'gzip' | 'zstd';

export interface FixtureLayer {
  /** Path of an uncompressed tar. */
  tar: string;
  /** Form of the blob in the OCI layout; the archive holds the plain tar. */
  compression: Compression;
  createdBy: string;
}

/** Every time stamp of an image config. Nothing here depends on the time of the build; only the headers of sparse files do on the pid of tar. */
export const FIXTURE_TIME = '2024-01-02T03:04:05Z';

const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;
const MEDIA_TYPES: Record<Compression, string> = {
  none: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
};

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Runs a command and gives its output. @throws Error with what it wrote to stderr */
export function run(command: string, args: readonly string[], options: { cwd?: string; input?: Buffer } = {}): Buffer {
  const { status, stdout, stderr, error } = spawnSync(command, args, { ...options, maxBuffer: 1 << 30 });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${status}: ${stderr}`);
  return stdout;
}

/** Packs names below `directory` with GNU tar, exactly the given ones, in the given order. Names are bytes. */
export function packNames(tar: string, directory: string, names: readonly Buffer[], options: readonly string[]): void {
  const list = Buffer.concat(names.flatMap((name) => [name, Buffer.of(0)]));
  run(
    'tar',
    ['--create', '--file', tar, ...options, '--no-recursion', '--verbatim-files-from', '--null', '--files-from=-'],
    { cwd: directory, input: list },
  );
}

/** Options for a PAX archive that is the same each time and keeps extended attributes. */
export const PAX = [
  '--format=posix',
  '--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f',
  '--numeric-owner',
  '--xattrs',
  '--xattrs-include=*',
] as const;

function compress(bytes: Buffer, compression: Compression): Buffer {
  if (compression === 'gzip') return gzipSync(bytes);
  return compression === 'zstd' ? zstdCompressSync(bytes) : bytes;
}

function imageConfig(layers: readonly FixtureLayer[], diffIds: readonly string[]): Buffer {
  const config = {
    architecture: ARCHITECTURE,
    config: {
      Cmd: ['sh'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      WorkingDir: '/',
    },
    created: FIXTURE_TIME,
    history: layers.map(({ createdBy }) => ({ created: FIXTURE_TIME, created_by: createdBy })),
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: diffIds.map((id) => `sha256:${id}`) },
  };
  return Buffer.from(JSON.stringify(config));
}

function writeOciLayout(directory: string, tag: string, config: Buffer, layers: readonly FixtureLayer[]): void {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType: string, bytes: Buffer) => {
    const hex = sha256(bytes);
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: put('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map(({ tar, compression }) =>
      put(MEDIA_TYPES[compression], compress(readFileSync(tar), compression)),
    ),
  };
  const entry = {
    ...put(manifest.mediaType, Buffer.from(JSON.stringify(manifest))),
    annotations: { 'org.opencontainers.image.ref.name': tag },
  };
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
}

function writeDockerArchive(file: string, reference: string, config: Buffer, layers: readonly FixtureLayer[]): void {
  const work = mkdtempSync(join(tmpdir(), 'fixture-archive-'));
  try {
    const configName = `${sha256(config)}.json`;
    const directories = layers.map((_, index) => sha256(Buffer.from(`${index} ${configName}`)));
    directories.forEach((name, index) => {
      mkdirSync(join(work, name));
      cpSync(layers[index]!.tar, join(work, name, 'layer.tar'));
    });
    writeFileSync(join(work, configName), config);
    writeFileSync(
      join(work, 'manifest.json'),
      JSON.stringify([
        { Config: configName, RepoTags: [reference], Layers: directories.map((name) => `${name}/layer.tar`) },
      ]),
    );
    const names = [...directories, configName, 'manifest.json'];
    run('tar', ['--create', '--file', file, '--mtime=@0', '--owner=0', '--group=0', '--format=ustar', ...names], {
      cwd: work,
    });
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** Writes `<output>/<name>.oci/` and `<output>/<name>.tar`; the second last and in one step, so that make can go by it. */
export function writeImage(output: string, name: string, layers: readonly FixtureLayer[]): void {
  const config = imageConfig(
    layers,
    layers.map(({ tar }) => sha256(readFileSync(tar))),
  );
  const oci = join(output, `${name}.oci`);
  rmSync(oci, { recursive: true, force: true });
  writeOciLayout(oci, 'latest', config, layers);
  const archive = join(output, `${name}.tar`);
  writeDockerArchive(`${archive}.part`, `${name}:latest`, config, layers);
  renameSync(`${archive}.part`, archive);
}
