/** An image of the benchmark in every form in which it is measured: in a registry, as an archive, as layer blobs. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { FIXTURE_TIME, run } from '../rootfs-fixtures/image.ts';
import type { Content } from './content.ts';
import { type Blob, publish, type Registry } from './registry.ts';

export interface Sample {
  readonly name: string;
  /** Of the image in the registry. */
  readonly reference: string;
  /** As `docker save` writes it; undefined when none was wanted. */
  readonly archive: string | undefined;
  /** Its name when the archive has been loaded. */
  readonly loaded: string;
  readonly layers: readonly Blob[];
  /** `1 layer, 8700 entries, 170 MB, 60 MB compressed` */
  readonly facts: string;
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return `sha256:${hash.digest('hex')}`;
}

const blobOf = async (file: string): Promise<Blob> => ({
  file,
  digest: await digestOf(file),
  size: statSync(file).size,
});

async function gzipped(tar: string): Promise<Blob> {
  await promisify(execFile)('gzip', ['--no-name', '--keep', tar]);
  return blobOf(`${tar}.gz`);
}

function writeConfig(file: string, diffIds: readonly string[]): void {
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    config: { Cmd: ['true'] },
    created: FIXTURE_TIME,
    history: diffIds.map(() => ({ created: FIXTURE_TIME, created_by: 'bench' })),
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
  writeFileSync(file, JSON.stringify(config));
}

const loadedName = (name: string) => `bench-${name}:latest`;

/** Takes the layers' tars away. @see moby, image/spec/v1.2.md, Combined Image JSON + Filesystem Changeset Format */
function writeArchive(directory: string, name: string, config: Blob, tars: readonly string[]): string {
  const tree = join(directory, `${name}.archive`);
  mkdirSync(tree);
  const configName = `${config.digest.slice('sha256:'.length)}.json`;
  run('cp', [config.file, join(tree, configName)]);
  const layers = tars.map((tar, index) => {
    mkdirSync(join(tree, `layer-${index}`));
    renameSync(tar, join(tree, `layer-${index}/layer.tar`));
    return `layer-${index}/layer.tar`;
  });
  const manifest = [{ Config: configName, RepoTags: [loadedName(name)], Layers: layers }];
  writeFileSync(join(tree, 'manifest.json'), JSON.stringify(manifest));
  const archive = join(directory, `${name}.archive.tar`);
  run('tar', [
    '--create',
    '--file',
    archive,
    '--format=ustar',
    '--directory',
    tree,
    configName,
    ...layers,
    'manifest.json',
  ]);
  rmSync(tree, { recursive: true });
  return archive;
}

/** Makes an image of layers' tars, which are gone afterwards, and puts it into the registry. */
export async function makeSample(
  directory: string,
  registry: Registry,
  name: string,
  contents: readonly Content[],
  wantsArchive: boolean,
): Promise<Sample> {
  const tars = contents.map(({ tar }) => tar);
  const entries = contents.reduce((sum, content) => sum + content.entries, 0);
  const unpacked = tars.reduce((sum, tar) => sum + statSync(tar).size, 0);
  const layers = await Promise.all(tars.map(gzipped));
  writeConfig(join(directory, `${name}.json`), await Promise.all(tars.map(digestOf)));
  const config = await blobOf(join(directory, `${name}.json`));
  const reference = await publish(registry, name, config, layers);
  const archive = wantsArchive ? writeArchive(directory, name, config, tars) : undefined;
  for (const tar of tars) rmSync(tar, { force: true });
  const compressed = layers.reduce((sum, { size }) => sum + size, 0);
  const count = `${layers.length} layer${layers.length === 1 ? '' : 's'}, ${entries} entries`;
  return {
    name,
    reference,
    archive,
    loaded: loadedName(name),
    layers,
    facts: `${count}, ${megabytes(unpacked)}, ${megabytes(compressed)} compressed`,
  };
}
