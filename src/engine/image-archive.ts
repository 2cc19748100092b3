/** Images in an archive, whatever its form: what `load` needs of them. The forms are in archive-docker.ts, archive-legacy.ts and archive-oci.ts. */
import { TsboxError } from '../errors.ts';
import type { ImageConfig } from '../spec/oci-image.ts';
import { parseImageConfig } from '../spec/oci-image-schema.ts';
import type { Platform } from '../spec/platform.ts';
import type { Reference } from '../spec/reference.ts';
import type { UnpackLimits } from './api.ts';
import { readDockerArchive } from './archive-docker.ts';
import { readLegacyArchive } from './archive-legacy.ts';
import { readOciArchive } from './archive-oci.ts';
import type { Archive } from './archive-read.ts';
import { checkLayerCount } from './install-layers.ts';
import { requireLinux } from './layer-types.ts';

export interface ArchivedLayer {
  /** What the config says. */
  diffId: string;
  /** Bytes as it lies in the archive. */
  size: number;
  /** As it lies in the archive; throws at its end when it has a digest there and another content. */
  open(): AsyncIterable<Buffer>;
}

export interface ArchivedImage {
  /** Byte for byte: the image's id is the digest of it. */
  config: Buffer;
  /** The base first. */
  layers: ArchivedLayer[];
  references: Reference[];
  /** What the archive calls it, where that is no name of an image: a tag alone, for example. */
  calledThere?: string;
}

/** Configs and manifests may have this many bytes. */
export const LARGEST_DOCUMENT = 4 * 1024 * 1024;

/** Joins a config with the layers that lie beside it. @throws ERR_TSBOX_DAMAGED when they do not fit together */
export function joinLayers(
  what: string,
  config: Buffer,
  layers: readonly Omit<ArchivedLayer, 'diffId'>[],
): Pick<ArchivedImage, 'config' | 'layers'> {
  const parsed: ImageConfig = parseImageConfig(config, what);
  const { diff_ids: diffIds } = parsed.rootfs;
  requireLinux(parsed, what);
  checkLayerCount(what, diffIds.length);
  if (diffIds.length !== layers.length) {
    const message = `${what}: invalid manifest, layers length mismatch: expected ${diffIds.length}, got ${layers.length}`;
    throw new TsboxError('ERR_TSBOX_DAMAGED', message);
  }
  return { config, layers: layers.map((layer, index) => ({ ...layer, diffId: diffIds[index]! })) };
}

/** All images of an archive that can run on `platform`.
 *  @throws ERR_TSBOX_DAMAGED when it is none, or not what it says; ERR_TSBOX_LIMIT */
export async function readImageArchive(
  archive: Archive,
  platform: Platform,
  limits?: UnpackLimits,
): Promise<ArchivedImage[]> {
  // Newer versions of docker write several forms into one archive. The one with the names comes first.
  if (archive.has('manifest.json')) return readDockerArchive(archive);
  if (archive.has('index.json')) return readOciArchive(archive, platform);
  if (archive.has('repositories')) return readLegacyArchive(archive, limits);
  throw new TsboxError(
    'ERR_TSBOX_DAMAGED',
    `load ${archive.name}: no manifest.json, index.json or repositories in it`,
    {
      hint: 'This is no image archive. If it holds a root file system, use `tsbox import`.',
    },
  );
}
